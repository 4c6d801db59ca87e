"""Numba kernels of pulsed updates, compiled on first use and kept in numba's cache.

A kernel does the rows `start` to `stop` of what it writes. `over_rows` gives each of torch's
threads its share; every random number comes from a counter, so the result does not depend on how
many there are.
"""

# Intrinsics take their compiler's context by themselves, which a type checker cannot know.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
import torch
from numba import njit

from ._formula import twin, word_of
from ._philox import philox as _philox
from ._philox import philox_round as _philox_round
from ._sub_steps import movement as _movement
from ._sub_steps import sub_step as _sub_step
from ._vector_math import normal_pair, ones

philox_round = njit(_philox_round)
# The rounds refer to this module's compiled text; `inline` lets the compiler use vectors.
philox = njit(
    FunctionType(_philox.__code__, {"philox_round": philox_round}, "philox"), inline="always"
)
smaller, larger = (word_of("numba", name) for name in ("minimum", "maximum"))
TINY, CERTAIN = np.float32(1e-30), np.float32(1 << 24)
READY = 128  # pulses of a cell whose random numbers are drawn ahead
sub_step, movement = twin(_sub_step, "numba"), twin(_movement, "numba")


def over_rows(kernel: Callable[..., None], rows: int, *values: Any) -> None:
    """Run a kernel on all rows, shared between as many threads as torch uses."""
    threads = min(torch.get_num_threads(), rows)
    if threads <= 1:
        kernel(0, rows, *values)
        return
    edges = [rows * k // threads for k in range(threads + 1)]
    parts = [
        _threads(threads).submit(kernel, start, stop, *values)
        for start, stop in itertools.pairwise(edges)
    ]
    for part in parts:
        part.result()


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="mho")


os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


# What follows is compiled once for all responses, which then compile in half the time.


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def fill_two(values, row, group, step, key0, key1):
    """Fill values (2, lines) with the first two of them."""
    for j in range(values.shape[1]):
        r0, r1, _, _ = philox(j, row, group, step, key0, key1)
        a, b = normal_pair(r0, r1)
        values[0, j] = a
        values[1, j] = b


@njit(nogil=True, cache=True)
def late_normal(line, row, count, step, key0, key1):
    """Return number `count` of a line of which each counter gives four."""
    r0, r1, r2, r3 = philox(line, row, count >> 2, step, key0, key1)
    first, second = normal_pair(r0, r1) if count & 2 == 0 else normal_pair(r2, r3)
    return first if count & 1 == 0 else second


@cache
def pulse_driver(formula):
    """Return the kernel that drives cells of one response pulse by pulse, in the order of samples.

    A cell's random numbers depend on its place, the step and how many pulses it has had in it.
    Those of the first pulses are drawn for a whole row, in vector instructions.
    """
    response = twin(formula, "numba")

    @njit(nogil=True, error_model="numpy")
    def drive(start, stop, cells, constants, trains, noise, up, down):
        state, low, high, size_up, size_down, shape_up, shape_down = cells
        x_words, x_up, d_words, d_up = trains  # (n, rows), (n, rows), (n, out), (n, out)
        step, key0, key1 = noise
        n, rows = x_words.shape
        by_line, line_up = x_words.T.copy(), x_up.T.copy()
        ready = np.empty((READY, rows), np.float32)
        add_coincidences(start, stop, x_words, x_up, d_words, d_up, up, down)
        for i in range(start, stop):
            most = 0
            for j in range(rows):
                most = max(most, up[i, j] + down[i, j])
            for group in range((min(most, READY) + 3) >> 2):
                fill_four(ready[4 * group : 4 * group + 4], i, group, step, key0, key1)
            for j in range(rows):
                w, count = state[i, j], 0
                for sample in range(n):
                    pulses = ones(by_line[j, sample] & d_words[sample, i])
                    if pulses == 0:
                        continue
                    rises = line_up[j, sample] == d_up[sample, i]
                    size = size_up[i, j] if rises else size_down[i, j]
                    shape = shape_up[i, j] if rises else shape_down[i, j]
                    for _ in range(pulses):
                        if count < READY:
                            xi = ready[count, j]
                        else:
                            xi = late_normal(j, i, count, step, key0, key1)
                        move, spread = response(
                            w, rises, size, shape, low[i, j], high[i, j], *constants
                        )
                        move += spread * xi
                        w = w + move if rises else w - move
                        w = min(max(w, low[i, j]), high[i, j])
                        count += 1
                state[i, j] = w

    return drive


@cache
def batch_driver(formula):
    """Return the kernel that moves cells of one response by all pulses of a mini-batch.

    Sub-steps are taken by whole rows, in vector instructions, as long as most of a row needs them.
    """
    response = twin(formula, "numba")

    @njit(inline="always", error_model="numpy")
    def advance(cells, constants, i, j, counts, done, xi, whole, limit):
        state, low, high, size_up, size_down, shape_up, shape_down = cells
        up, down = np.float32(counts[0][i, j]), np.float32(counts[1][i, j])
        total = abs(up) + abs(down)
        w, least, most = state[i, j], low[i, j], high[i, j]
        up_size, up_shape = size_up[i, j], shape_up[i, j]
        down_size, down_shape = size_down[i, j], shape_down[i, j]
        up_step, up_spread = response(w, True, up_size, up_shape, least, most, *constants)
        down_step, down_spread = response(w, False, down_size, down_shape, least, most, *constants)
        ups, downs, m = sub_step(
            up, down, up_step, up_spread, down_step, down_spread,
            limit * (most - least), total, done, whole,
        )  # fmt: skip
        ahead = smaller(larger(w + ups * up_step - downs * down_step, least), most)
        up_ahead, _ = response(ahead, True, up_size, up_shape, least, most, *constants)
        down_ahead, _ = response(ahead, False, down_size, down_shape, least, most, *constants)
        moved = w + movement(
            ups, downs, larger(m, TINY), up_step, up_spread, down_step, down_spread,
            up_ahead, down_ahead, xi,
        )  # fmt: skip
        moved = smaller(larger(moved, least), most)
        return moved if m > 0 else w, done + m, total

    @njit(nogil=True, error_model="numpy")
    def drive(start, stop, cells, constants, up, down, whole, limit, noise):
        state, (step, key0, key1) = cells[0], noise
        lines = state.shape[1]
        pair, done = np.empty((2, lines), np.float32), np.empty(lines, np.float32)
        counts = (up, down)
        for i in range(start, stop):
            draw, left = 0, 0
            for j in range(lines):
                done[j] = 0
                left += (up[i, j] != 0) | (down[i, j] != 0)
            while 8 * left > lines:
                if draw & 1 == 0:
                    fill_two(pair, i, draw >> 1, step, key0, key1)
                xi = pair[draw & 1]
                left = 0
                for j in range(lines):
                    state[i, j], done[j], total = advance(
                        cells, constants, i, j, counts, done[j], xi[j], whole, limit
                    )
                    left += done[j] < total
                draw += 1
            for j in range(lines):
                total, own = np.float32(abs(up[i, j]) + abs(down[i, j])), draw
                while done[j] < total:
                    xi_late = late_normal(j, i, 2 * own - (own & 1), step, key0, key1)
                    state[i, j], done[j], _ = advance(
                        cells, constants, i, j, counts, done[j], xi_late, whole, limit
                    )
                    own += 1

    return drive
