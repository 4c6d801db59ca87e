"""The Triton kernel that drives cells pulse by pulse: `pulses` of `_drivers` on a GPU.

Random numbers have the same counters as there, and states are rounded to float32 after each pulse
as well, so both move cells alike.
"""

from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ._coincidences import Key, Trains
from ._formula import Formula, twin
from ._philox import normal_pair, philox, philox_round

if TYPE_CHECKING:
    from ._pulsed import PulsedCells

BLOCK = 64
"""Cells of a program: two of each thread of one warp, so that warps without a pulse go on."""


@triton.jit
def ones(word):
    """Count the ones of a word of 31 bits, by halves (the compiler knows this text)."""
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    return (word * 0x01010101) >> 24


@triton.jit
def standard_normal(
    count, i, j, step, key0, key1, random_words: tl.constexpr, normals: tl.constexpr
):
    """Return the normal number of a cell's pulse `count`; four come from one counter."""
    r0, r1, r2, r3 = random_words(j, i, count >> 2, step, key0, key1)
    first = (count & 2) == 0
    a, b = normals(tl.where(first, r0, r2), tl.where(first, r1, r3))
    return tl.where((count & 1) == 0, a, b)


@triton.jit
def pulses(x_up, x_down, d_up, d_down, inside):
    """Count the pulses of a sample that raise and that lower each cell."""
    rising, falling = tl.load(x_up, inside, 0), tl.load(x_down, inside, 0)
    plus, minus = tl.load(d_up, inside, 0), tl.load(d_down, inside, 0)
    rises = ones(rising & plus) + ones(falling & minus)
    return rises, ones(rising & minus) + ones(falling & plus)


@triton.jit(do_not_specialize=["n", "step", "key0", "key1"])
def drive(
    cells, constants, trains, up, down, n, rows, size, step, key0, key1,
    formula: tl.constexpr, landing: tl.constexpr, random_words: tl.constexpr,
    normals: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Drive a block of `size` cells by `n` samples; all matrices are contiguous."""
    state, low, high, size_up, size_down, shape_up, shape_down = cells
    x_up, x_down, d_up, d_down = trains  # words (n, rows), (n, rows), (n, out), (n, out)
    cell = tl.program_id(0) * block + tl.arange(0, block)
    inside = cell < size
    i, j = cell // rows, cell % rows
    w = tl.load(state + cell, inside, 0.0)
    least, most = tl.load(low + cell, inside, 0.0), tl.load(high + cell, inside, 0.0)
    s_up, s_down = tl.load(size_up + cell, inside, 0.0), tl.load(size_down + cell, inside, 0.0)
    k_up, k_down = tl.load(shape_up + cell, inside, 0.0), tl.load(shape_down + cell, inside, 0.0)
    step, key0, key1 = step.to(tl.int64), key0.to(tl.int64), key1.to(tl.int64)
    row, column = i.to(tl.int64), j.to(tl.int64)
    lines = size // rows
    x_up, x_down, d_up, d_down = x_up + j, x_down + j, d_up + i, d_down + i
    count = tl.zeros((block,), tl.int64)
    raised, lowered = tl.zeros((block,), tl.int32), tl.zeros((block,), tl.int32)
    for _ in range(n):
        rises, falls = pulses(x_up, x_down, d_up, d_down, inside)
        raised, lowered = raised + rises, lowered + falls
        ups, number = rises > 0, rises + falls
        given_size, given_shape = tl.where(ups, s_up, s_down), tl.where(ups, k_up, k_down)
        for k in range(tl.max(number)):  # pyright: ignore[reportArgumentType]
            xi = standard_normal(count, row, column, step, key0, key1, random_words, normals)
            move, spread = formula(w, ups, given_size, given_shape, least, most, *constants)
            move += spread * xi
            moved = tl.minimum(tl.maximum(tl.where(ups, w + move, w - move), least), most)
            if landing is not None:
                moved = landing(w, moved, least, most, *constants)
            acts = k < number
            w, count = tl.where(acts, moved, w), count + acts
        x_up, x_down, d_up, d_down = x_up + rows, x_down + rows, d_up + lines, d_down + lines
    tl.store(state + cell, w, inside)
    tl.store(up + cell, tl.load(up + cell, inside, 0) + raised, inside)
    tl.store(down + cell, tl.load(down + cell, inside, 0) + lowered, inside)


def pulse(
    formula: Formula,
    cells: "PulsedCells",
    constants: tuple[Any, ...],
    trains: Trains,
    noise: tuple[int, Key],
    up: Tensor,
    down: Tensor,
    landing: Formula | None = None,
) -> None:
    """See `ops.pulse`; all tensors are on one CUDA device and contiguous."""
    size, rows = up.numel(), up.shape[1]
    launch: Any = drive[(triton.cdiv(size, BLOCK),)]
    launch(
        tuple(cells),
        on_device(constants, up.device),
        words_by_direction(trains),
        up,
        down,
        len(trains.x),
        rows,
        size,
        noise[0],
        *noise[1],
        *compiled(formula, landing),
        BLOCK,
        num_warps=1,
        enable_fp_fusion=False,  # rounds as the other kernels do
    )


def words_by_direction(trains: Trains) -> tuple[Tensor, ...]:
    """The bits of rows and of columns, each apart by whether they raise."""
    x_up, d_up = trains.x * trains.x_up, trains.d * trains.d_up
    return x_up, trains.x ^ x_up, d_up, trains.d ^ d_up


def on_device(constants: tuple[Any, ...], device: torch.device) -> tuple[Any, ...]:
    """Constants as the kernel gets them: numbers, or a table and the index of its last value."""
    return tuple(
        (torch.as_tensor(np.asarray(c, np.float32), device=device), len(c) - 1)
        if np.ndim(c)
        else float(c)
        for c in constants
    )


def compiled(formula: Formula, landing: Formula | None = None) -> tuple[Any, Any, Any, Any]:
    """Return response, landing, random words and normal numbers as Triton functions."""
    lands = None if landing is None else twin(landing, "triton")
    return twin(formula, "triton"), lands, _random_words(), twin(normal_pair, "triton")


@cache
def _random_words() -> Any:
    """Philox, whose rounds refer to this module's compiled text."""
    names = {
        "philox_round": twin(philox_round, "triton"),
        "tl": tl,
        "__builtins__": __builtins__,
        "__name__": philox.__module__,
    }
    assert isinstance(philox, FunctionType)
    same = FunctionType(philox.__code__, names, philox.__name__)
    same.__module__, same.__qualname__ = philox.__module__, philox.__qualname__
    return triton.jit(same)
