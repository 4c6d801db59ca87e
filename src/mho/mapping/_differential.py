"""Two devices per weight, read as a difference of currents."""

from typing import Literal

import torch
from torch import Tensor

from ._mapping import Mapping


class Differential(Mapping):
    """A pair G+, G- with the unused polarity at g_min.

        G+ = g_min + (g_max - g_min) max(w, 0),   G- = g_min + (g_max - g_min) max(-w, 0)
        w  = (G+ - G-) / (g_max - g_min)

    Source: Joshi et al., Nat. Commun. 11:2473 (2020), Fig. 1; the usual mapping of PCM chips.
    """

    kind: Literal["differential"] = "differential"

    @property
    def planes(self) -> int:
        """G+ and G-."""
        return 2

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`."""
        return g_min + (g_max - g_min) * torch.stack((w.clamp(min=0), (-w).clamp(min=0)))

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        return ((g[0] - g[1]) / (g_max - g_min)).unsqueeze(0)
