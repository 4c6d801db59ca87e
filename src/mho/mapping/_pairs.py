"""Several differential pairs per weight, of different significance."""

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ._mapping import Mapping


class Pairs(Mapping):
    """N differential pairs whose currents add with analog factors f_k.

        w = sum_k f_k (G+_k - G-_k) / (sum_k f_k (g_max - g_min))

    The pairs are filled in the order given: a pair carries something only where those before it are
    at g_max. Source: Mackin et al., Nat. Commun. 13:3765 (2022), multiple conductances per weight.
    """

    kind: Literal["pairs"] = "pairs"
    factors: tuple[float, ...] = Field(
        default=(1.0, 1.0),
        description="Significance of each pair, all positive, in the order of filling.",
    )

    @field_validator("factors")
    @classmethod
    def _positive(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if not factors or min(factors) <= 0:
            raise ValueError("factors needs at least one number, all above 0")
        return factors

    @property
    def planes(self) -> int:
        """G+ and G- of every pair, pair by pair."""
        return 2 * len(self.factors)

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`."""
        left, planes = w.abs() * sum(self.factors), []
        for factor in self.factors:
            part = (left / factor).clamp(0, 1)  # share of this pair's range
            left = left - factor  # what is beyond a full pair; below 0 after the last one needed
            planes += [torch.where(w > 0, part, 0), torch.where(w < 0, part, 0)]
        return g_min + (g_max - g_min) * torch.stack(planes)

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        factors = torch.tensor(self.factors, dtype=g.dtype, device=g.device)
        difference = (g[0::2] - g[1::2]) / (g_max - g_min)  # (pairs, out, in)
        return (torch.einsum("k,koi->oi", factors, difference) / factors.sum()).unsqueeze(0)
