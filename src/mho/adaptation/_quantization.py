"""Weights on levels during training."""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..circuits import half_steps
from ..ops import to_codes
from ..spec import Variant


class WeightQuantization(Variant):
    """Weights rounded to levels in training mode; the Parameter keeps all its digits."""

    bits: int = Field(ge=2, le=16, strict=True, description="2^bits - 1 levels, one at zero.")

    @property
    def levels(self) -> int:
        """Levels on each side of zero, 2^(bits-1) - 1."""
        return half_steps(self.bits, None) or 1

    @abstractmethod
    def relative(self, weight: Tensor, largest: Tensor) -> Tensor:
        """Return weights in [-1, 1], before rounding.

        Args:
            weight: targets (out, rows).
            largest: the largest |w| of each weight's column or array, (out, rows).
        """

    def apply(self, weight: Tensor, largest: Tensor) -> Tensor:
        """Return largest round(n relative) / n, with the gradient of `relative` alone."""
        n = float(self.levels)
        return to_codes(self.relative(weight, largest) * n, n) * (largest / n)


class UniformQuantization(WeightQuantization):
    """Levels w_max k / n, k = -n ... n, with w_max the scale of the hardware's mapping."""

    kind: Literal["uniform"] = "uniform"

    def relative(self, weight: Tensor, largest: Tensor) -> Tensor:
        """W / w_max."""
        return weight / largest


class DoReFa(WeightQuantization):
    """The same levels, after tanh(w) / max tanh|w|: small weights are spread over more levels.

    Zhou et al., "DoReFa-Net", arXiv 1606.06160 (2016), eq. 9, with a level at zero and scaled back
    to the largest weight, so that a pretrained network keeps its function.
    """

    kind: Literal["dorefa"] = "dorefa"

    def relative(self, weight: Tensor, largest: Tensor) -> Tensor:
        """tanh(w) / tanh(w_max)."""
        return torch.tanh(weight) / torch.tanh(largest)
