"""The device whose step falls exponentially towards its bounds, with noise beyond the step's."""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..ops._words import abs_, exp, maximum, where
from ._pulsed_device import PulsedDevice


def exponential_step(
    w, up, size, shape, low, high, cycle,
    amplitude_up, amplitude_down, rate_up, rate_down, scale, shift, noise_offset, noise_slope,
):  # fmt: skip
    """Step = size * max(1 - A exp(+-rate z), 0); spread = cycle * (step + offset + slope |w|)."""
    z = 2.0 * scale * w / where(high > low, high - low, 1.0) + shift
    factor_up = 1.0 - amplitude_up * exp(rate_up * z)
    factor_down = 1.0 - amplitude_down * exp(-rate_down * z)
    step = size * maximum(where(up, factor_up, factor_down), 0.0)
    return step, cycle * (step + noise_offset + noise_slope * abs_(w))


class ExponentialStep(PulsedDevice):
    """Steps with an exponential term in the state.

        z = 2 scale v / (high - low) + shift
        up:   s+ max(1 - amplitude_up exp(rate_up z), 0)
        down: s- max(1 - amplitude_down exp(-rate_down z), 0)
        standard deviation of a pulse: cycle_noise (step + noise_offset + noise_slope |v|)

    `step` is the size without the exponential term. The default is the CMOS cell of IBM's aihwkit
    (ExpStepDevice, M. Rasch et al., AICAS 2021, arXiv 2104.02184).
    """

    kind: Literal["exponential_step"] = "exponential_step"
    amplitude_up: float = Field(default=0.00081, description="Weight of the term, up.")
    amplitude_down: float = Field(default=0.36833, description="Weight of the term, down.")
    rate_up: float = Field(default=12.44625, description="Rate of the term, up.")
    rate_down: float = Field(default=12.78785, description="Rate of the term, down.")
    scale: float = Field(default=0.244, description="Scale a of the state in z.")
    shift: float = Field(default=0.2425, description="Shift b of the state in z.")
    noise_offset: float = Field(
        default=0.0, ge=0, description="Noise of a pulse beside its step's, in units of weight."
    )
    noise_slope: float = Field(
        default=0.0, ge=0, description="Noise of a pulse per magnitude of the state."
    )

    formula: ClassVar[Any] = staticmethod(exponential_step)

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The noise of a pulse and the numbers of both exponential terms."""
        return (
            self.cycle_noise, self.amplitude_up, self.amplitude_down, self.rate_up,
            self.rate_down, self.scale, self.shift, self.noise_offset, self.noise_slope,
        )  # fmt: skip
