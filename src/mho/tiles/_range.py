"""The learned input range: clipping whose gradient lets the range grow."""

from typing import Any

import torch
from torch import Tensor


class _Clip(torch.autograd.Function):
    """clip(x, -r, r) with the asymmetric gradient of `circuits.Learned`."""

    @staticmethod
    def forward(
        x: Tensor, r: Tensor, occupied: Tensor, clipped: Tensor | None, dims: tuple[int, ...]
    ) -> Tensor:
        return torch.maximum(torch.minimum(x, r), -r)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, r, occupied, clipped, ctx.dims = inputs
        ctx.counts = clipped is not None
        ctx.save_for_backward(x, r, occupied)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, r, occupied = ctx.saved_tensors
        # An input exactly at the range is clipped, but keeps its gradient.
        inside = torch.where(x.abs() <= r, grad, 0)
        high, low = x >= r, x <= -r
        more = torch.where(high, grad.clamp(max=0), 0) - torch.where(low, grad.clamp(min=0), 0)
        of_r = r * (more.sum(ctx.dims) if ctx.dims else more.sum()).reshape(r.shape)
        if not ctx.counts:
            return inside, of_r, None, None, None
        at_range = (high | low).to(r.dtype)
        share = at_range.mean(ctx.dims) if ctx.dims else at_range.mean()
        share = share.reshape(r.shape) / occupied
        return inside, of_r, None, torch.stack((share, torch.ones_like(share))), None


def clip_learned(x: Tensor, r: Tensor, occupied: Tensor, clipped: Tensor | None = None) -> Tensor:
    """Return x limited to [-r, r].

    Args:
        x: inputs laid on the rows.
        r: ranges, broadcastable to x.
        occupied: share of each row-slice of x that is input and not padding, shaped as r.
        clipped: a pair of leaves shaped as r. Their gradients take up the share of inputs at the
            range and the number of backward passes, whatever the loss: what backward sees is
            handed over as a gradient, because compilers trace no other way out of it.
    """
    offset = x.dim() - r.dim()
    # Axes over which one range is shared; none for a scalar range, which is shared by everything.
    shared = [d for d in range(x.dim()) if d < offset or r.shape[d - offset] == 1]
    return _Clip.apply(x, r, occupied, clipped, tuple(shared) if r.dim() else ())
