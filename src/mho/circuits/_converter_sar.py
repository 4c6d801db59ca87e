"""Successive approximation with errors of the bit weights."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ._converter import Converter, OwnNumbers, binary_bits
from ._draws import Draws


class SuccessiveApproximation(Converter):
    """Bit by bit, most significant first: keep bit k if the signal is not below the sum with it.

        w_k = 2^k (1 + eps_k),   std(eps_k)^2 = weight_spread^2 + unit_spread^2 / 2^k

    A weight of 2^k equal units averages over their spread, hence the second term (Pelgrom et al.,
    IEEE JSSC 24:1433, 1989: the variance of a mismatch falls with the area). Where weight k is
    larger than the sum of all below it and one step, the code before it is wider; where it is
    smaller, the decision levels are not monotone over the codes, and those that the weight is
    too light for never occur.
    """

    kind: Literal["sar"] = "sar"
    weight_spread: float = Field(
        default=0.0, ge=0, description="Relative spread of every bit weight, whatever its size."
    )
    unit_spread: float = Field(
        default=0.0, ge=0, description="Relative spread of one unit of which weights are made."
    )
    weights: tuple[float, ...] | None = Field(
        default=None,
        description="Measured bit weights in steps, least significant first, instead of 1, 2, 4...",
    )

    def check(self, half: int) -> None:
        """The levels are binary, and as many weights are known as there are bits."""
        bits = binary_bits(half, self.kind)
        if self.weights is not None and len(self.weights) != bits:
            raise ValueError(f"{len(self.weights)} bit weights, but the ADC has {bits} bits")
        if self.weights is not None and min(self.weights) <= 0:
            raise ValueError(f"bit weights must be above 0, got {min(self.weights):g}")

    def draw(self, draws: Draws, half: int) -> Tensor | None:
        """Draw the bit weights, least significant first."""
        if not self.weight_spread and not self.unit_spread:
            return None
        bits = binary_bits(half, self.kind)
        std = [math.hypot(self.weight_spread, self.unit_spread / 2 ** (k / 2)) for k in range(bits)]
        xi = draws.normal("bit weights", bits)
        return self.nominal(half).to(xi.device) * (1 + xi.new_tensor(std) * xi)

    def nominal(self, half: int) -> Tensor:
        """Return the bit weights."""
        if self.weights is not None:
            return torch.tensor(self.weights)
        return 2.0 ** torch.arange(binary_bits(half, self.kind))

    def search(self, z: Tensor, half: int, own: OwnNumbers) -> Tensor:
        """See `Converter.search`."""
        rest, code = z + (half + 1.5), torch.zeros_like(z)
        for k in reversed(range(own.values.shape[1])):
            weight = own.each(k).to(z.dtype)
            kept = rest >= weight
            rest = rest - torch.where(kept, weight, 0.0)
            code = code + 2.0**k * kept
        return code - (half + 1)
