"""How single columns or cells of an array are read: noise, converter, bound."""

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..spec import Spec
from ._hardware import Hardware


class ReadOut(Spec):
    """The read of one column a_j of an array, driven alone at full scale.

        y = levels(clip(a_j + noise xi, -bound, bound)),  xi standard normal, drawn for every read

    in units of relative weight, in which the arrays' bounds are given too.
    """

    noise: float = Field(default=0.0, ge=0, description="Standard deviation of a read.")
    bits: int | None = Field(
        default=None, ge=2, le=16, strict=True,
        description="Resolution; 2^bits - 2 steps with a level at zero. None is ideal.",
    )  # fmt: skip
    bound: float | None = Field(
        default=None, gt=0, description="Largest value that a read returns. None has no bound."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ReadOut":
        if self.bits is not None and self.bound is None:
            raise ValueError("bits need a bound, such as `bound: 10`")
        return self

    @classmethod
    def of(cls, hardware: Hardware) -> "ReadOut":
        """Return what the converters and the noise of a hardware mean for the read of one column.

        A bound that is calibrated on products does not bind a single column.
        """
        adc, noise = hardware.adc, hardware.noise
        variance = noise.output**2 + (noise.read.sigma**2 if noise.read is not None else 0.0)
        bound = adc.bound if isinstance(adc.bound, float | int) else None
        bits = None
        if bound is not None and adc.half_steps is not None:
            bits = max(2, round(math.log2(2 * adc.half_steps + 2)))
        return cls(noise=math.sqrt(variance), bits=bits, bound=bound)

    def read(self, column: Tensor, xi: Tensor) -> Tensor:
        """Return what a read of relative weights shows.

        Args:
            column: relative weights, any shape.
            xi: standard normal numbers of that shape.
        """
        y = column + self.noise * xi if self.noise else column
        if self.bound is None:
            return y
        y = y.clamp(-self.bound, self.bound)
        if self.bits is None:
            return y
        step = self.bound / (2 ** (self.bits - 1) - 1)
        return torch.round(y / step) * step
