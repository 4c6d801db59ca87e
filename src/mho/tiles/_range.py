"""Inputs relative to a range, limited and rounded, with one backward pass for all of it."""

from typing import Any

import torch
from torch import Tensor

from ..ops import drive_by_largest, drive_gradients, drive_in_one_pass, signed, times


class _Drive(torch.autograd.Function):
    """See `drive`."""

    generate_vmap_rule = True

    @staticmethod
    @signed
    def forward(
        x: Tensor, r: Tensor, occupied: Tensor | None, clipped: Tensor | None,
        dims: tuple[int, ...], steps: float | None,
    ) -> Tensor:  # fmt: skip
        done = drive_in_one_pass(x, r, steps)
        if done is not None:
            return done
        v = (x / r).clamp_(-1.0, 1.0)
        return v if steps is None else v.mul_(steps).round_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, r, occupied, clipped, ctx.dims, ctx.steps = inputs
        ctx.counts = clipped is not None
        ctx.save_for_backward(x, r, occupied)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, r, occupied = ctx.saved_tensors
        of_range, factor = ctx.needs_input_grad[1] or ctx.counts, ctx.steps or 1.0
        done = None
        if not torch.is_grad_enabled():
            done = drive_gradients(grad, x, r, factor, of_range=of_range)
        done = done or _gradients(grad * (factor / r), x, r, ctx.dims, of_range)
        of_x, pulls, number = done
        if pulls is None or number is None:
            return of_x, None, None, None, None, None
        of_r = r * pulls
        if not ctx.counts:
            return of_x, of_r, None, None, None, None
        share = (number / (x.numel() / r.numel() * occupied.float())).to(r.dtype)
        return of_x, of_r, None, torch.stack((share, torch.ones_like(share))), None, None


def _gradients(
    grad: Tensor, x: Tensor, r: Tensor, dims: tuple[int, ...], of_range: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """`ops.drive_gradients` in torch's operators, of a gradient that is relative to the range."""
    magnitude = x.abs()
    # An input exactly at the range is clipped, but keeps its gradient.
    inside = grad.masked_fill(magnitude > r, 0)
    if not of_range:
        return inside, None, None
    at_range = magnitude >= r
    more = (grad * x.sign()).clamp(max=0).masked_fill(~at_range, 0)
    pulls, number = (
        (values.sum(dims) if dims else values.sum()).reshape(r.shape) for values in (more, at_range)
    )
    return inside, pulls, number


def drive(
    x: Tensor,
    r: Tensor,
    steps: float | None,
    occupied: Tensor | None = None,
    clipped: Tensor | None = None,
) -> Tensor:
    """Return clip(x / r, -1, 1), in rounded steps where there are levels.

    The gradient with respect to x is that of the limit alone, and with respect to r that of
    `circuits.Learned`. Division makes x = r exactly 1.

    Args:
        x: inputs laid on the rows.
        r: ranges, broadcastable to x.
        steps: DAC steps at full scale.
        occupied: share of each row-slice of x that is input and not padding, shaped as r.
        clipped: a pair of leaves shaped as r. Their gradients take up the share of inputs at the
            range and the number of backward passes, whatever the loss: what backward sees is
            handed over as a gradient, because compilers trace no other way out of it.
    """
    offset = x.dim() - r.dim()
    # Axes over which one range is shared; none for a scalar range, which is shared by everything.
    shared = [d for d in range(x.dim()) if d < offset or r.shape[d - offset] == 1]
    return _Drive.apply(x, r, occupied, clipped, tuple(shared) if r.dim() else (), steps)


class _DriveByLargest(torch.autograd.Function):
    """See `largest_drive`."""

    @staticmethod
    @signed
    def forward(x: Tensor, steps: float) -> tuple[Tensor, Tensor]:
        done = drive_by_largest(x, steps)
        if done is not None:
            return done
        largest = largest_input(x)
        return (x / largest).mul_(steps).round_(), largest

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.steps, largest = inputs[1], output[1]
        ctx.save_for_backward(largest)
        ctx.mark_non_differentiable(largest)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, None]:
        (largest,) = ctx.saved_tensors
        return times(grad / largest, ctx.steps), None  # 1 / largest may overflow


def largest_input(x: Tensor) -> Tensor:
    """Return max |x| of each vector, (..., 1) for x (..., k).

    A vector of zeros has any range; the smallest normal number keeps 0 / r at 0.
    """
    return x.detach().abs().amax(-1, keepdim=True).clamp_(min=torch.finfo(x.dtype).tiny)


def largest_drive(x: Tensor, steps: float) -> tuple[Tensor, Tensor]:
    """Return round(steps x / r) and r, the `largest_input` of each vector.

    Rounding has the gradient 1, and r none.
    """
    return _DriveByLargest.apply(x, steps)
