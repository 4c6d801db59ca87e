"""Rounding to converter codes with a straight-through gradient."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._normals import standard_normal_like
from ._one_pass import flat, in_memory, laid, over_chunks, random_key
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
        x: Tensor, gain: Tensor, spread: Tensor | None, offset: Tensor | None, after: Tensor,
        limit: float, rounding: str | None, spare: bool,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        given = x, gain, spread, offset, after, limit, rounding
        done = _in_one_pass(*given, spare=spare, masks=True)
        if done is not None:
            return done
        y = _moved(x * gain, spread, offset)
        limited, inside = y, None
        if limit != math.inf:
            limited = y.clamp(-limit, limit)
            inside = limited == y
        return _rounded(limited, rounding).mul_(after), inside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Any]) -> None:
        if output[0] is inputs[0]:
            ctx.mark_dirty(inputs[0])
        inside = output[1]
        ctx.save_for_backward(inputs[1] * inputs[4], inside)
        if inside is not None:
            ctx.mark_non_differentiable(inside)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        slope, inside = ctx.saved_tensors
        nothing = (None,) * 7
        if torch.is_grad_enabled() or inside is None:
            of_x = grad * slope
            return (of_x if inside is None else of_x * inside), *nothing
        of_x = _masked(grad, slope, inside)
        return (grad * slope).mul_(inside) if of_x is None else of_x, *nothing


def _in_one_pass(
    x: Tensor, gain: Tensor, spread: Tensor | None, offset: Tensor | None, after: Tensor,
    limit: float, rounding: str | None, *, spare: bool, masks: bool,
) -> tuple[Tensor, Tensor | None] | None:  # fmt: skip
    """`converted_codes` by a kernel, into the place of x if it is spare; None where it cannot.

    The second result tells which signals were within the limit, if that is asked for.
    """
    if rounding == "stochastic" or not in_memory(x, gain, spread, offset, after):
        return None
    found = laid(x, gain, spread, offset, after)
    if found is None:
        return None
    from ._converter_kernels import convert

    shape, (gains, spreads, offsets, afters) = found
    # Autograd lets Functions change neither leaves nor, beside a mask, views.
    own = spare and not (masks and (x.is_leaf or x._is_view()))
    y = x if own else torch.empty_like(x)
    inside = torch.empty_like(x, dtype=torch.bool) if masks and limit != math.inf else None
    over_chunks(
        convert, x.numel(), flat(x), shape, *gains, *spreads, *offsets, *afters,
        np.float32(limit), rounding is not None, (0, 0) if spread is None else random_key(),
        flat(y), np.zeros(0, bool) if inside is None else flat(inside), draws=spread is not None,
    )  # fmt: skip
    return y, inside


def _masked(grad: Tensor, slope: Tensor, inside: Tensor) -> Tensor | None:
    """Return grad slope where inside, by a kernel; None where it cannot."""
    found = laid(grad, slope) if inside.is_contiguous() and in_memory(grad, slope) else None
    if found is None:
        return None
    from ._converter_kernels import masked

    shape, (slopes,) = found
    out = torch.empty_like(grad)
    over_chunks(masked, grad.numel(), flat(grad), shape, *slopes, flat(inside), flat(out))
    return out


def _rounded(x: Tensor, rounding: str | None) -> Tensor:
    """Round in place."""
    if rounding is None:
        return x
    return x.round_() if rounding == "nearest" else _by_chance(x, torch.rand_like(x))


def _moved(x: Tensor, spread: Tensor | None, offset: Tensor | None) -> Tensor:
    """Add spread noise + offset in place."""
    if spread is not None:
        x.addcmul_(standard_normal_like(x), spread)
    return x if offset is None else x.add_(offset)


def converted_codes(
    x: Tensor,
    gain: Tensor,
    *,
    spread: Tensor | None = None,
    offset: Tensor | None = None,
    after: Tensor,
    limit: float = math.inf,
    rounding: str | None = None,
    spare: bool = False,
) -> Tensor:
    """Return after round(clip(gain x + spread noise + offset, -limit, limit)).

    It passes over memory as few times as it can, also under autograd.

    The gradient with respect to x is after gain inside the limit and 0 outside; nothing else has
    one. Without autograd, x is changed in place.

    Args:
        x: signals, not used by anybody else afterwards.
        gain: broadcastable to x, as all that follows.
        spread: standard deviation of Gaussian noise, drawn here; None for none.
        offset: added before the limit.
        after: digital factor.
        limit: in steps where there is rounding.
        rounding: "nearest", "stochastic", or None for no levels.
        spare: whether the backward pass of what made x, such as a product, can do without x, so
            that it may be changed in place under autograd too.
    """
    if differentiable(x):
        return _Convert.apply(x, gain, spread, offset, after, limit, rounding, spare)[0]
    done = _in_one_pass(x, gain, spread, offset, after, limit, rounding, spare=True, masks=False)
    if done is not None:
        return x
    _moved(x.mul_(gain), spread, offset)
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
