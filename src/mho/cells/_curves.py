"""Curves: how a property of a cell depends on its conductance. Published numbers, kept as data."""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..spec import Spec, Variant


class Curve(Variant):
    """A scalar function of the relative conductance r = g/g_max."""

    @abstractmethod
    def __call__(self, r: Tensor) -> Tensor:
        """Return the value at each r >= 0, of the shape of r."""

    def require(self, low: float, high: float) -> None:
        """Raise ValueError where the curve is not defined on all of low <= r <= high."""


class Constant(Curve):
    """The same value at every conductance."""

    kind: Literal["constant"] = "constant"
    value: float = Field(description="The value, in the unit of the law that uses the curve.")

    def __call__(self, r: Tensor) -> Tensor:
        """Return `value` everywhere."""
        return torch.full_like(r, self.value)


class Polynomial(Curve):
    """sum_k coefficients[k] * (argument_scale * r)^k."""

    kind: Literal["polynomial"] = "polynomial"
    coefficients: tuple[float, ...] = Field(
        min_length=1, description="Ascending powers, in the unit of the law that uses the curve."
    )
    argument_scale: float = Field(
        default=1.0,
        gt=0,
        description="Value of the polynomial's own argument at g_max (1: it is r).",
    )

    def __call__(self, r: Tensor) -> Tensor:
        """Return the polynomial by Horner's rule."""
        argument = r * self.argument_scale
        value = torch.full_like(argument, self.coefficients[-1])
        for coefficient in self.coefficients[-2::-1]:
            value = value * argument + coefficient
        return value


class ClippedLog(Curve):
    """clip(slope * ln(max(r, floor)) + intercept, low, high)."""

    kind: Literal["clipped_log"] = "clipped_log"
    slope: float = Field(description="Change per e-fold of conductance.")
    intercept: float = Field(description="Unclipped value at g_max.")
    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")
    floor: float = Field(
        default=1e-7, gt=0, description="Relative conductance below which r counts as this."
    )

    def __call__(self, r: Tensor) -> Tensor:
        """Return the clipped logarithm."""
        logarithm = r.clamp(min=self.floor).log()
        return (self.slope * logarithm + self.intercept).clamp(self.low, self.high)

    @model_validator(mode="after")
    def _ordered(self) -> "ClippedLog":
        if self.low > self.high:
            raise ValueError(f"low={self.low} must not exceed high={self.high}")
        return self


class Power(Curve):
    """min(scale / max(r^exponent, floor), cap)."""

    kind: Literal["power"] = "power"
    scale: float = Field(ge=0, description="Uncapped value at g_max.")
    exponent: float = Field(gt=0, description="How fast the value falls with conductance.")
    cap: float = Field(gt=0, description="Largest value, reached at small conductance.")
    floor: float = Field(default=1e-3, gt=0, description="Smallest r^exponent that is divided by.")

    def __call__(self, r: Tensor) -> Tensor:
        """Return the capped inverse power."""
        # Not pow: its last bit depends on how torch splits the work over threads.
        power = torch.exp(self.exponent * r.log())
        return (self.scale / power.clamp(min=self.floor)).clamp(max=self.cap)


class Piecewise(Curve):
    """`below` for r < split and `above` for r >= split."""

    kind: Literal["piecewise"] = "piecewise"
    split: float = Field(gt=0, description="Relative conductance at which the curve changes.")
    below: Curve = Field(description="Curve under the split.")
    above: Curve = Field(description="Curve from the split on.")

    def __call__(self, r: Tensor) -> Tensor:
        """Return the branch that each r belongs to."""
        return torch.where(r < self.split, self.below(r), self.above(r))

    def require(self, low: float, high: float) -> None:
        """Ask each branch for its own part of the range."""
        if low < self.split:
            self.below.require(low, min(self.split, high))
        if high >= self.split:
            self.above.require(max(self.split, low), high)


def check_curves(law: Spec, low: float, high: float, nonnegative: tuple[str, ...]) -> None:
    """Raise ValueError unless every curve of a law is defined and finite on low <= r <= high.

    The curves named in `nonnegative` are standard deviations, which cannot be below 0.
    """
    grid = torch.linspace(low, high, 1001, dtype=torch.float32)
    for name in type(law).model_fields:
        value = getattr(law, name)
        for curve in value if isinstance(value, tuple) else (value,):
            if not isinstance(curve, Curve):
                continue
            curve.require(low, high)
            result = curve(grid)
            if not torch.isfinite(result).all():
                raise ValueError(f"{name} is not finite everywhere from r={low:g} to {high:g}")
            least, where = result.min(dim=0)
            if name in nonnegative and least < 0:
                raise ValueError(
                    f"{name} is {least:g} at r={grid[where]:g}; a standard deviation is at least 0"
                )
