"""Inputs relative to their ranges, and the way back, in one pass over memory each."""

import numpy as np
import torch
from torch import Tensor

from ._one_pass import borrowed, flat, in_memory, laid, over_chunks, over_lines


def drive_in_one_pass(x: Tensor, r: Tensor, steps: float | None) -> Tensor | None:
    """Return round(steps clip(x / r, -1, 1)), without levels if steps is None.

    Args:
        x: inputs.
        r: ranges, broadcastable to x.
        steps: at full scale.

    Returns:
        A new tensor; None where torch's operators have to do it (`_one_pass`).
    """
    found = laid(x, r) if in_memory(x, r) else None
    if found is None:
        return None
    from ._converter_kernels import driven

    shape, (ranges,) = found
    v = torch.empty_like(x)
    full = np.float32(steps or 1)
    over_chunks(driven, x.numel(), flat(x), shape, *ranges, full, steps is not None, flat(v))
    return v


def drive_by_largest(x: Tensor, steps: float) -> tuple[Tensor, Tensor] | None:
    """Return round(steps x / r) and r (..., 1), the largest |x| of each vector (..., k).

    The r of a vector of zeros is the smallest normal number, which keeps 0 / r at 0.

    Returns:
        New tensors; None where torch's operators have to do it (`_one_pass`).
    """
    if not in_memory(x) or x.shape[-1] == 0:
        return None
    from ._converter_kernels import driven_by_largest as kernel

    vectors, v = x.detach().view(-1, x.shape[-1]), torch.empty_like(x)
    largest = x.new_empty((*x.shape[:-1], 1))
    out = v.view(vectors.shape).numpy()
    over_lines(kernel, vectors.numpy(), np.float32(steps), out, flat(largest))
    return v, largest


def row_peaks(x: Tensor) -> Tensor:
    """Return max |x| of each row (..., k), which is not finite if any number is not."""
    if x.shape[-1] == 0:
        return x.new_zeros(x.shape[:-1])
    x = x.detach()
    if not in_memory(x):
        return x.abs().amax(-1)
    from ._converter_kernels import peaks as kernel

    rows = x.view(-1, x.shape[-1])
    most = x.new_empty(len(rows))
    over_lines(kernel, borrowed(rows), most.numpy())
    return most.view(x.shape[:-1])


def drive_gradients(
    grad: Tensor, x: Tensor, r: Tensor, factor: float, *, of_range: bool
) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
    """Return the gradients of what `drive_in_one_pass` does, with rounding straight through.

    Args:
        grad: of the result.
        x: inputs.
        r: ranges, broadcastable to x.
        factor: steps at full scale.
        of_range: whether ranges need theirs.

    Returns:
        factor grad / r where |x| <= r, otherwise 0; the sum of min(factor grad sign(x) / r, 0) over
        the inputs at each range, |x| >= r; and the number of these, both shaped as r. None where
        torch's operators have to do it.
    """
    found = laid(x, r) if in_memory(grad, r) and in_memory(x) else None
    if found is None:
        return None
    shape, (ranges,) = found
    if of_range and r.numel() > 1 and (ranges.steps != (0, 1, 0) or shape[1] != r.numel()):
        return None
    from ._converter_kernels import drive_gradients as kernel
    from ._normal_kernels import CHUNK

    of_x, chunks = torch.empty_like(x), -(-x.numel() // CHUNK)
    pulls = np.zeros((chunks, r.numel() if of_range else 0), np.float32)
    counts = np.zeros(pulls.shape, np.int64)
    over_chunks(
        kernel, x.numel(), flat(grad), flat(x), shape, *ranges, np.float32(factor), flat(of_x),
        pulls, counts,
    )  # fmt: skip
    if not of_range:
        return of_x, None, None
    total = torch.from_numpy(pulls.sum(0)).reshape(r.shape)
    return of_x, total, torch.from_numpy(counts.sum(0)).reshape(r.shape)
