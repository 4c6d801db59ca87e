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
from ._kernels import add_coincidences, fill_four, fill_two, late_normal, philox
from ._sub_steps import movement as _movement
from ._sub_steps import sub_step as _sub_step
from ._vector_math import normal_pair, ones

smaller, larger = (word_of("numba", name) for name in ("minimum", "maximum"))
sub_step, movement = twin(_sub_step, "numba"), twin(_movement, "numba")
TINY, BIT = np.float32(1e-30), np.float64(2**-24)
READY = 128  # pulses of a cell whose random numbers are drawn ahead
response: Any = None
landing: Any = None
land: Any = None
advance: Any = None


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


def pulses(start, stop, cells, constants, trains, noise, up, down):
    """Drive cells pulse by pulse, in the order of samples.

    A cell's random numbers depend on its place, the step and how many pulses it has had in it.
    Those of the first pulses are drawn for a whole row, in vector instructions.
    """
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
                number = ones(by_line[j, sample] & d_words[sample, i])
                if number == 0:
                    continue
                rises = line_up[j, sample] == d_up[sample, i]
                size = size_up[i, j] if rises else size_down[i, j]
                shape = shape_up[i, j] if rises else shape_down[i, j]
                for _ in range(number):
                    if count < READY:
                        xi = ready[count, j]
                    else:
                        xi = late_normal(j, i, count, step, key0, key1)
                    move, spread = response(
                        w, rises, size, shape, low[i, j], high[i, j], *constants
                    )
                    move += spread * xi
                    moved = w + move if rises else w - move
                    moved = min(max(moved, low[i, j]), high[i, j])
                    w = land(w, moved, low[i, j], high[i, j], constants)
                    count += 1
            state[i, j] = w


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
