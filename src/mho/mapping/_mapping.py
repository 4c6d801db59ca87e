"""Weights to conductances and back: the family of encodings."""

from abc import abstractmethod
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from ..spec import Variant


class Mapping(Variant):
    """How a signed weight becomes conductances of one unit cell.

    An encoding works on relative weights `w` in [-1, 1], that is, weights divided by their scale
    (`scaling`). `encode` gives target conductances of the cell's devices; `decode` gives what the
    array then computes with, one relative weight per digital slice, so that

        sum_s significance[s] * decode(encode(w))[s] = w

    exactly, or to the stated resolution where the encoding itself has one.
    """

    scaling: Literal["column", "tile", "fixed"] = Field(
        default="column",
        description="What maps to g_max: the largest |w| of each column of an array, of each whole "
        "array, or the fixed value w_max.",
    )
    w_max: float | None = Field(
        default=None,
        gt=0,
        description="Weight that maps to g_max; needed by, and only by, scaling: fixed.",
    )

    @model_validator(mode="after")
    def _fixed_has_value(self) -> "Mapping":
        if (self.scaling == "fixed") != (self.w_max is not None):
            raise ValueError("w_max goes with `scaling: fixed`, and only with it")
        return self

    @property
    @abstractmethod
    def planes(self) -> int:
        """Devices per unit cell."""

    @property
    def exact(self) -> bool:
        """Whether decode(encode(w)) is w up to rounding errors of the arithmetic."""
        return True

    @property
    def differentiable(self) -> bool:
        """Whether encode has a gradient: that of the weight, straight through any levels."""
        return True

    @property
    def complementary(self) -> bool:
        """Whether two devices hold opposite states, whatever the weight."""
        return False

    @property
    def significance(self) -> tuple[float, ...]:
        """Digital factor of each slice; a single 1 unless the encoding says otherwise."""
        return (1.0,)

    @abstractmethod
    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """Return target conductances [S].

        Args:
            w: relative weights in [-1, 1], shape (out, in).
            g_min: conductance [S] of a device that is off.
            g_max: conductance [S] of a device that is fully on.

        Returns:
            Conductances of shape (planes, out, in).
        """

    @abstractmethod
    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """Return relative weights (slices, out, in) from conductances (planes, out, in) [S]."""
