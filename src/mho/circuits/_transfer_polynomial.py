"""The polynomial transfer curve."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from ._draws import Draws
from ._transfer import Transfer


class PolynomialCurve(Transfer):
    """f(u) = u + a2 u^2 + a3 u^3 + a5 u^5 with u = y / bound, the signal relative to full scale.

    The odd terms are those of a balanced (differential) circuit, and a2 is what is left of its
    mismatch. Each converter has coefficients of its own, a_k + spread_k xi. The nominal curve must
    rise everywhere between -1 and 1; a drawn one may not, if spreads are large. A polynomial tells
    nothing beyond full scale: there the curve goes on straight, with its slope at the end, but
    never falls.
    """

    kind: Literal["polynomial"] = "polynomial"
    quadratic: float = Field(default=0.0, description="a2, relative to the bound.")
    cubic: float = Field(default=0.0, description="a3; below 0 is compressive.")
    quintic: float = Field(default=0.0, description="a5, relative to the bound.")
    quadratic_spread: float = Field(default=0.0, ge=0, description="Std of a2 over converters.")
    cubic_spread: float = Field(default=0.0, ge=0, description="Std of a3 over converters.")
    quintic_spread: float = Field(default=0.0, ge=0, description="Std of a5 over converters.")

    @model_validator(mode="after")
    def _rises(self) -> "PolynomialCurve":
        # Coefficients below the rounding of 1 bend nothing, but would make roots overflow.
        a2, a3, a5 = (a if abs(a) > 1e-15 else 0.0 for a in self.coefficients)
        slope = np.polynomial.Polynomial([1, 2 * a2, 3 * a3, 0, 5 * a5])
        turns = slope.deriv().trim().roots()
        inside = [float(t.real) for t in turns if abs(t.imag) < 1e-9 and abs(t.real) < 1]
        u = min([-1.0, 1.0, *inside], key=lambda at: float(slope(at)))
        if slope(u) <= 0:
            raise ValueError(
                f"the curve is not monotone: its slope at u = {u:.3g} is {slope(u):.3g}, so that "
                "two signals would have one code; it must be above 0 from u = -1 to 1: take "
                "smaller coefficients, such as a cubic above -1/3 alone"
            )
        return self

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """The nominal a2, a3, a5."""
        return self.quadratic, self.cubic, self.quintic

    def draw(self, draws: Draws) -> Tensor | None:
        """Draw a2, a3, a5 of each converter, (row-slices, columns, 3)."""
        spreads = self.quadratic_spread, self.cubic_spread, self.quintic_spread
        if not any(spreads):
            return None
        xi = draws.normal("transfer", 3)
        return xi.new_tensor(self.coefficients) + xi.new_tensor(spreads) * xi

    def apply(self, y: Tensor, bound: float, strength: Tensor | float) -> Tensor:
        """See `Transfer.apply`; a tensor `strength` is a2, a3, a5 on its first axis."""
        a2, a3, a5 = strength if isinstance(strength, Tensor) else self.coefficients
        u = y / bound
        c = u.clamp(-1.0, 1.0)
        v = c + c * c * (a2 + c * (a3 + c * c * a5))
        even, odd = 1 + 3 * a3 + 5 * a5, 2 * a2
        ends = [torch.as_tensor(end, dtype=y.dtype) for end in (even + odd, even - odd)]
        above, below = (end.clamp(min=0.0).to(y.device) for end in ends)
        return bound * (v + (u - c) * torch.where(u > 0, above, below))
