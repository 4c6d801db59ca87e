"""Kernels that drive pulsed cells, each compiled for one response.

Their text calls `response`, a formula, and `land`, which says where a cell comes to rest after a
move; both are given when a driver is compiled. See `_pulsed` for what they compute.
"""

# The names that are given later are not known to a type checker, and loops fill what they return.
# pyright: reportCallIssue=false, reportOptionalCall=false

from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit

from ._formula import Formula, twin, word_of
from ._kept import digest, specialized
from ._kernels import fill_two, late_normal, philox
from ._pulse_lanes import (
    AHEAD,
    APART,
    LANES,
    STRIP,
    WORDS,
    busy_samples,
    fill_lanes,
    queue_pulses,
    rank,
    take_cells,
)
from ._sub_steps import movement as _movement
from ._sub_steps import sub_step as _sub_step
from ._vector_math import normal_pair

smaller, larger = (word_of("numba", name) for name in ("minimum", "maximum"))
sub_step, movement = twin(_sub_step, "numba"), twin(_movement, "numba")
TINY, BIT = np.float32(1e-30), np.float64(2**-24)
response: Any = None
landing: Any = None
land: Any = None
advance: Any = None
move: Any = None


@cache
def driver(which: str, formula: Formula, landing: Formula | None = None, layout: str = "") -> Any:
    """Return a compiled driver of one response.

    Args:
        which: `pulses`, `counts` or `shuffled_counts`.
        formula: the response.
        landing: where cells come to rest, if not where the response moves them.
        layout: of the arrays, so that a file on disk is for one kind of arguments.
    """
    names: dict[str, Any] = {"response": twin(formula, "numba")}
    if landing is None:
        names["land"], formulas = _stay, (formula,)
    else:
        names["land"] = _inlined(_land, {"landing": twin(landing, "numba")})
        formulas = formula, landing
    if which == "counts":
        names["advance"] = _inlined(_advance, names)
    if which == "pulses":
        names["move"] = _inlined(_move, names)
    stem = "_".join((which, formula.__module__.replace(".", "_"), formula.__name__, layout))
    return specialized(_TEXTS[which], digest(*formulas), stem, names, error_model="numpy")


def _inlined(function: Any, names: dict[str, Any]) -> Any:
    same = FunctionType(function.__code__, {**globals(), **names}, function.__name__)
    return njit(same, inline="always", error_model="numpy")


@njit(inline="always")
def _stay(before, after, low, high, constants):
    return after


def _land(before, after, low, high, constants):
    return landing(before, after, low, high, *constants)


def pulses(start, stop, cells, constants, x, d, noise, up, down):
    """Drive cells pulse by pulse, in the order of samples, those of a row side by side.

    A cell's random numbers depend on its place, the step and how many pulses it has had in it.
    """
    rows, n = x.shape
    words, samples = np.empty(n, np.uint32), np.empty(n, np.uint32)
    cursor, held = np.empty(LANES, np.int64), np.empty((LANES, 2), np.uint64)
    queue, ready = np.empty((LANES, WORDS), np.uint32), np.empty(LANES, np.int32)
    place, at_least = np.empty(LANES, np.int32), np.empty(AHEAD + 2, np.int64)
    line, left = np.empty(LANES, np.uint32), np.empty(LANES, np.int32)
    directions, random = np.empty((WORDS, APART), np.uint32), np.empty((4, APART), np.uint32)
    taken, xi = np.empty((7, APART), np.float32), np.empty((4, APART), np.float32)
    step, key0, key1 = noise
    for i in range(start, stop):
        count = busy_samples(d[i], words, samples)
        for first in range(0, rows, LANES):
            last = min(first + LANES, rows)
            cursor[:], held[:, :] = 0, 0
            done, most = 0, AHEAD
            while most == AHEAD:
                queue_pulses(
                    x[first:last], words, samples, count, cursor, held, queue, ready,
                    up[i, first:last], down[i, first:last],
                )  # fmt: skip
                most = rank(ready, last - first, place, at_least)
                pulsed = at_least[1]
                take_cells(
                    cells, i, first, place, pulsed, ready, queue, line, left, directions, taken
                )
                for k in range(most):
                    if k & 3 == 0:
                        group = (done + k) >> 2
                        fill_lanes(random, xi, line, at_least[k + 1], i, group, step, key0, key1)
                    lanes = (at_least[k + 1] + STRIP - 1) // STRIP
                    move(taken, left, directions[k >> 5], xi[k & 3], lanes, k, constants)
                for lane in range(pulsed):
                    cells[0][i, line[lane]] = taken[0, lane]
                done += AHEAD


