"""Rounding to converter codes with a straight-through gradient."""

from typing import Any

import torch
from torch import Tensor

from ._reuse import differentiable


class _Round(torch.autograd.Function):
    """Rounding forward, identity backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, shift: Tensor | None, limit: float) -> Tensor:
        return x.round() if shift is None else _shifted(x.clone(), shift, limit)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept: the gradient does not depend on x."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None


def _shifted(x: Tensor, shift: Tensor, limit: float) -> Tensor:
    # Where u is within a rounding error of 1, limit + u is the next code.
    return x.add_(shift).floor_().clamp_(-limit, limit)


def to_codes(x: Tensor, limit: float, *, stochastic: bool = False) -> Tensor:
    """Return round(x) limited to [-limit, limit]; x is in units of one step.

    Stochastic rounding is floor(x + u) with u uniform in [0, 1), whose mean is x. The gradient is
    that of the limit alone: 1 inside, 0 outside. Without autograd, x is changed in place.
    """
    shift = torch.rand_like(x) if stochastic else None
    if differentiable(x):
        return _Round.apply(x.clamp(-limit, limit), shift, limit)
    x.clamp_(-limit, limit)
    return x.round_() if shift is None else _shifted(x, shift, limit)
