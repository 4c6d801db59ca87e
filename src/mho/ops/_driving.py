"""Inputs relative to their ranges, and the way back, in one pass over memory each."""

import numpy as np
import torch
from torch import Tensor

from ._one_pass import flat, in_memory, laid
from ._threads import over_rows


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
    from ._normal_kernels import CHUNK

    shape, (ranges,) = found
    v = torch.empty_like(x)
    full, chunks = np.float32(steps or 1), -(-x.numel() // CHUNK)
    over_rows(driven, chunks, flat(x), shape, *ranges, full, steps is not None, flat(v))
    return v


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
    over_rows(
        kernel, chunks, flat(grad), flat(x), shape, *ranges, np.float32(factor), flat(of_x), pulls,
        counts,
    )  # fmt: skip
    if not of_range:
        return of_x, None, None
    total = torch.from_numpy(pulls.sum(0)).reshape(r.shape)
    return of_x, total, torch.from_numpy(counts.sum(0)).reshape(r.shape)
