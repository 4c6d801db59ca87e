"""Numba kernels that pass once over weights in training: their noise, and their spread.

See `_converter_kernels` for chunks, shapes and steps.
"""

from functools import partial

import numpy as np

from ._converter_kernels import add, lay, peaks, scale
from ._kept import kept
from ._normal_kernels import BLOCK, CHUNK, STATE, WORDS, fill_block, seed_lanes

F = np.float32


@kept
def add_noise(start, stop, x, shape, spread, steps, keys, y):
    """Fill y with x + spread noise."""
    state, words = np.empty(STATE, np.uint32), np.empty(WORDS, np.uint32)
    noise, parameter = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for chunk in range(start, stop):
        seed_lanes(state, chunk, keys[0], keys[1])
        for at in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size), BLOCK):
            block = y[at : at + BLOCK]
            drawn, p = noise[: block.size], parameter[: block.size]
            fill_block(state, words, noise)
            lay(spread, steps, shape, at, p)
            scale(drawn, p)
            block[:] = x[at : at + BLOCK]
            add(block, drawn)


@partial(kept, fastmath={"reassoc"})
def moments(values, limit):
    """Return the sums of clip(values, -limit, limit) and of its squares."""
    total, squares = F(0), F(0)
    for k in range(values.size):
        v = values[k]
        v = limit if v > limit else v
        v = -limit if v < -limit else v
        total += v
        squares += v * v
    return total, squares


@kept
def deviation(values, limit):
    """Return the standard deviation of the sample clip(values, -limit, limit).

    Where values differ by rounding errors only, the difference of their moments means nothing.
    """
    total, squares, n = 0.0, 0.0, values.size
    for at in range(0, n, BLOCK):  # sums of many numbers have few digits in single precision
        some, more = moments(values[at : at + BLOCK], limit)
        total, squares = total + some, squares + more
    variance = squares - total * total / n
    return np.sqrt(variance / (n - 1)) if variance > 1e-5 * squares else 0.0


@kept
def settle(start, stop, rows, sigma, ratio, least, once, bound, new, rounds):
    """Go on with the iteration of `settled_limits` until each row (n, k) has settled.

    Each goes `least` rounds in all at least; `rounds` (n,) counts them, 0 before the first. The
    others (n,) are sigma std(row), the bound, and what it would be after one more round.
    """
    if least == 0:
        peaks(start, stop, rows, bound)
    for i in range(start, stop):
        row, limit = rows[i], bound[i]
        if least == 0:
            once[i] = sigma * deviation(row, F(np.inf))
            limit = min(once[i], limit)
            new[i] = min(F(sigma * deviation(row, limit)), limit)
            rounds[i] = 1
        while rounds[i] < least or (new[i] < limit * ratio and new[i] > once[i] / F(2)):
            limit = new[i]
            new[i] = min(F(sigma * deviation(row, limit)), limit)
            rounds[i] += 1
        bound[i] = limit
