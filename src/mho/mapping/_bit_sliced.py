"""A weight as digits on several arrays, put together by digital shift-and-add."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ._mapping import Mapping


class BitSliced(Mapping):
    """An integer weight of `bits` bits, `slice_bits` of its magnitude per differential pair.

    With L = 2^(bits-1) - 1 levels and base B = 2^slice_bits, round(|w| L) = sum_s B^s d_s, and the
    pair of slice s holds the digit d_s / (B - 1) on the side of the sign. Each slice has its own
    columns and converters; the digital sum has the factors B^s (B - 1) / L. Resolution: |w| is
    rounded to 1 / L. Source: Shafiee et al., ISCA 2016 (ISAAC), section IV, with differential
    digits.
    """

    kind: Literal["bit_sliced"] = "bit_sliced"
    bits: int = Field(
        default=8, ge=2, le=16, strict=True, description="Bits of the weight, sign included."
    )
    slice_bits: int = Field(
        default=2, ge=1, le=8, strict=True, description="Bits of magnitude per pair."
    )

    @model_validator(mode="after")
    def _slices_fit(self) -> "BitSliced":
        if self.slice_bits > self.bits - 1:
            raise ValueError(
                f"slice_bits {self.slice_bits} is more than the {self.bits - 1} bits of magnitude"
            )
        return self

    @property
    def _slices(self) -> int:
        return -(-(self.bits - 1) // self.slice_bits)

    @property
    def planes(self) -> int:
        """G+ and G- of every slice, least significant first."""
        return 2 * self._slices

    @property
    def exact(self) -> bool:
        """No: weights are rounded to levels."""
        return False

    @property
    def differentiable(self) -> bool:
        """No: digits have no gradient."""
        return False

    @property
    def significance(self) -> tuple[float, ...]:
        """B^s (B - 1) / L for each slice s, least significant first."""
        base, levels = 2**self.slice_bits, 2 ** (self.bits - 1) - 1
        return tuple(base**s * (base - 1) / levels for s in range(self._slices))

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`."""
        base, levels = 2**self.slice_bits, 2 ** (self.bits - 1) - 1
        left, planes = (w.abs() * levels).round(), []
        for _ in range(self._slices):
            digit = left.remainder(base) / (base - 1)
            left = (left / base).floor()
            planes += [torch.where(w > 0, digit, 0), torch.where(w < 0, digit, 0)]
        return g_min + (g_max - g_min) * torch.stack(planes)

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        return (g[0::2] - g[1::2]) / (g_max - g_min)
