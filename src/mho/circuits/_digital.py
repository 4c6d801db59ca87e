"""The digital unit beside an array: scales, offsets, partial sums."""

from typing import Literal

from ..spec import Variant


class Digital(Variant):
    """Arithmetic of the scale and offset of each column and of the sum over arrays."""


class Float(Digital):
    """Floating point in the model's own precision."""

    kind: Literal["float"] = "float"
