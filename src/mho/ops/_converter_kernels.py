"""Numba kernels that pass once over a converter's signals, where torch's operators pass often.

A kernel does the chunks `start` to `stop`. Signals are contiguous and flat; `shape` sees them as
(a, m, l). A parameter of theirs is flat too, with its steps along these axes, of which the last is
0 or 1. One of no size is left out. Loops are short and over slices: compilers make vector
instructions of those, and what lies between two loops stays in the memory closest to the core.
"""

from functools import partial

import numpy as np

from ._kept import kept
from ._normal_kernels import BLOCK, CHUNK, STATE, WORDS, fill_block, seed_lanes

F = np.float32
ZERO, ONE = F(0), F(1)
TINY = np.finfo(F).tiny
MAGNITUDE = np.int32(0x7FFFFFFF)  # the bits of a number without its sign


@kept
def lay(values, steps, shape, at, out):
    """Lay the parameters of the signals from `at` on side by side."""
    first, middle, length = 0, shape[1], shape[2]
    while first < out.size:
        line, j = divmod(at + first, length)
        a, m = divmod(line, middle)
        count = min(length - j, out.size - first)
        p = a * steps[0] + m * steps[1] + j * steps[2]
        if steps[2]:
            out[first : first + count] = values[p : p + count]
        else:
            out[first : first + count] = values[p]
        first += count


@kept
def repeats(steps, shape):
    """Whether the parameters of every block of signals are the same."""
    return steps[0] == 0 and steps[1] == 0 and BLOCK % shape[2] == 0


@kept
def scale(values, factors):
    """Multiply in place."""
    for k in range(values.size):
        values[k] *= factors[k]


@kept
def multiply(values, factors, out):
    """Fill out with products."""
    for k in range(out.size):
        out[k] = values[k] * factors[k]


@kept
def add(values, terms):
    """Add in place."""
    for k in range(values.size):
        values[k] += terms[k]


@kept
def clip(values, limit):
    """Limit the values; what is not a number stays."""
    for k in range(values.size):
        v = values[k]
        v = limit if v > limit else v
        values[k] = -limit if v < -limit else v


@kept
def within(values, limit, inside):
    """Tell which values are within the limit."""
    for k in range(inside.size):
        inside[k] = abs(values[k]) <= limit


@kept
def rounded(values):
    """Round to whole numbers, halves to even ones."""
    for k in range(values.size):
        values[k] = np.rint(values[k])


@kept
def convert(
    start, stop, x, shape, gain, gain_steps, spread, spread_steps, offset, offset_steps,
    after, after_steps, limit, rounds, keys, y, inside,
):  # fmt: skip
    """Fill y with after round(clip(gain x + spread noise + offset)), and inside: what fits."""
    state, words = np.empty(STATE, np.uint32), np.empty(WORDS, np.uint32)
    noise = np.empty(BLOCK, np.float32)
    values, parameter = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    gains, afters = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    same_gains, same_afters = repeats(gain_steps, shape), repeats(after_steps, shape)
    if same_gains:
        lay(gain, gain_steps, shape, 0, gains)
    if same_afters:
        lay(after, after_steps, shape, 0, afters)
    for chunk in range(start, stop):
        if spread.size:
            seed_lanes(state, chunk, keys[0], keys[1])
        for at in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size), BLOCK):
            signals = x[at : at + BLOCK]
            v, p = values[: signals.size], parameter[: signals.size]
            if not same_gains:
                lay(gain, gain_steps, shape, at, gains[: signals.size])
            multiply(signals, gains, v)
            if spread.size:
                fill_block(state, words, noise)
                lay(spread, spread_steps, shape, at, p)
                scale(noise, p)
                add(v, noise)
            if offset.size:
                lay(offset, offset_steps, shape, at, p)
                add(v, p)
            if inside.size:
                within(v, limit, inside[at : at + BLOCK])
            clip(v, limit)
            if rounds:
                rounded(v)
            if not same_afters:
                lay(after, after_steps, shape, at, afters[: signals.size])
            multiply(v, afters, y[at : at + BLOCK])


