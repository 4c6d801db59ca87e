"""The device whose step is a power of the way to the bound, relative to the whole range."""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from ..ops._words import exp, log, maximum, where
from ._device_draw import Normal, one_sided
from ._pulsed_device import PulsedDevice


def power_step(w, up, size, shape, low, high, cycle):
    """Step = size * ((way to the bound) / (high - low))^shape; spread = cycle * step."""
    span = where(high > low, high - low, 1.0)
    way = where(up, high - w, w - low) / span
    step = size * exp(shape * log(maximum(way, 1e-30)))
    return step, cycle * step


class PowerStep(PulsedDevice):
    """Steps that fall as a power of the way to the bound.

        up: s+ ((high - v) / (high - low))^g+,  down: s- ((v - low) / (high - low))^g-

    `step` is reached at the far bound; in the middle of the range a step is step 0.5^exponent. The
    exponents are drawn as step sizes are, with their own asymmetry of the same one-sided rule.
    Source: S. Fusi and L. Abbott, Nat. Neurosci. 10:485, 2007; J. Frascaroli et al., Sci. Rep.
    8:7178, 2018; IBM's aihwkit, PowStepDevice.
    """

    kind: Literal["power_step"] = "power_step"
    exponent: float = Field(default=1.0, ge=0, description="Mean exponent over cells.")
    exponent_spread: float = Field(
        default=0.0, ge=0, description="Spread of the exponent over cells, relative."
    )
    exponent_asymmetry: float = Field(
        default=0.0, gt=-1, lt=1,
        description="Share by which the exponent down (if positive) or up is smaller.",
    )  # fmt: skip
    exponent_asymmetry_spread: float = Field(
        default=0.0, ge=0, description="Spread of that asymmetry over cells, relative to exponent."
    )

    formula: ClassVar[Any] = staticmethod(power_step)

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The noise of a pulse."""
        return (self.cycle_noise,)

    def shapes(
        self, low: Tensor, high: Tensor, up: Tensor, down: Tensor, normal: Normal
    ) -> tuple[Tensor, Tensor]:
        """The exponents; see `PulsedDevice.shapes`."""
        gain = 1 + normal.times(self.exponent_spread, "exponent")
        skew = normal.times(self.exponent_asymmetry_spread, "exponent asymmetry")
        factor_up, factor_down = one_sided(gain, self.exponent_asymmetry, skew)
        return factor_up * self.exponent, factor_down * self.exponent
