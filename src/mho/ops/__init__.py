"""Kernels' floor: named random streams and the low-level numerics that physics is built from."""

from ._finite import all_finite as all_finite
from ._reuse import differentiable as differentiable
from ._reuse import plus as plus
from ._reuse import signed as signed
from ._reuse import straight_through as straight_through
from ._reuse import times as times
from ._rounding import converted_codes as converted_codes
from ._rounding import to_codes as to_codes
from ._streams import Stream as Stream
