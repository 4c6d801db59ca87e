"""An integer weight plus half the range of codes, on one device of many levels."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..ops import with_gradient_of
from ._mapping import Mapping


class Offset(Mapping):
    """Offset binary: w = k / L with L = 2^(bits-1) - 1 has the code 2^(bits-1) + k, above 0.

        G = g_max code / 2^bits,   w = (2^bits G / g_max - 2^(bits-1)) / L

    The offset is taken off exactly, by the sum of the inputs, or by a real cell that holds the
    middle code beside each weight. Weights are rounded to 1 / L, with the gradient of the weight
    itself. For cells of digital codes such as `capacitor_ladder`.
    """

    kind: Literal["offset"] = "offset"
    bits: int = Field(default=8, ge=2, le=12, strict=True, description="Bits of a code.")
    reference: Literal["ideal", "cell"] = Field(
        default="ideal", description="What takes the middle code off: exact, or a real cell."
    )

    @property
    def planes(self) -> int:
        """The device, and its reference cell if it has one."""
        return 2 if self.reference == "cell" else 1

    @property
    def exact(self) -> bool:
        """No: weights are rounded to levels."""
        return False

    @property
    def _levels(self) -> int:
        return 2 ** (self.bits - 1) - 1

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`; g_min plays no part."""
        scaled = w * self._levels
        code = 2 ** (self.bits - 1) + with_gradient_of(scaled, scaled.detach().round())
        g = code * (g_max / 2**self.bits)
        if self.reference == "ideal":
            return g.unsqueeze(0)
        return torch.stack((g, torch.full_like(g, g_max / 2)))

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        middle = g[1] if self.reference == "cell" else g_max / 2
        return ((g[0] - middle) * (2**self.bits / (g_max * self._levels))).unsqueeze(0)
