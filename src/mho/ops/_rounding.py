"""Rounding to converter codes with a straight-through gradient."""

from typing import Any

import torch
from torch import Tensor


class _Round(torch.autograd.Function):
    """round(x) forward, identity backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept: the gradient does not depend on x."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def differentiable(*tensors: Tensor) -> bool:
    """Whether autograd follows any of the tensors, so that none may be changed in place."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def to_codes(x: Tensor, limit: float, *, stochastic: bool = False) -> Tensor:
    """Return round(x) limited to [-limit, limit]; x is in units of one step.

    Stochastic rounding is floor(x + u) with u uniform in [0, 1), whose mean is x. The gradient is
    that of the limit alone: 1 inside, 0 outside. Without autograd, x is changed in place.
    """
    if stochastic:
        x = x + (torch.rand_like(x) - 0.5)
    if differentiable(x):
        return _Round.apply(x.clamp(-limit, limit))
    return x.clamp_(-limit, limit).round_()
