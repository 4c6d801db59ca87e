"""Cells under pulses: one by one, or all pulses of a mini-batch at once."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ._coincidences import Key, Trains
from ._formula import Formula, twin
from ._layout import layout, numbers
from ._philox import normal_pair, philox
from ._sub_steps import movement, sub_step
from ._threads import over_rows

SHARE = 0.05
"""Largest part of its range that a cell moves by in one sub-step of `integrate`."""


class PulsedCells(NamedTuple):
    """Float32 (out, rows) each: the state, which is moved in place, and what a cell is."""

    state: Tensor
    low: Tensor
    high: Tensor
    size_up: Tensor
    size_down: Tensor
    shape_up: Tensor
    shape_down: Tensor


def pulse(
    formula: Formula,
    cells: PulsedCells,
    constants: tuple[Any, ...],
    trains: Trains,
    noise: tuple[int, Key],
    up: Tensor,
    down: Tensor,
    landing: Formula | None = None,
) -> None:
    """Move cells pulse by pulse, sample by sample, and count the pulses.

        w <- land(w, clip(w +- (step + spread xi), low, high))

    Args:
        formula: the response: (w, up, size, shape, low, high, *constants) -> (step, spread).
        cells: moved in place.
        constants: of the response, numbers or 1-D float32 arrays.
        trains: of the samples in their order.
        noise: number of the update and key of the stream.
        up: zeros, int32 (out, rows); takes the pulses that raise each cell.
        down: zeros likewise; takes those that lower it.
        landing: where a cell comes to rest after a pulse, if not where the pulse moves it:
            (w before, w after, low, high, *constants) -> w.

    Raises:
        DataError: the cells are on a GPU, and Triton is not installed.
    """
    if cells.state.device.type != "cpu":
        _on_gpu(formula, cells, constants, trains, noise, up, down, landing)
        return
    from . import _drivers as drivers

    over_rows(
        drivers.driver("pulses", formula, landing, layout(*cells, up, down)),
        len(up),
        tuple(t.numpy() for t in cells),
        numbers(constants),
        signed_words(trains.x, trains.x_up),
        signed_words(trains.d, trains.d_up),
        (noise[0], *noise[1]),
        up.numpy(),
        down.numpy(),
    )


def signed_words(words: Tensor, raises: Tensor) -> np.ndarray:
    """Return trains (n, lines) as uint32 (lines, n), with the flag of raising ones in bit 31."""
    both = words | raises.int() << 31
    return both.T.contiguous().numpy().view(np.uint32)


def integrate(
    formula: Formula,
    cells: PulsedCells,
    constants: tuple[Any, ...],
    up: Tensor,
    down: Tensor,
    noise: tuple[int, Key],
) -> None:
    """Move cells by all pulses of a mini-batch at once, raising and lowering ones interleaved.

    A sub-step takes m pulses, of which the part that raises is that of the whole count,

        w <- clip(w + m s(w) + (m - 1) / 2 (s(w + m s(w)) - s(w)) + sqrt(sum spread^2) xi)

    with s the mean step per pulse. The middle term makes the sum of m steps right to second order
    in the change of s. Sub-steps move a cell by at most `SHARE` of its range, mean and spread apart
    (the spread by five times as much), or they are single pulses; then nothing is approximated but
    the order of raising and lowering pulses.

    Pulses in one direction that fill a cell up are off by less than 1 % of its range on the way,
    and by less than 0.02 % where they move it by less than `SHARE`. Both orders: as long as a cell
    has fewer pulses than a quarter of those that cross its range, means agree with `pulse` to 0.3 %
    of the range and standard deviations to 6 %, for samples in random order and cycle noise of
    0.3 steps. At half and nine tenths it is 1.3 % and 3.3 % of the range beside a hard bound
    (0.1 % elsewhere), and standard deviations are 4 to 13 % and 11 to 29 % off. If all pulses up
    come before all pulses down, means differ by 2.5 % of the range at a quarter, and by 8 % at half
    (beside a hard bound 7.5 % and 20 %). With cycle noise of five steps, standard deviations are 4
    to 10 % too large at any number of pulses, and more beside bounds.

    Args:
        formula: see `pulse`.
        cells: moved in place.
        constants: see `pulse`.
        up: pulses that raise each cell (out, rows), whole numbers or means.
        down: pulses that lower it.
        noise: number of the update and key of the stream.
    """
    whole = float(not up.is_floating_point())
    if cells.state.device.type == "cpu":
        from . import _drivers as drivers

        up, down = up.float(), down.float()  # exact; compiled once for whole numbers and means
        over_rows(
            drivers.driver("counts", formula, None, layout(*cells, up, down)),
            len(up),
            tuple(t.numpy() for t in cells),
            numbers(constants),
            up.numpy(),
            down.numpy(),
            np.float32(whole),
            np.float32(SHARE),
            (noise[0], *noise[1]),
        )
        return
    _integrate_tensors(twin(formula, "torch"), cells, constants, up, down, whole, noise)


def _integrate_tensors(
    response: Formula,
    cells: PulsedCells,
    constants: tuple[Any, ...],
    up: Tensor,
    down: Tensor,
    whole: float,
    noise: tuple[int, Key],
) -> None:
    """`integrate` on any device: every sub-step is taken by all cells that have pulses left."""
    next_step, moved, pair = (twin(f, "torch") for f in (sub_step, movement, normal_pair))
    which = torch.nonzero((up.abs() + down.abs()).flatten()).flatten()
    flat = (t.flatten()[which] for t in cells)
    w, low, high, size_up, size_down, shape_up, shape_down = flat
    up, down = up.flatten()[which].float(), down.flatten()[which].float()
    total, done = up.abs() + down.abs(), torch.zeros_like(up)
    row, column = which // cells.state.shape[1], which % cells.state.shape[1]
    draw = 0
    while bool((done < total).any()):

        def both(at: Tensor) -> tuple[Any, ...]:
            rises = response(at, True, size_up, shape_up, low, high, *constants)
            return *rises, *response(at, False, size_down, shape_down, low, high, *constants)

        steps = both(w)
        ups, downs, m = next_step(up, down, *steps, SHARE * (high - low), total, done, whole)
        mean = ups * steps[0] - downs * steps[2]
        ahead = both(torch.minimum(torch.maximum(w + mean, low), high))
        words = philox(column, row, draw >> 1, noise[0], *noise[1])
        xi = pair(words[0], words[1])[draw & 1].float()
        move = moved(ups, downs, m.clamp(min=1.0), *steps, ahead[0], ahead[2], xi)
        w = torch.where(m > 0, torch.minimum(torch.maximum(w + move, low), high), w)
        done, draw = done + m, draw + 1
    cells.state.view(-1)[which] = w


def _on_gpu(*given: Any) -> None:
    try:
        from . import _triton_kernels as kernels
    except ImportError as error:
        raise DataError(
            "pulses one by one need Triton on a GPU: install mho[gpu], use fidelity 'batch', or "
            "train on the CPU"
        ) from error
    kernels.pulse(*given)
