"""Numba kernels of pulsed updates, compiled on first use and kept on disk.

A kernel does the rows `start` to `stop` of what it writes, its share of `over_rows`. Every random
number comes from a counter, so the result does not depend on how many threads there are.
"""

# Intrinsics take their compiler's context by themselves, which a type checker cannot know.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from types import FunctionType

import numpy as np
from numba import njit

from ._formula import twin, word_of
from ._kept import kept
from ._philox import philox as _philox
from ._philox import philox_round as _philox_round
from ._train_plan import train_plan as _train_plan
from ._vector_math import normal_pair, ones

philox_round = njit(_philox_round)
# The rounds refer to this module's compiled text; `inline` lets the compiler use vectors.
philox = njit(
    FunctionType(_philox.__code__, {"philox_round": philox_round}, "philox"), inline="always"
)
smaller = word_of("numba", "minimum")
train_plan = twin(_train_plan, "numba")
CERTAIN = np.float32(1 << 24)
COUNTERS = 256  # of a block of rows, whose numbers then lie in the memory closest to the core


@kept
def draw(line, sample, slot, step, key0, key1, words):
    """Fill words (4, counters) with 24 random bits each."""
    a, b, c, d = words[0], words[1], words[2], words[3]
    for k in range(line.size):  # of 32 bits, whose products compilers find in one instruction
        r0, r1, r2, r3 = philox(np.int64(line[k]), np.int64(sample[k]), slot, step, key0, key1)
        a[k] = r0 >> 8
        b[k] = r1 >> 8
        c[k] = r2 >> 8
        d[k] = r3 >> 8


@kept
def interleave(words, count, random):
    """Fill random with the four words of one counter after the other."""
    a, b, c, d = words[0], words[1], words[2], words[3]
    for k in range(count):
        random[4 * k] = a[k]
        random[4 * k + 1] = b[k]
        random[4 * k + 2] = c[k]
        random[4 * k + 3] = d[k]


@kept
def set_bits(random, chances, slot, words):
    """Set the bit of a slot in the words whose random number is less than their chance."""
    for j in range(words.size):
        words[j] |= np.int32(random[j] < chances[j]) << slot


@kept
def bernoulli_words(start, stop, values, gains, slots, samples, step, key0, key1, words):
    """Fill words (n, lines), of which the first slots bits are 1 with probability |values| gains.

    A bit is whether 24 random bits are less than the chance, rounded to a multiple of 2^-24. Line j
    has word j % 4 of counter j // 4. The counters of several rows are drawn side by side: those of
    a short row would not fill a vector. If most rows of a block go on, all are drawn, of which the
    others get no chance. A row's draws are known by its number among the samples.
    """
    lines = values.shape[1]
    quarter = (lines + 3) >> 2
    width, block = 4 * quarter, max(1, COUNTERS // max(quarter, 1))
    line, sample = np.empty(block * quarter, np.uint32), np.empty(block * quarter, np.uint32)
    drawn, random = np.empty((4, block * quarter), np.int32), np.empty(block * width, np.int32)
    chances, bits = np.zeros((block, width), np.int32), np.empty((block, width), np.int32)
    for low in range(start, stop, block):
        rows, most = min(block, stop - low), 0
        for row in range(rows):
            most = max(most, slots[low + row])
            gain = gains[low + row] * CERTAIN
            for j in range(lines):
                chance = np.rint(smaller(abs(values[low + row, j]) * gain, CERTAIN))
                chances[row, j] = np.int32(chance)
        bits[:] = 0
        for slot in range(most):
            longer = 0
            for row in range(rows):
                longer += slots[low + row] > slot
            together, count = 2 * longer >= rows, 0
            for row in range(rows):
                if together or slots[low + row] > slot:
                    for j in range(quarter):
                        line[count + j] = j
                        sample[count + j] = samples[low + row]
                    count += quarter
            draw(line[:count], sample[:count], slot, step, key0, key1, drawn)
            interleave(drawn, count, random)
            if together:
                for row in range(rows):
                    if slots[low + row] <= slot:
                        chances[row] = 0
                set_bits(random, chances.reshape(-1), slot, bits.reshape(-1)[: rows * width])
                continue
            count = 0
            for row in range(rows):
                if slots[low + row] > slot:
                    set_bits(random[count:], chances[row], slot, bits[row])
                    count += width
        for row in range(rows):
            for j in range(lines):
                words[low + row, j] = bits[row, j]


@kept
def plan_trains(
    start, stop, most_x, most_d, rate, granularity, slots, by_need, managed, gain_x, gain_d,
    lengths, overfull,
):  # fmt: skip
    """Fill what `train_plan` returns, (n,) each, from the largest numbers of samples."""
    for row in range(start, stop):
        gain_x[row], gain_d[row], lengths[row], overfull[row] = train_plan(
            most_x[row], most_d[row], rate, granularity, slots, by_need, managed
        )


@kept
def add_coincidences(start, stop, x_words, x_up, d_words, d_up, up, down):
    """Add the coincidences of trains (n, rows) and (n, out) to counts (out, rows)."""
    n, rows = x_words.shape
    for i in range(start, stop):
        for b in range(n):
            word = d_words[b, i]
            if word == 0:
                continue
            raises = d_up[b, i]
            for j in range(rows):
                pulses = ones(x_words[b, j] & word)
                rising = pulses if x_up[b, j] == raises else 0
                up[i, j] += rising
                down[i, j] += pulses - rising


@kept
def add_rounded_products(start, stop, x_mean, x_up, d_mean, d_up, slots, up, down):
    """Add round(slots * x_mean * d_mean) coincidences of each sample (n, lines) to the counts.

    Ties go to the even number.
    """
    n, rows = x_mean.shape
    for i in range(start, stop):
        for b in range(n):
            share = slots[b] * d_mean[b, i]
            if share == 0:
                continue
            for j in range(rows):
                count = np.int32(np.rint(share * x_mean[b, j]))
                if x_up[b, j] == d_up[b, i]:
                    up[i, j] += count
                else:
                    down[i, j] += count


@kept
def fill_normal(start, stop, values, first, draw, step, key0, key1):
    """Fill values (rows, lines) with standard normal numbers; lines are a multiple of four."""
    quarter = values.shape[1] // 4
    for i in range(start, stop):
        for j in range(quarter):
            r0, r1, r2, r3 = philox(j, first + i, draw, step, key0, key1)
            a, b = normal_pair(r0, r1)
            c, d = normal_pair(r2, r3)
            values[i, j] = a
            values[i, quarter + j] = b
            values[i, 2 * quarter + j] = c
            values[i, 3 * quarter + j] = d


# What follows is compiled once for the drivers of all responses, which then take half the time.


@kept
def fill_two(values, row, group, step, key0, key1):
    """Fill values (2, lines) with the first two normal numbers of a counter for each line."""
    for j in range(values.shape[1]):
        r0, r1, _, _ = philox(j, row, group, step, key0, key1)
        a, b = normal_pair(r0, r1)
        values[0, j] = a
        values[1, j] = b


@kept
def late_normal(line, row, count, step, key0, key1):
    """Return number `count` of a line of which each counter gives four."""
    r0, r1, r2, r3 = philox(line, row, count >> 2, step, key0, key1)
    first, second = normal_pair(r0, r1) if count & 2 == 0 else normal_pair(r2, r3)
    return first if count & 1 == 0 else second
