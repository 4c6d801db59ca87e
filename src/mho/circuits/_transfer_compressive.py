"""The compressive transfer curve."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from ._transfer import Transfer


class Compressive(Transfer):
    """Saturation towards large signals: f(y) = F y / (1 + |n y|), n = nonlinearity / bound.

    F = (1 + slope_calibration nonlinearity)^2 restores the slope that compression takes away, where
    slope_calibration in [0, 1] is the point at which the curve was calibrated, relative to the
    bound. Source: the S-shaped ADC of Rasch et al., Nat. Commun. 14:5282 (2023), Methods.
    """

    kind: Literal["compressive"] = "compressive"
    nonlinearity: float = Field(default=0.1, ge=0, description="Compression |n y| at the bound.")
    nonlinearity_spread: float = Field(
        default=0.0, ge=0, description="Relative spread over converters."
    )
    slope_calibration: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Signal, relative to the bound, at which the slope is restored.",
    )

    @property
    def spread(self) -> float:
        """See `nonlinearity_spread`."""
        return self.nonlinearity_spread

    def apply(self, y: Tensor, bound: float, strength: Tensor | float) -> Tensor:
        """See `Transfer.apply`."""
        factor = (1 + self.slope_calibration * self.nonlinearity) ** 2
        return factor * y / (1 + (y * (strength * (self.nonlinearity / bound))).abs())
