"""The learned input range: clipping whose gradient lets the range grow or decay."""

from typing import Any

import torch
from torch import Tensor


class _Clip(torch.autograd.Function):
    """clip(x, -r, r) with the asymmetric gradient of `circuits.Learned`."""

    @staticmethod
    def forward(
        x: Tensor, r: Tensor, occupied: Tensor, dims: tuple[int, ...], decay: float, keep: float
    ) -> Tensor:
        return torch.maximum(torch.minimum(x, r), -r)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, r, occupied, ctx.dims, ctx.decay, ctx.keep = inputs
        ctx.save_for_backward(x, r, occupied)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, r, occupied = ctx.saved_tensors
        high, low = x >= r, x <= -r
        more = torch.where(high, grad.clamp(max=0), 0) - torch.where(low, grad.clamp(min=0), 0)
        clipped = (high | low).to(r.dtype)
        if ctx.dims:
            more, share = more.sum(ctx.dims, keepdim=True), clipped.mean(ctx.dims, keepdim=True)
        else:
            more, share = more.sum(), clipped.mean()
        decay = ctx.decay * r * (1 - share / occupied > ctx.keep)
        # An input exactly at the range keeps its gradient.
        inside = torch.where(x.abs() <= r, grad, 0)
        return inside, r * more + decay, None, None, None, None


def clip_learned(x: Tensor, r: Tensor, occupied: Tensor, decay: float, keep: float) -> Tensor:
    """Return x limited to [-r, r].

    Args:
        x: inputs laid on the rows.
        r: ranges, broadcastable to x.
        occupied: share of each row-slice of x that is input and not padding, shaped as r.
        decay: see `circuits.Learned`.
        keep: see `circuits.Learned`.
    """
    offset = x.dim() - r.dim()
    # Axes over which one range is shared; none for a scalar range, which is shared by everything.
    shared = [d for d in range(x.dim()) if d < offset or r.shape[d - offset] == 1]
    return _Clip.apply(x, r, occupied, tuple(shared) if r.dim() else (), decay, keep)
