"""Weights of +1, 0 and -1 on two devices."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..ops import with_gradient_of
from ._mapping import Mapping


class Ternary(Mapping):
    """The sign of weights from a threshold on, and 0 below it, on a pair of binary devices.

        w = (G+ - G-) / (g_max - g_min) = sign(w) [|w| >= threshold]

    The pair of a zero has both devices at g_min or both at g_max. Every product has these levels,
    with the gradient of the weight itself (straight through), so that training on hardware with
    this mapping is the training of a ternary network: Li et al., arXiv 1605.04711 (2016), with a
    threshold relative to the scale of the mapping instead of the mean weight.
    """

    kind: Literal["ternary"] = "ternary"
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Smallest relative |w| that is not 0."
    )
    zero: Literal["g_min", "g_max"] = Field(
        default="g_min", description="Where both devices of a zero are."
    )

    @property
    def planes(self) -> int:
        """G+ and G-."""
        return 2

    @property
    def exact(self) -> bool:
        """No: weights become one of three."""
        return False

    def encode(self, w: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.encode`."""
        own = w.detach()
        level = with_gradient_of(w, own.sign() * (own.abs() >= self.threshold))
        # Of a level t, (|t| + t) / 2 is the positive part; at t = 0 each side has half its slope.
        up, down = (level.abs() + level) / 2, (level.abs() - level) / 2
        span = g_max - g_min
        if self.zero == "g_max":
            return g_max - span * torch.stack((down, up))
        return g_min + span * torch.stack((up, down))

    def decode(self, g: Tensor, g_min: float, g_max: float) -> Tensor:
        """See `Mapping.decode`."""
        return ((g[0] - g[1]) / (g_max - g_min)).unsqueeze(0)
