"""Rounding to converter codes with a straight-through gradient."""

import math
from typing import Any

import torch
from torch import Tensor

from ._reuse import differentiable, signed


class _Round(torch.autograd.Function):
    """Rounding forward, identity backward."""

    generate_vmap_rule = True

    @staticmethod
    @signed
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


class _Convert(torch.autograd.Function):
    """`converted_codes` under autograd."""

    generate_vmap_rule = True

    @staticmethod
    @signed
    def forward(
        x: Tensor, gain: Tensor, noise: Tensor | None, spread: Tensor | None,
        offset: Tensor | None, after: Tensor, limit: float, rounding: str | None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        y = _moved(x * gain, noise, spread, offset)
        limited, inside = y, None
        if limit != math.inf:
            limited = y.clamp(-limit, limit)
            inside = limited == y
        return _rounded(limited, rounding).mul_(after), inside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Any]) -> None:
        inside = output[1]
        gain, after = inputs[1], inputs[5]
        ctx.save_for_backward(gain * after, inside)
        if inside is not None:
            ctx.mark_non_differentiable(inside)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        slope, inside = ctx.saved_tensors
        of_x = grad * slope
        if inside is not None:
            of_x = of_x * inside if torch.is_grad_enabled() else of_x.mul_(inside)
        return of_x, None, None, None, None, None, None, None


def _rounded(x: Tensor, rounding: str | None) -> Tensor:
    """Round in place."""
    if rounding is None:
        return x
    return x.round_() if rounding == "nearest" else _by_chance(x, torch.rand_like(x))


def _moved(x: Tensor, noise: Tensor | None, spread: Tensor | None, offset: Tensor | None) -> Tensor:
    """Add spread noise + offset in place."""
    if noise is not None and spread is not None:
        x.addcmul_(noise, spread)
    return x if offset is None else x.add_(offset)


def converted_codes(
    x: Tensor,
    gain: Tensor,
    *,
    noise: Tensor | None = None,
    spread: Tensor | None = None,
    offset: Tensor | None = None,
    after: Tensor,
    limit: float = math.inf,
    rounding: str | None = None,
) -> Tensor:
    """Return after round(clip(gain x + spread noise + offset, -limit, limit)).

    It passes over memory as few times as it can, also under autograd.

    The gradient with respect to x is after gain inside the limit and 0 outside; nothing else has
    one. Without autograd, x is changed in place.

    Args:
        x: signals, not used by anybody else afterwards.
        gain: broadcastable to x, as all that follows.
        noise: of the shape of x.
        spread: factor on the noise, given with it.
        offset: added before the limit.
        after: digital factor.
        limit: in steps where there is rounding.
        rounding: "nearest", "stochastic", or None for no levels.
    """
    if differentiable(x):
        return _Convert.apply(x, gain, noise, spread, offset, after, limit, rounding)[0]
    _moved(x.mul_(gain), noise, spread, offset)
    if limit != math.inf:
        x.clamp_(-limit, limit)
    return _rounded(x, rounding).mul_(after)


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
