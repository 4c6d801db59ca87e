"""Soft bounds described by how many pulses cross a range."""

import math
from typing import Literal

from pydantic import Field

from ._soft_bounds import SoftBounds


class SoftBoundsPmax(SoftBounds):
    """Soft bounds by the number of pulses p_max that cross the range from low to high.

        up from low:    v(p) = low + B (1 - exp(-rate p))
        down from high: v(p) = high - B (1 - exp(-rate p))
        with            B = (high - low) / (1 - exp(-rate p_max))

    for the mean cell without noise, exactly at every pulse. It is `SoftBounds` between the bounds
    high - B and low + B, at which the curves would end, with the relative step 1 - exp(-rate) of
    the way that is left. Spreads are relative to the bounds and steps that follow.
    (IBM's aihwkit, SoftBoundsPmaxDevice, states these curves; its conversion keeps `low` as the
    bound of steps down, so that its steps down do not follow them.)
    """

    kind: Literal["soft_bounds_pmax"] = "soft_bounds_pmax"
    step: None = Field(  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
        default=None, description="Follows from pulses and rate."
    )
    pulses: int = Field(default=1000, gt=0, description="Pulses p_max that cross the range.")
    rate: float = Field(
        default=0.0005, gt=0, description="Share of the way to the bound that a pulse goes."
    )
    low: float = Field(default=-1.0, description="Lower end of the range.")
    high: float = Field(default=1.0, description="Upper end of the range.")

    @property
    def mean_bounds(self) -> tuple[float, float]:
        """The bounds high - B and low + B."""
        span = (self.high - self.low) / -math.expm1(-self.rate * self.pulses)
        return self.high - span, self.low + span

    @property
    def mean_sizes(self) -> tuple[float, float]:
        """Steps at state 0: 1 - exp(-rate) of the way to either bound."""
        low, high = self.mean_bounds
        return -math.expm1(-self.rate) * high, math.expm1(-self.rate) * low
