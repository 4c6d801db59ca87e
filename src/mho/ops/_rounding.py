"""Rounding to converter codes with a straight-through gradient."""

from typing import Any

import torch
from torch import Tensor

from ._reuse import differentiable


class _Round(torch.autograd.Function):
    """Rounding forward, identity backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, chance: Tensor | None) -> Tensor:
        return x.round() if chance is None else _by_chance(x, chance)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept: the gradient does not depend on x."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _by_chance(x: Tensor, chance: Tensor) -> Tensor:
    # Not floor(x + chance): the sum is rounded, so that whole numbers could change.
    down = x.floor()
    return down + (chance < x - down)


def to_codes(x: Tensor, limit: float, *, stochastic: bool = False) -> Tensor:
    """Return round(x) limited to [-limit, limit]; x is in units of one step.

    Stochastic rounding is up with the probability of the fraction of x, so that the mean is x. The
    gradient is that of the limit alone: 1 inside, 0 outside. Without autograd, x is changed in
    place.
    """
    chance = torch.rand_like(x) if stochastic else None
    if differentiable(x):
        return _Round.apply(x.clamp(-limit, limit), chance)
    x.clamp_(-limit, limit)
    return x.round_() if chance is None else _by_chance(x, chance)
