"""Kernels' floor: named random streams and the low-level numerics that physics is built from."""

from ._coincidences import SLOTS as SLOTS
from ._coincidences import Key as Key
from ._coincidences import Trains as Trains
from ._coincidences import add_coincidences as add_coincidences
from ._coincidences import add_rounded_products as add_rounded_products
from ._coincidences import bernoulli_words as bernoulli_words
from ._coincidences import normals as normals
from ._finite import all_finite as all_finite
from ._formula import Formula as Formula
from ._formula import twin as twin
from ._pulsed import PulsedCells as PulsedCells
from ._pulsed import integrate as integrate
from ._pulsed import pulse as pulse
from ._reuse import differentiable as differentiable
from ._reuse import plus as plus
from ._reuse import signed as signed
from ._reuse import straight_through as straight_through
from ._reuse import times as times
from ._rounding import converted_codes as converted_codes
from ._rounding import to_codes as to_codes
from ._streams import Stream as Stream
