"""Kernels' floor: named random streams and the low-level numerics that physics is built from."""

from ._streams import Stream as Stream
from ._rounding import differentiable as differentiable
from ._rounding import to_codes as to_codes
