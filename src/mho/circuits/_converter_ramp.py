"""Single-slope converters that share a ramp."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from ._converter import Converter, OwnNumbers
from ._converter_thresholds import drawn_thresholds, ideal_thresholds
from ._draws import Draws


class SharedRamp(Converter):
    """A counter counts until a ramp passes the signal; several comparators watch one ramp.

    The ramp's errors move the thresholds of all converters that share it alike, and each
    comparator has an offset of its own:

        t_k = k - 1/2 + dnl xi_k + inl xi (1 - (t_k / n)^2) + comparator_spread xi_c
    """

    kind: Literal["ramp"] = "ramp"
    columns_per_ramp: int | None = Field(
        default=None, ge=1, strict=True, description="Columns that share a ramp. None: an array's."
    )
    dnl: float = Field(
        default=0.0, ge=0, description="Std of each of the ramp's steps' ends, steps."
    )
    inl: float = Field(
        default=0.0, ge=0, description="Std of the ramp's bow, in steps at the middle."
    )
    comparator_spread: float = Field(
        default=0.0, ge=0, description="Std of the comparators' offsets, in steps."
    )

    def draw(self, draws: Draws, half: int) -> Tensor | None:
        """Draw the thresholds with the comparator's offset."""
        per = self.columns_per_ramp or "array"
        t = drawn_thresholds(draws, half, self.dnl, self.inl, per=per)
        if not self.comparator_spread:
            return t
        offset = self.comparator_spread * draws.normal("comparators", 1)
        return (ideal_thresholds(half).to(offset.device) if t is None else t) + offset

    def nominal(self, half: int) -> Tensor:
        """Return the ideal thresholds."""
        return ideal_thresholds(half)

    def search(self, z: Tensor, half: int, own: OwnNumbers) -> Tensor:
        """See `Converter.search`."""
        return own.below(z, 2 * half) - half
