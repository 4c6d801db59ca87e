"""The device that saturates gradually: soft bounds."""

from typing import Literal

from pydantic import model_validator
from torch import Tensor

from ._device_draw import Normal
from ._linear_step import LinearResponse, slopes
from ._pulsed_device import check_zero_inside


class SoftBounds(LinearResponse):
    """Steps that fall linearly with the state, to zero at each cell's own bounds.

        up: s+ (1 - v / high),  down: s- (1 - v / low)

    so that n pulses up from 0 lead to high (1 - (1 - s+/high)^n). With a reference, or with the
    symmetry point v* = (s+ - s-) / (s+/high - s-/low) subtracted, the weight is v less that; the
    bounds stay those of v. (Published code bounds v in pulses, and v less the reference elsewhere.)
    Source: M. Rasch et al., AICAS 2021, arXiv 2104.02184 (IBM's aihwkit, SoftBoundsReference).
    """

    kind: Literal["soft_bounds"] = "soft_bounds"

    @model_validator(mode="after")
    def _falls_to_bounds(self) -> "SoftBounds":
        check_zero_inside(self)
        return self

    def shapes(
        self, low: Tensor, high: Tensor, up: Tensor, down: Tensor, normal: Normal
    ) -> tuple[Tensor, Tensor]:
        """Slopes -s+/high and -s-/low; see `PulsedDevice.shapes`."""
        return slopes(up, high), slopes(down, low)
