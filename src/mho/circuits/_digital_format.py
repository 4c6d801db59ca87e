"""Fixed-point formats of parameters."""

import math

from pydantic import Field, model_validator
from torch import Tensor

from ..ops import to_codes
from ..spec import Spec


class FixedFormat(Spec):
    """A fixed-point format: value = integer / 2^fraction."""

    integer: int = Field(
        ge=0, le=16, strict=True,
        description="Bits before the point, with the sign where there is one.",
    )  # fmt: skip
    fraction: int = Field(ge=0, le=16, strict=True, description="Bits after the point.")

    @model_validator(mode="after")
    def _consistent(self) -> "FixedFormat":
        if not 1 <= self.integer + self.fraction <= 16:
            raise ValueError("a format has 1 to 16 bits, integer and fraction together")
        return self

    def code(self, values: Tensor) -> Tensor:
        """Return round(values 2^fraction), straight through; not limited to the format."""
        return to_codes(values * 2.0**self.fraction, math.inf)

    def limits(self, signed: bool) -> tuple[int, int]:
        """Return the smallest and the largest code."""
        bits = self.integer + self.fraction
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    def __str__(self) -> str:
        return f"({self.integer}, {self.fraction})"
