"""All pulses of a mini-batch, one by one in random order, where cells remember their order."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._coincidences import Key
from ._formula import Formula, twin
from ._layout import layout, numbers
from ._philox import normal_pair, philox
from ._pulsed import PulsedCells
from ._threads import over_rows


def integrate_shuffled(
    formula: Formula,
    landing: Formula,
    cells: PulsedCells,
    constants: tuple[Any, ...],
    up: Tensor,
    down: Tensor,
    noise: tuple[int, Key],
) -> None:
    """Move cells by all pulses of a mini-batch, each pulse by itself.

    The next pulse raises with the share of raising pulses among those that are left, so that every
    order is equally likely, as in samples of random order. Means are rounded to whole numbers at
    random, by which they stay the same on average; those below 0 are pulses the other way.

    Args:
        formula: see `pulse`.
        landing: see `pulse`.
        cells: moved in place.
        constants: see `pulse`.
        up: pulses that raise each cell (out, rows), whole numbers or means.
        down: pulses that lower it.
        noise: number of the update and key of the stream.
    """
    whole = not up.is_floating_point()
    if cells.state.device.type == "cpu":
        from . import _drivers as drivers

        up, down = up.float(), down.float()  # exact
        over_rows(
            drivers.driver("shuffled_counts", formula, landing, layout(*cells, up, down)),
            len(up),
            tuple(t.numpy() for t in cells),
            numbers(constants),
            up.numpy(),
            down.numpy(),
            np.float32(whole),
            (noise[0], *noise[1]),
        )
        return
    _on_tensors(formula, landing, cells, constants, up, down, whole, noise)


def _on_tensors(
    formula: Formula,
    landing: Formula,
    cells: PulsedCells,
    constants: tuple[Any, ...],
    up: Tensor,
    down: Tensor,
    whole: bool,
    noise: tuple[int, Key],
) -> None:
    """`integrate_shuffled` on any device: each pulse is taken by all cells that have one left."""
    response, land, pair = (twin(f, "torch") for f in (formula, landing, normal_pair))
    which = torch.nonzero(((up != 0) | (down != 0)).flatten()).flatten()
    w, low, high, size_up, size_down, shape_up, shape_down = (t.flatten()[which] for t in cells)
    row, column = which // cells.state.shape[1], which % cells.state.shape[1]

    def words(count: int) -> tuple[Tensor, ...]:
        return philox(column, row, torch.full_like(row, count), noise[0], *noise[1])

    ups, downs = up.flatten()[which].double(), down.flatten()[which].double()
    if not whole:
        ups, downs = (
            (means + (words(k)[3] >> 8) * 2.0**-24).floor() for k, means in enumerate((ups, downs))
        )
    raising = (ups.clamp(min=0.0) + (-downs).clamp(min=0.0)).long()
    left = raising + (downs.clamp(min=0.0) + (-ups).clamp(min=0.0)).long()
    count = 0
    while bool((left > 0).any()):
        r0, r1, r2, _ = words(count)
        rises = (r2 >> 8) * left < raising << 24
        size, shape = (
            torch.where(rises, a, b) for a, b in ((size_up, size_down), (shape_up, shape_down))
        )
        step, spread = response(w, rises, size, shape, low, high, *constants)
        move = step + spread * pair(r0, r1)[0].float()
        moved = torch.minimum(torch.maximum(torch.where(rises, w + move, w - move), low), high)
        w = torch.where(left > 0, land(w, moved, low, high, *constants), w)
        raising, left, count = raising - (rises & (left > 0)).long(), left - 1, count + 1
    cells.state.view(-1)[which] = w
