"""The limit of each row of numbers that is a multiple of their spread within it."""

import numpy as np
import torch
from torch import Tensor

from ._one_pass import borrowed, in_memory, over_lines

RATIO = 1 - 1e-4  # what falls by less has settled
PASSES = 20


def settled_limits(rows: Tensor, sigma: float) -> Tensor:
    """Return b (n, 1) with b = sigma std(clip(row, b)) for each row of numbers (n, k), k > 1.

    std is around the mean, of the sample; where numbers differ by rounding errors only, it is 0.
    The iteration starts at the largest |row|, falls, and ends when all rows have settled. Where it
    falls below half of sigma std(row), as for numbers that are nearly all zero or nearly all alike,
    there is no such b near it, and b = sigma std(row) is taken once; where they are exactly alike,
    there is no limit.

    Args:
        rows: in single precision.
        sigma: the multiple.
    """
    if in_memory(rows, passes=PASSES):
        return _in_one_pass(rows, sigma)
    once = sigma * _std(rows)
    bound, floor = torch.minimum(once, rows.abs().amax(1, keepdim=True)), once / 2
    while True:
        new = torch.minimum(sigma * _std(rows.clamp(-bound, bound)), bound)
        if not ((new < bound * RATIO) & (new > floor)).any():  # nor if it is not a number
            bound = torch.where(new > floor, bound, once)
            return torch.where(bound > 0, bound, torch.inf)
        bound = new


def _std(w: Tensor) -> Tensor:
    """Standard deviation of the sample in each row, (n, 1); faster than torch's of small numbers.

    Where numbers differ by rounding errors only, the difference of their moments means nothing.
    """
    n, square = w.shape[1], torch.linalg.vector_norm(w, dim=1, keepdim=True).square()
    variance = square - n * w.mean(1, keepdim=True).square()
    return torch.where(variance > 1e-5 * square, variance / (n - 1), 0.0).sqrt()


def _in_one_pass(rows: Tensor, sigma: float) -> Tensor:
    """`settled_limits` by a kernel, of which each row goes as many rounds as the slowest one."""
    from ._weight_kernels import settle

    n, values = len(rows), borrowed(rows)
    once, bound = np.empty(n, np.float32), np.empty(n, np.float32)
    new, rounds = np.empty(n, np.float32), np.zeros(n, np.int64)
    constants = np.float32(sigma), np.float32(RATIO)
    for _ in range(2):
        least = int(rounds.max())
        over_lines(settle, values, *constants, least, once, bound, new, rounds)
    bound = np.where(new > once / 2, bound, once)
    bound[bound <= 0] = np.inf
    return torch.from_numpy(bound[:, None])
