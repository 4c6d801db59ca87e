"""Devices whose step falls linearly with the state."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..ops._words import where
from ._device import Devices
from ._device_draw import Normal
from ._pulsed_device import PulsedDevice
from ._symmetry import has_symmetry_point


def linear_step(w, up, size, shape, low, high, cycle, additive):
    """Step = size + shape * w; spread = cycle * (size where the noise is additive, else step)."""
    step = size + shape * w
    return step, cycle * where(additive > 0, size, step)


class LinearResponse(PulsedDevice):
    """Steps size + slope * v, where the slopes differ from member to member."""

    cycle_law: Literal["multiplicative", "additive"] = Field(
        default="multiplicative",
        description="Whether a pulse's noise is relative to its step, or to the step at state 0.",
    )

    formula: ClassVar[Any] = staticmethod(linear_step)

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The noise of a pulse, and whether it is additive."""
        return (self.cycle_noise, float(self.cycle_law == "additive"))

    def symmetry_point(self, cells: Devices) -> np.ndarray:
        """See `PulsedDevice.symmetry_point`; v* = (s+ - s-) / (k- - k+), slopes k."""
        low, high, s_up, s_down, k_up, k_down = (t.double().numpy() for t in cells[:6])
        slope = k_down - k_up
        point = np.divide(s_up - s_down, slope, out=np.clip(0 * low, low, high), where=slope != 0)
        exists = has_symmetry_point(lambda v: self._difference(cells, v), low, high)
        return np.where(exists, point, np.nan)


class LinearStep(LinearResponse):
    """Steps that fall linearly with the state.

        up: s+ (1 - gamma+ v / R+),  down: s- (1 - gamma- v / R-)

    with R the mean bound in that direction, or the cell's own. gamma = 0 is a constant step, and
    gamma = 1 with the cells' own bounds is soft bounds. A cell whose own bound lies beyond
    R / gamma saturates there, where its step is zero. The sizes are as `PulsedDevice` says; gamma
    is gamma + spread xi of its own, without its sign unless `increasing`.
    Source: M. Rasch et al., AICAS 2021, arXiv 2104.02184 (IBM's aihwkit, LinearStepDevice).
    """

    kind: Literal["linear_step"] = "linear_step"
    gamma_up: float = Field(default=0.0, description="Relative fall of the step up until R+.")
    gamma_down: float = Field(default=0.0, description="Relative fall of the step down until R-.")
    gamma_up_spread: float = Field(
        default=0.0, ge=0, description="Spread of gamma_up over cells, absolute."
    )
    gamma_down_spread: float = Field(
        default=0.0, ge=0, description="Spread of gamma_down over cells, absolute."
    )
    increasing: bool = Field(
        default=False, description="Whether gamma may be negative: steps that grow."
    )
    slope_reference: Literal["mean", "own"] = Field(
        default="mean", description="R: the mean bound of all cells, or each cell's own bound."
    )

    @model_validator(mode="after")
    def _slopes_exist(self) -> "LinearStep":
        for bound, name in ((self.high, "up"), (self.low, "down")):
            gamma, spread = getattr(self, f"gamma_{name}"), getattr(self, f"gamma_{name}_spread")
            if gamma < 0 and not self.increasing:
                raise ValueError(f"gamma_{name}={gamma:g} is negative; set increasing to allow it")
            if bound == 0 and (gamma or spread):
                raise ValueError(f"gamma_{name} is relative to a bound of 0; give it another bound")
        return self

    def shapes(
        self, low: Tensor, high: Tensor, up: Tensor, down: Tensor, normal: Normal
    ) -> tuple[Tensor, Tensor]:
        """Slopes -gamma s / R; see `PulsedDevice.shapes`."""
        own = self.slope_reference == "own"
        gamma_up = self.gamma_up + normal.times(self.gamma_up_spread, "gamma up")
        gamma_down = self.gamma_down + normal.times(self.gamma_down_spread, "gamma down")
        if not self.increasing:
            gamma_up, gamma_down = gamma_up.abs(), gamma_down.abs()
        reference_up = high if own else torch.full_like(high, self.high)
        reference_down = low if own else torch.full_like(low, self.low)
        return slopes(gamma_up * up, reference_up), slopes(gamma_down * down, reference_down)


def slopes(fall: Tensor, reference: Tensor) -> Tensor:
    """Return -fall / reference, and 0 where the reference is 0, as at a cell stuck there."""
    return torch.where(reference == 0, 0.0, -fall / torch.where(reference == 0, 1.0, reference))
