"""Numba kernels of pulsed updates, compiled on first use and kept on disk.

A kernel does the rows `start` to `stop` of what it writes, its share of `over_rows`. Every random
number comes from a counter, so the result does not depend on how many threads there are.
"""

# Intrinsics take their compiler's context by themselves, which a type checker cannot know.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from types import FunctionType

import numpy as np
from numba import njit

from ._formula import word_of
from ._kept import kept
from ._philox import philox as _philox
from ._philox import philox_round as _philox_round
from ._vector_math import normal_pair, ones

philox_round = njit(_philox_round)
# The rounds refer to this module's compiled text; `inline` lets the compiler use vectors.
philox = njit(
    FunctionType(_philox.__code__, {"philox_round": philox_round}, "philox"), inline="always"
)
smaller = word_of("numba", "minimum")
CERTAIN = np.float32(1 << 24)


@kept
def bernoulli_words(start, stop, values, gains, slots, first, step, key0, key1, words):
    """Fill words (n, lines), of which the first slots bits are 1 with probability |values| gains.

    A bit is whether 24 random bits are less than the chance, rounded to a multiple of 2^-24.
    """
    lines = values.shape[1]
    random = np.empty(lines + 3 & ~3, np.int32)
    chances = np.empty(lines, np.int32)
    quarter = random.shape[0] // 4
    for row in range(start, stop):
        gain = gains[row] * CERTAIN
        for j in range(lines):
            words[row, j] = 0
            chances[j] = np.int32(np.rint(smaller(abs(values[row, j]) * gain, CERTAIN)))
        for slot in range(slots[row]):
            for j in range(quarter):
                r0, r1, r2, r3 = philox(j, first + row, slot, step, key0, key1)
                random[j] = r0 >> 8
                random[quarter + j] = r1 >> 8
                random[2 * quarter + j] = r2 >> 8
                random[3 * quarter + j] = r3 >> 8
            for j in range(lines):
                words[row, j] |= np.int32(random[j] < chances[j]) << slot


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
def fill_four(values, row, group, step, key0, key1):
    """Fill values (4, lines) with the normal numbers of a counter for each line."""
    for j in range(values.shape[1]):
        r0, r1, r2, r3 = philox(j, row, group, step, key0, key1)
        a, b = normal_pair(r0, r1)
        c, d = normal_pair(r2, r3)
        values[0, j] = a
        values[1, j] = b
        values[2, j] = c
        values[3, j] = d


@kept
def fill_two(values, row, group, step, key0, key1):
    """Fill values (2, lines) with the first two of them."""
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
