"""From array to array: which columns are read when, and how they are written."""

import torch
from torch import Tensor

from ..tiles import DeviceArray
from ._state import State


def is_due(state: State, every: int) -> bool:
    """Whether something that happens every so many optimizer steps happens in this one."""
    return state.step % every == 0


def next_columns(state: State, link: str, count: int | None, random: bool = False) -> Tensor:
    """Return the numbers of the columns of the next transfer, and move on.

    Args:
        state: keeps how far a link has come.
        link: name of the link between two arrays.
        count: columns of one transfer; None for all.
        random: begin anywhere instead of where the last transfer ended.
    """
    inputs = state.matrix.shape[1]
    count = inputs if count is None else min(count, inputs)
    first = int(state.numbers.get(link, 0))
    if random:
        first = int(state.uniform(f"{link} columns", (1,)) * inputs)
    state.numbers[link] = (first + count) % inputs
    return (first + torch.arange(count, device=state.matrix.place)) % inputs


def read_columns(state: State, name: str, columns: Tensor) -> Tensor:
    """Return what a read of some columns of an array shows, (out, columns)."""
    weights = state.arrays[name].weight.index_select(1, columns)
    xi = state.normal(f"read {name}", tuple(weights.shape))
    return state.matrix.read_out.read(weights, xi)


def write_columns(array: DeviceArray, columns: Tensor, counts: Tensor) -> None:
    """Give each cell of some columns its pulses: counts (out, columns), raising if positive."""
    if not bool(counts.any()):
        return
    up = torch.zeros(array.shape, dtype=torch.int32, device=counts.device)
    up[:, columns] = counts.to(torch.int32)
    array.pulse(up.clamp(min=0), (-up).clamp(min=0))


def rounded_counts(state: State, purpose: str, change: Tensor, granularity: float) -> Tensor:
    """Return whole pulses whose mean is change / granularity, by stochastic rounding."""
    return torch.floor(change / granularity + state.uniform(purpose, tuple(change.shape)))
