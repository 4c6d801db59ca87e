"""Cells side by side: what pulses one by one need before vector instructions can take them.

The cells of a row answer their pulses independently of each other; only the order of a cell's own
pulses counts. So the directions of every cell's next pulses are queued, a bit each, and LANES cells
take a pulse at the same time, those with most pulses first: then the cells that have one left are
always the first ones.
"""

# Intrinsics take their compiler's context by themselves, which a type checker cannot know.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import numpy as np
from numba import njit

from ._kept import kept
from ._kernels import philox
from ._vector_math import normal_pair, ones

LANES = 256
APART = LANES + 16  # rows of memory that lie a multiple of 4096 bytes apart disturb each other
STRIP = 16  # lanes are taken in multiples of it, so that nothing is left over beside vectors
WORDS = 8
AHEAD = 32 * WORDS  # pulses of a cell that are queued
LOWERS, BITS = np.uint32(1 << 31), np.uint32(0x7FFFFFFF)
U, W = np.uint32, np.uint64
NONE, ONE, FIVE, LOW, HIGH = W(0), W(1), W(5), W(31), W(32)


@kept
def busy_samples(words, busy, samples):
    """Copy the words of samples with a bit on this column; return how many there are."""
    count = 0
    for sample in range(words.size):
        if words[sample] & BITS != 0:
            busy[count], samples[count] = words[sample], sample
            count += 1
    return count


@kept
def queue_pulses(x, d, samples, count, cursor, held, queue, ready, up, down):
    """Queue up to AHEAD pulses of every cell of a part of a row, and count them.

    Args:
        x: trains of the lines (size, n), with a sign in bit 31.
        d: of the column, for the samples that have one; equal signs raise.
        samples: numbers of these samples.
        count: how many there are.
        cursor: the sample from which each cell goes on (size,).
        held: directions that did not fit a queue (size, 2), bits and how many.
        queue: takes the directions (size, WORDS), 1 for up, the first in bit 0.
        ready: takes how many there are (size,).
        up: counts of the pulses that raise each cell (size,), which are added to.
        down: of those that lower it.
    """
    for lane in range(up.size):
        at, end, word = W(cursor[lane]), W(count), NONE
        bits, fill = held[lane, 0], held[lane, 1]
        line, own = x[lane], queue[lane]
        while at < end and word < W(WORDS):
            a, b = line[samples[at]], d[at]
            number = W(U(ones(np.int32(a & b & BITS))))
            run = (ONE << number) - ONE if (a ^ b) < LOWERS else NONE
            bits |= run << fill
            fill += number
            own[word] = U(bits)
            bits >>= fill & HIGH
            word += fill >> FIVE
            fill &= LOW
            at += ONE
        total = word * HIGH
        if word < W(WORDS):
            own[word] = U(bits)
            total += fill
            bits, fill = NONE, NONE
        cursor[lane], ready[lane] = at, total
        held[lane, 0], held[lane, 1] = bits, fill
        raised = 0
        for k in range((ready[lane] + 31) >> 5):
            raised += ones(np.int32(own[k]))
        up[lane] += raised
        down[lane] += ready[lane] - raised


@kept
def rank(ready, size, place, at_least):
    """Sort lanes into `place`, the most pulses first; return how many pulses that is.

    Lanes with at least c pulses are the first `at_least[c]`, c to AHEAD + 1.
    """
    at_least[:] = 0
    for lane in range(size):
        at_least[ready[lane]] += 1
    most, before = 0, 0
    for c in range(AHEAD, -1, -1):
        here = at_least[c]
        most = c if before == 0 and here > 0 else most
        at_least[c] = before
        before += here
    for lane in range(size):
        c = ready[lane]
        place[at_least[c]] = lane
        at_least[c] += 1
    return most


@kept
def fill_lanes(random, xi, line, lanes, row, group, step, key0, key1):
    """Fill xi (4, lanes) with the normal numbers of a counter for each line.

    A counter's words are those of pulses 4 group to 4 group + 3 of a cell.
    """
    strips = (lanes + STRIP - 1) // STRIP
    for lane in range(strips * STRIP):
        r0, r1, r2, r3 = philox(line[lane], row, group, step, key0, key1)
        random[0, lane] = r0
        random[1, lane] = r1
        random[2, lane] = r2
        random[3, lane] = r3
    for half in range(0, 4, 2):
        radius, angle, first, second = random[half], random[half + 1], xi[half], xi[half + 1]
        for lane in range(strips * STRIP):
            first[lane], second[lane] = normal_pair(radius[lane], angle[lane])


@njit(error_model="numpy")
def take_cells(cells, i, first, place, pulsed, ready, queue, line, left, directions, taken):
    """Copy the cells with pulses in their order, and repeat the last one to the end of a strip."""
    state, low, high, size_up, size_down, shape_up, shape_down = cells
    for lane in range((pulsed + STRIP - 1) // STRIP * STRIP):
        own = place[min(lane, pulsed - 1)]
        j = first + own
        line[lane] = j
        left[lane] = ready[own] if lane < pulsed else 0
        for k in range((ready[own] + 31) >> 5):
            directions[k, lane] = queue[own, k]
        taken[0, lane] = state[i, j]
        taken[1, lane] = low[i, j]
        taken[2, lane] = high[i, j]
        taken[3, lane] = size_up[i, j]
        taken[4, lane] = size_down[i, j]
        taken[5, lane] = shape_up[i, j]
        taken[6, lane] = shape_down[i, j]
