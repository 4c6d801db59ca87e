"""Pulse trains and their coincidences: how often each cell of an array is pulsed.

Every cell of a matrix (out, rows) is pulsed when a bit of its row's train meets a bit of its
column's train in the same slot. Trains are words of up to 31 slots, so that counting is an `and`
and a population count. The numbers are the same for any number of threads and on any device.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._formula import twin
from ._philox import normal_pair, philox
from ._threads import over_rows
from ._train_plan import train_plan as _train_plan

SLOTS = 31
"""Most slots of one word: 32 bits without the sign."""

Key = tuple[int, int]


class Trains(NamedTuple):
    """Words of samples on rows (n, rows) and columns (n, out), int32, and which of them raise.

    A coincidence raises the cell where the two flags are equal, and lowers it where they differ.
    """

    x: Tensor
    x_up: Tensor
    d: Tensor
    d_up: Tensor


def train_plan(
    most_x: Tensor, most_d: Tensor, rate: float, granularity: float, slots: int, *,
    by_need: bool, managed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return gains of |x| and |d|, lengths, and how far chances are above 1; see the formula.

    Args:
        most_x: float32 max|x| of samples (n,).
        most_d: max|d|.
        rate: learning rate, positive.
        granularity: of the cells.
        slots: most slots.
        by_need: whether trains are as short as samples allow.
        managed: whether both sides use the same part of their range.
    """
    values = most_x, most_d, float(rate), float(granularity), float(slots), by_need, managed
    if most_x.device.type != "cpu":
        return twin(_train_plan, "torch")(*values)
    from . import _kernels as kernels

    found = torch.empty(4, len(most_x))
    single = (np.float32(value) for value in values[2:5])
    given = (_array(most_x), _array(most_d), *single, by_need, managed, *found.numpy())
    over_rows(kernels.plan_trains, len(most_x), *given, grain=4096)
    return found[0], found[1], found[2], found[3]


def bernoulli_words(
    values: Tensor, gains: Tensor, slots: Tensor, first: int, step: int, key: Key
) -> Tensor:
    """Return int32 words (n, lines) whose first bits are 1 with probability |values| gains.

    A bit is whether 24 random bits are less than the chance, rounded to a multiple of 2^-24.

    Args:
        values: float32 (n, lines).
        gains: float32 (n,); probabilities above 1 are 1.
        slots: int32 (n,), how many bits there are, at most `SLOTS`.
        first: number of the first sample, by which draws are known.
        step: number of the update.
        key: of the stream.
    """
    if values.device.type != "cpu":
        return _bernoulli_words(values, gains, slots, first, step, key)
    from . import _kernels as kernels

    words = torch.empty(values.shape, dtype=torch.int32)
    samples = np.arange(first, first + len(words)).astype(np.uint32)
    given = (*map(_array, (values, gains, slots)), samples, step, *key, words.numpy())
    over_rows(kernels.bernoulli_words, len(words), *given)
    return words


def _bernoulli_words(
    values: Tensor, gains: Tensor, slots: Tensor, first: int, step: int, key: Key
) -> Tensor:
    n, lines = values.shape
    certain = float(1 << 24)
    chances = (values.abs() * (gains * certain)[:, None]).clamp(max=certain).round().long()
    line = torch.arange(-(-lines // 4), device=values.device)
    sample = first + torch.arange(n, device=values.device)[:, None]
    words = torch.zeros_like(chances)
    for slot in range(int(slots.max()) if n else 0):
        random = torch.stack(philox(line, sample, slot, step, *key), -1).flatten(1)[:, :lines]
        bit = (random >> 8 < chances) & (slot < slots[:, None])
        words |= bit.long() << slot
    return words.int()


def add_coincidences(trains: Trains, up: Tensor, down: Tensor) -> None:
    """Add the coincidences of trains to int32 counts (out, rows), in place."""
    if up.device.type != "cpu":
        _add_coincidences(trains, up, down)
        return
    from . import _kernels as kernels

    given = (*map(_array, trains), up.numpy(), down.numpy())
    over_rows(kernels.add_coincidences, len(up), *given)


def _add_coincidences(trains: Trains, up: Tensor, down: Tensor) -> None:
    slot = torch.arange(SLOTS, device=up.device)

    def bits(words: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
        spread = ((words[:, None] >> slot[:, None]) & 1).float()  # (n, slots, lines)
        return spread.flatten(0, 1), (spread * sign[:, None]).flatten(0, 1)

    (x, x_signed), (d, d_signed) = (
        bits(words, 2.0 * up_flag - 1) for words, up_flag in (trains[:2], trains[2:])
    )
    total, net = d.T @ x, d_signed.T @ x_signed  # exact: sums of 0, 1 and -1 in float32
    up += ((total + net) / 2).int()
    down += ((total - net) / 2).int()


def add_rounded_products(means: Trains, slots: Tensor, up: Tensor, down: Tensor) -> None:
    """Add round(slots x d) coincidences of each sample to int32 counts (out, rows), in place.

    Args:
        means: x and d are float32 shares of the slots instead of words.
        slots: float32 (n,).
        up: counts of pulses that raise.
        down: counts of pulses that lower.
    """
    if up.device.type != "cpu":
        _add_rounded_products(means, slots, up, down)
        return
    from . import _kernels as kernels

    given = (*map(_array, (*means, slots)), up.numpy(), down.numpy())
    over_rows(kernels.add_rounded_products, len(up), *given)


def _add_rounded_products(means: Trains, slots: Tensor, up: Tensor, down: Tensor) -> None:
    for x, x_up, d, d_up, n in zip(*means, slots, strict=True):
        count = torch.round((n * d)[:, None] * x).int()
        rises = x_up == d_up[:, None]
        up += count * rises
        down += count * ~rises


def normals(
    shape: tuple[int, int], draw: int, step: int, key: Key, device: torch.device, first: int = 0
) -> Tensor:
    """Return standard normal numbers (rows, lines) of a draw of an update.

    A number depends on its line and on `first` plus its row, so rows may be drawn in parts.
    """
    if device.type != "cpu":
        return _normals(shape, draw, step, key, device, first)
    from . import _kernels as kernels

    rows, lines = shape
    values = torch.empty(rows, lines + -lines % 4)
    given = (values.numpy(), first, draw, step, *key)
    over_rows(kernels.fill_normal, rows, *given)
    return values[:, :lines].contiguous()


def _normals(
    shape: tuple[int, int], draw: int, step: int, key: Key, device: torch.device, first: int
) -> Tensor:
    rows, lines = shape
    quarter = torch.arange(-(-lines // 4), device=device)
    row = first + torch.arange(rows, device=device)[:, None]
    words = philox(quarter, row, draw, step, *key)
    pair = twin(normal_pair, "torch")
    four = (*pair(words[0], words[1]), *pair(words[2], words[3]))
    return torch.cat(four, 1)[:, :lines].float()


def _array(values: Tensor) -> np.ndarray:
    return values.contiguous().numpy()
