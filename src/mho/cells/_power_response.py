"""The power response of the theory of residual learning."""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ..ops._words import exp, log, maximum, where
from ._pulsed_device import PulsedDevice, check_zero_inside


def power_response(w, up, size, shape, low, high, cycle, exponent):
    """Step = size * (1 - w / bound)^exponent; spread = cycle * step."""
    bound = where(up, high, low)
    way = 1.0 - w / where(high > low, bound, 1.0)
    step = size * exp(exponent * log(maximum(way, 1e-30)))
    return step, cycle * step


class PowerResponse(PulsedDevice):
    """Steps that fall as a power of the state, `step` at state 0 and none at a cell's own bounds.

        up: s+ (1 - v / high)^exponent,  down: s- (1 - v / low)^exponent

    With bounds -tau and tau and without spreads these are the q+(v) = (1 - v/tau)^g and q-(v) =
    (1 + v/tau)^g of Z. Wu et al., NeurIPS 2025, arXiv 2502.06309. The exponent 1 is soft bounds.
    """

    kind: Literal["power_response"] = "power_response"
    exponent: float = Field(default=1.0, ge=0, description="Exponent g of all cells.")

    formula: ClassVar[Any] = staticmethod(power_response)

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The noise of a pulse, and the exponent."""
        return self.cycle_noise, self.exponent

    @model_validator(mode="after")
    def _falls_to_bounds(self) -> "PowerResponse":
        check_zero_inside(self)
        return self
