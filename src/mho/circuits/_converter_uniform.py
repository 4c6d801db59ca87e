"""Uniform thresholds with errors."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from ._converter import Converter, OwnNumbers
from ._converter_thresholds import drawn_thresholds, ideal_thresholds
from ._draws import Draws


class UniformLevels(Converter):
    """One threshold between two codes, each with an error of its own (flash).

        t_k = k - 1/2 + dnl xi_k + inl xi (1 - (t_k / n)^2),   code = number of thresholds below z

    in steps, xi_k for each threshold and xi for each converter. Without errors it is an ADC
    without `converter`.
    """

    kind: Literal["uniform"] = "uniform"
    dnl: float = Field(
        default=0.0, ge=0, description="Std of each threshold, in steps; a step's is sqrt(2) of it."
    )
    inl: float = Field(
        default=0.0, ge=0, description="Std of a bow over the whole range, in steps at its middle."
    )

    def draw(self, draws: Draws, half: int) -> Tensor | None:
        """Draw the thresholds."""
        return drawn_thresholds(draws, half, self.dnl, self.inl)

    def nominal(self, half: int) -> Tensor:
        """Return the ideal thresholds."""
        return ideal_thresholds(half)

    def search(self, z: Tensor, half: int, own: OwnNumbers) -> Tensor:
        """See `Converter.search`."""
        return own.below(z, 2 * half) - half

    def codes(self, z: Tensor, half: int, own: OwnNumbers | None) -> Tensor:
        """See `Converter.codes`; ideal thresholds are rounding."""
        return z.round().clamp(-half, half) if own is None else super().codes(z, half, own)
