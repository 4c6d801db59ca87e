"""Weights of +1 and -1 on two complementary devices."""

from typing import Literal

import torch
from torch import Tensor

from ..ops import with_gradient_of
from ._mapping import Mapping


class Binary(Mapping):
    """The sign of the weight: (g_max, g_min) for w >= 0, (g_min, g_max) below.

        w = (G+ - G-) / (g_max - g_min)

    Every product has the signs, with the gradient of the weight itself (straight through), so that
    training on hardware with this mapping is the training of a binary network: Courbariaux et al.,
    NeurIPS 2015, arXiv 1511.00363. Clip the weights at the scale, as there.
    """

    kind: Literal["binary"] = "binary"

    @property
    def planes(self) -> int:
        """G+ and G-."""
        return 2

    @property
    def exact(self) -> bool:
        """No: weights become their sign."""
        return False

    @property
    def complementary(self) -> bool:
        """Yes."""
        return True

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`."""
        sign = with_gradient_of(w, torch.where(w.detach() < 0, -1.0, 1.0).to(w.dtype))
        middle, half = (g_max + g_min) / 2, (g_max - g_min) / 2
        return torch.stack((middle + half * sign, middle - half * sign))

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        return ((g[0] - g[1]) / (g_max - g_min)).unsqueeze(0)
