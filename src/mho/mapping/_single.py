"""One device per weight, read against a reference."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ._mapping import Mapping


class Single(Mapping):
    """An affine map of [-1, 1] onto [g_min, g_max], with the mid conductance subtracted.

        G = g_min + (g_max - g_min) (w + 1) / 2,   w = 2 (G - G_ref) / (g_max - g_min)

    With an ideal reference, G_ref is exactly (g_min + g_max) / 2 (subtracted digitally from the sum
    of inputs); with reference cells, every weight has a second device programmed to that value,
    which has errors and drifts like any other.
    """

    kind: Literal["single"] = "single"
    reference: Literal["ideal", "cell"] = Field(
        default="ideal",
        description="Subtracted mid conductance: exact, or a real cell beside each weight.",
    )

    @property
    def planes(self) -> int:
        """The device, and its reference cell if it has one."""
        return 2 if self.reference == "cell" else 1

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`."""
        g = g_min + (g_max - g_min) * (w + 1) / 2
        if self.reference == "ideal":
            return g.unsqueeze(0)
        return torch.stack((g, torch.full_like(g, (g_min + g_max) / 2)))

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        reference = g[1] if self.reference == "cell" else (g_min + g_max) / 2
        return (2 * (g[0] - reference) / (g_max - g_min)).unsqueeze(0)