def _move(taken, left, directions, xi, strips, k, constants):
    """Move cells by their pulse `k`, where they have one left."""
    state, least, most, size_up, size_down, shape_up, shape_down = taken
    bit = np.uint32(k & 31)
    for lane in range(strips * STRIP):
        w, low, high = state[lane], least[lane], most[lane]
        s_up, s_down, k_up, k_down = (
            size_up[lane],
            size_down[lane],
            shape_up[lane],
            shape_down[lane],
        )
        rises = (directions[lane] >> bit) & np.uint32(1) != 0
        size, shape = s_up if rises else s_down, k_up if rises else k_down
        step, spread = response(w, rises, size, shape, low, high, *constants)
        step += spread * xi[lane]
        moved = smaller(larger(w + step if rises else w - step, low), high)
        moved = land(w, moved, low, high, constants)
        state[lane] = moved if k < left[lane] else w


def _advance(cells, constants, i, j, counts, done, xi, whole, limit):
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


def counts(start, stop, cells, constants, up, down, whole, limit, noise):
    """Move cells by all pulses of a mini-batch.

    Sub-steps are taken by whole rows, in vector instructions, as long as most of a row needs them.
    """
    state, (step, key0, key1) = cells[0], noise
    lines = state.shape[1]
    pair, done = np.empty((2, lines), np.float32), np.empty(lines, np.float32)
    both = (up, down)
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
                    cells, constants, i, j, both, done[j], xi[j], whole, limit
                )
                left += done[j] < total
            draw += 1
        for j in range(lines):
            total, own = np.float32(abs(up[i, j]) + abs(down[i, j])), draw
            while done[j] < total:
                xi_late = late_normal(j, i, 2 * own - (own & 1), step, key0, key1)
                state[i, j], done[j], _ = advance(
                    cells, constants, i, j, both, done[j], xi_late, whole, limit
                )
                own += 1


def shuffled_counts(start, stop, cells, constants, up, down, whole, noise):
    """Drive cells pulse by pulse, by their numbers, in random order; see `_shuffled`."""
    state, low, high, size_up, size_down, shape_up, shape_down = cells
    step, key0, key1 = noise
    for i in range(start, stop):
        for j in range(state.shape[1]):
            if up[i, j] == 0 and down[i, j] == 0:
                continue
            ups, downs = np.float64(up[i, j]), np.float64(down[i, j])
            if whole == 0:
                ups = np.floor(ups + BIT * (philox(j, i, 0, step, key0, key1)[3] >> 8))
                downs = np.floor(downs + BIT * (philox(j, i, 1, step, key0, key1)[3] >> 8))
            raising = np.int64(max(ups, 0.0) + max(-downs, 0.0))
            left = raising + np.int64(max(downs, 0.0) + max(-ups, 0.0))
            w, count = state[i, j], 0
            while left > 0:
                r0, r1, r2, _ = philox(j, i, count, step, key0, key1)
                rises = (r2 >> 8) * left < raising << 24
                size = size_up[i, j] if rises else size_down[i, j]
                shape = shape_up[i, j] if rises else shape_down[i, j]
                move, spread = response(w, rises, size, shape, low[i, j], high[i, j], *constants)
                move += spread * normal_pair(r0, r1)[0]
                moved = w + move if rises else w - move
                moved = min(max(moved, low[i, j]), high[i, j])
                w = land(w, moved, low[i, j], high[i, j], constants)
                raising -= rises
                left -= 1
                count += 1
            state[i, j] = w


_TEXTS = {"pulses": pulses, "counts": counts, "shuffled_counts": shuffled_counts}