@kept
def masked(start, stop, grad, shape, slope, steps, inside, out):
    """Fill out with slope grad where inside, otherwise with 0."""
    parameter = np.empty(BLOCK, np.float32)
    for chunk in range(start, stop):
        for at in range(chunk * CHUNK, min((chunk + 1) * CHUNK, grad.size), BLOCK):
            block = out[at : at + BLOCK]
            p = parameter[: block.size]
            lay(slope, steps, shape, at, p)
            multiply(grad[at : at + BLOCK], p, block)
            blank(block, inside[at : at + BLOCK])


@kept
def blank(values, kept):
    """Set what is not kept to 0."""
    for k in range(values.size):
        values[k] = values[k] if kept[k] else ZERO


# ---- inputs, relative to their ranges ------------------------------------------------------------


@kept
def driven(start, stop, x, shape, r, steps, full, rounds, v):
    """Fill v with round(full clip(x / r, -1, 1))."""
    parameter = np.empty(BLOCK, np.float32)
    for chunk in range(start, stop):
        for at in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size), BLOCK):
            block = v[at : at + BLOCK]
            p = parameter[: block.size]
            lay(r, steps, shape, at, p)
            divide(x[at : at + BLOCK], p, block)
            clip(block, ONE)
            if full != ONE:
                p[:] = full
                scale(block, p)
            if rounds:
                rounded(block)


@kept
def divide(values, divisors, out):
    """Fill out with quotients."""
    for k in range(out.size):
        out[k] = values[k] / divisors[k]


@kept
def peaks(start, stop, rows, largest):
    """Fill largest (n,) with max |row|; what is not a number is larger than any number."""
    bits, most = rows.view(np.int32), largest.view(np.int32)
    for n in range(start, stop):
        peak = np.int32(0)
        for k in range(bits.shape[1]):
            peak = max(peak, bits[n, k] & MAGNITUDE)
        most[n] = peak


@kept
def relative(start, stop, v, full, largest):
    """Fill largest (n,) with the peaks of rows v, and make them round(full row / largest)."""
    peaks(start, stop, v, largest)
    for n in range(start, stop):
        r = max(largest[n], TINY)
        largest[n] = r
        for k in range(v.shape[1]):
            v[n, k] = np.rint(v[n, k] / r * full)


@kept
def driven_by_largest(start, stop, vectors, full, v, largest):
    """Do what `relative` does to a copy v of vectors."""
    v[start:stop] = vectors[start:stop]
    relative(start, stop, v, full, largest)


@kept
def through_limit(grad, x, r, factor, out):
    """Fill out with the gradient of an input: it stays exactly at the range, and ends beyond."""
    for k in range(out.size):
        g = grad[k] * (factor / r[k])
        out[k] = ZERO if abs(x[k]) > r[k] else g


@partial(kept, fastmath={"reassoc"})
def pull(grad, x, r, factor):
    """Return the sum of what inputs at the range ask for: only ever a larger range."""
    total = ZERO
    for k in range(grad.size):
        g = grad[k] * (factor / r)
        g = -g if x[k] < ZERO else g
        total += ZERO if abs(x[k]) < r or g >= ZERO else g  # what is not a number stays
    return total


@kept
def reached(x, r):
    """Return how many inputs are at the range."""
    count = np.int32(0)
    for k in range(x.size):
        count += np.int32(abs(x[k]) >= r)
    return count


@kept
def drive_gradients(start, stop, grad, x, shape, r, steps, factor, of_x, pulls, counts):
    """Fill of_x, and for each chunk and range (chunks, m) the gradient of r and what is at r."""
    parameter = np.empty(BLOCK, np.float32)
    middle, length = shape[1], shape[2]
    for chunk in range(start, stop):
        for at in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size), BLOCK):
            end = min(at + BLOCK, x.size)
            p = parameter[: end - at]
            lay(r, steps, shape, at, p)
            through_limit(grad[at:end], x[at:end], p, factor, of_x[at:end])
            if not pulls.size:
                continue
            first = at
            while first < end:
                line, j = divmod(first, length)
                last = min(first + length - j, end)
                m = line % middle
                range_ = p[first - at]
                pulls[chunk, m] += pull(grad[first:last], x[first:last], range_, factor)
                counts[chunk, m] += reached(x[first:last], range_)
                first = last
