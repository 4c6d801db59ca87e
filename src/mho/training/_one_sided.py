"""Refresh of pairs of devices that only go up."""

import torch

from ..cells import OneSidedPair
from ..tiles import DeviceArray
from ._state import State
from ._transfer import is_due, rounded_counts


def refresh_due(state: State, name: str) -> None:
    """Refresh the cells of an array that need it, if its device says that it is time to.

    Both devices of every cell are read. Where one is above `upper` of its mean upper bound and the
    other above `lower`, both are reset, and their difference is written onto the larger one by
    (difference / granularity) pulses, without a verifying read. So what is written is short by the
    curvature of the response, and by nothing that anybody measures.

    Source: S. R. Nandakumar et al., Front. Neurosci. 14:406 (2020); IBM's aihwkit,
    OneSidedUnitCell.
    """
    array = state.arrays[name]
    pair = array.device
    if not isinstance(pair, OneSidedPair) or pair.refresh_every is None:
        return
    if is_due(state, pair.refresh_every):
        _refresh(state, name, array, pair)


def _refresh(state: State, name: str, array: DeviceArray, pair: OneSidedPair) -> None:
    plus, minus = (
        state.matrix.read_out.read(
            each.weight, state.normal(f"refresh read {name} {k}", state.matrix.shape)
        )
        for k, each in enumerate(array.arrays)
    )
    larger, smaller = torch.maximum(plus, minus) / pair.high, torch.minimum(plus, minus) / pair.high
    which = (larger > pair.upper) & (smaller > pair.lower)
    if not bool(which.any()):
        return
    for each in array.arrays:
        each.reset(which)
    wanted = torch.where(which, plus - minus, 0.0)
    counts = rounded_counts(state, f"refresh {name}", wanted.abs(), array.granularity)
    counts = torch.where(which, counts, 0.0).to(torch.int32)
    none = torch.zeros_like(counts)
    array.pulse(torch.where(wanted > 0, counts, none), torch.where(wanted < 0, counts, none))
