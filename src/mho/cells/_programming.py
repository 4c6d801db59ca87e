"""Programming laws: how far a cell lands from its target."""

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ..spec import Variant
from ._curves import Curve

MICROSIEMENS = 1e-6


class Programming(Variant):
    """The error of one programming event."""

    nonnegative: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def program(self, target: Tensor, g_max: float, xi: Tensor) -> Tensor:
        """Return the programmed conductances [S], before any clipping at zero.

        Args:
            target: conductances [S], any shape, with a sign where the cell is signed.
            g_max: largest conductance of the cell [S].
            xi: standard normal numbers of the shape of target.
        """


class Gaussian(Programming):
    """g = g_T + u (mean(r) + std(r) xi) with r = |g_T|/g_max.

    The unit u of the curves' values is g_max/full_scale, because a fit in absolute units is scaled
    with the cell's range (Joshi et al., Nat. Commun. 11:2473, 2020), or 1 uS without a full scale.
    The mean moves the magnitude. std is never clamped: a cell refuses a curve that turns negative.
    """

    kind: Literal["gaussian"] = "gaussian"
    std: Curve = Field(
        description="Standard deviation of the error over r, in the unit of full_scale."
    )
    mean: Curve | None = Field(
        default=None, description="Mean error over r, in the unit of full_scale; none: 0."
    )
    full_scale: float | None = Field(
        default=None,
        gt=0,
        description="The curves' value that stands for g_max, such as 25 (uS); none: they are uS.",
    )
    scale: float = Field(default=1.0, ge=0, description="Multiplier of the standard deviation.")
    reset_below: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Targets with |g|/g_max below this are RESET: exactly 0, no error.",
    )
    nonnegative: ClassVar[tuple[str, ...]] = ("std",)

    def program(self, target: Tensor, g_max: float, xi: Tensor) -> Tensor:
        """Return target plus error, 0 where the cell is RESET."""
        r = target.abs() / g_max
        unit = MICROSIEMENS if self.full_scale is None else g_max / self.full_scale
        programmed = target + (unit * self.scale) * self.std(r) * xi
        if self.mean is not None:
            shift = unit * self.mean(r)
            programmed = programmed + torch.where(target < 0, -shift, shift)
        return torch.where(r < self.reset_below, 0.0, programmed)


class Acceptance(Programming):
    """Program and verify until |g - g_T| is within an acceptance range: std = c0 + c1 g_T in uS.

    Published for CMO/HfOx ReRAM and two acceptance ranges only (Falcone et al., 2025,
    arXiv:2502.04524): (c0, c1) = (0.00081107, 0.00106879) at 0.2 %, (0.0112185391, 0.01129027418)
    at 2 %. The coefficients are absolute and are not scaled with g_max.
    """

    COEFFICIENTS: ClassVar[dict[float, tuple[float, float]]] = {
        0.2: (0.00081107, 0.00106879),
        2.0: (0.0112185391, 0.01129027418),
    }

    kind: Literal["acceptance"] = "acceptance"
    acceptance_range: float = Field(
        description="Accepted deviation in percent of the target: 0.2 or 2."
    )
    scale: float = Field(default=1.0, ge=0, description="Multiplier of the standard deviation.")

    @field_validator("acceptance_range")
    @classmethod
    def _published(cls, value: float) -> float:
        if value not in cls.COEFFICIENTS:
            raise ValueError(
                "published for an acceptance range of 0.2 or 2 (percent) only; "
                "for another one give your own curve with kind 'gaussian'"
            )
        return value

    def program(self, target: Tensor, g_max: float, xi: Tensor) -> Tensor:
        """Return target plus error."""
        constant, slope = self.COEFFICIENTS[self.acceptance_range]
        return target + self.scale * (constant * MICROSIEMENS + slope * target.abs()) * xi
