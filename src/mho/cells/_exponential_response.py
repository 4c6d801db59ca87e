"""The exponential response of the theory of residual learning."""

import math
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ..ops._words import exp, where
from ._pulsed_device import PulsedDevice, check_zero_inside


def exponential_response(w, up, size, shape, low, high, cycle, exponent, full):
    """Step = size * (exp(exponent (1 - w / bound)) - 1) / full; full = exp(exponent) - 1."""
    bound = where(up, high, low)
    way = 1.0 - w / where(high > low, bound, 1.0)
    step = size * (exp(exponent * way) - 1.0) / full
    return step, cycle * step


class ExponentialResponse(PulsedDevice):
    """Steps that fall exponentially, `step` at state 0 and none at a cell's own bounds.

        up: s+ (e^{g (1 - v/high)} - 1) / (e^g - 1),  down: s- (e^{g (1 - v/low)} - 1) / (e^g - 1)

    With bounds -tau and tau and without spreads these are the q+ and q- of Z. Wu et al., NeurIPS
    2025, arXiv 2502.06309. Small exponents g tend to soft bounds.
    """

    kind: Literal["exponential_response"] = "exponential_response"
    exponent: float = Field(
        default=1.0, ge=0.01, le=20.0, description="Exponent g of all cells, not 0 (soft bounds)."
    )

    formula: ClassVar[Any] = staticmethod(exponential_response)

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The noise of a pulse, the exponent g, and e^g - 1."""
        return self.cycle_noise, self.exponent, math.expm1(self.exponent)

    @model_validator(mode="after")
    def _falls_to_bounds(self) -> "ExponentialResponse":
        check_zero_inside(self)
        return self
