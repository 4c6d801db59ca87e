"""The learned input range: clipping whose gradient lets the range grow or decay."""

from typing import Any

import torch
from torch import Tensor


class _Clip(torch.autograd.Function):
    """clip(x, -r, r) with the asymmetric gradient of `circuits.Learned`."""

    @staticmethod
    def forward(x: Tensor, r: Tensor, dims: tuple[int, ...], decay: float, keep: float) -> Tensor:
        return torch.maximum(torch.minimum(x, r), -r)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, r, ctx.dims, ctx.decay, ctx.keep = inputs
        ctx.save_for_backward(x, r)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, r = ctx.saved_tensors
        wants_more = torch.where(x >= r, grad.clamp(max=0), 0) - torch.where(x <= -r, grad.clamp(min=0), 0)
        inside = x.abs() < r
        unclipped = inside.to(r.dtype).mean(ctx.dims, keepdim=True) if ctx.dims else inside.to(r.dtype).mean()
        total = wants_more.sum(ctx.dims, keepdim=True) if ctx.dims else wants_more.sum()
        decay = ctx.decay * r * (unclipped > ctx.keep)
        # An input exactly at the range keeps its gradient.
        return torch.where(x.abs() <= r, grad, 0), r * total + decay, None, None, None


def clip_learned(x: Tensor, r: Tensor, decay: float, keep: float) -> Tensor:
    """Return x limited to [-r, r].

    Args:
        x: inputs laid on the rows.
        r: ranges, broadcastable to x.
        decay: see `circuits.Learned`.
        keep: see `circuits.Learned`.
    """
    offset = x.dim() - r.dim()
    # Axes over which one range is shared; none for a scalar range, which is shared by everything.
    shared = [d for d in range(x.dim()) if d < offset or r.shape[d - offset] == 1]
    return _Clip.apply(x, r, tuple(shared) if r.dim() else (), decay, keep)
