"""Pulsed devices that are left alone for a time: the drift of what they hold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..cells import Cell
from ..errors import SpecError
from ..mapping import Mapping

if TYPE_CHECKING:
    from ._pulsed_array import PulsedArray


@dataclass(frozen=True)
class Rest:
    """What the drift of single devices (out, rows) is counted from.

    Attributes:
        start: state after the last change of each cell by anything but drift.
        seconds: time that each cell has rested since, float64.
        state: what the last rest left; a cell that has another state was changed since.
    """

    start: Tensor
    seconds: Tensor
    state: Tensor

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of all."""
        return {name: value.clone() for name, value in vars(self).items()}

    @classmethod
    def of(cls, stored: dict[str, Tensor], place: torch.device) -> "Rest":
        """Return what `state_dict` returned, as it was."""
        return cls(**{name: value.to(place).clone() for name, value in stored.items()})


def rested(array: "PulsedArray", cell: Cell, mapping: Mapping, seconds: float) -> Rest:
    """Return devices after some more time at rest; nothing of them is changed yet.

        g_0 = encode(v_0 - reference),   v(t) = reference + decode(drift(g_0, t))

    with v_0 the state after a cell's last change, and t all the time that it has rested since, so
    that two rests with nothing in between are one rest of their sum. A weight of 1 is g_max. Each
    device keeps for life the random number from which the law makes its own coefficient. States end
    at the devices' bounds; stuck ones stay. Write noise stays as it was written.

    Args:
        array: the devices.
        cell: its drift is the law.
        mapping: from weights to conductances.
        seconds: time of this rest.

    Raises:
        SpecError: the devices have levels, which no law of drift is about.
        RangeError: the law has no meaning at the time that some cell has rested.
    """
    if type(array.device).visible is not None:
        raise SpecError(
            f"{array.device.kind} devices show levels and keep their progress hidden; laws of "  # pyright: ignore
            "drift are about conductances that move freely. Leave them without rests, or take "
            "another response."
        )
    start, time = array.state, torch.zeros_like(array.state, dtype=torch.float64)
    if array.rest is not None:
        same = array.state == array.rest.state
        start = torch.where(same, array.rest.start, start)
        time = torch.where(same, array.rest.seconds, time)
    time = time + seconds
    c = array.constants
    weight = _drifted((start - c.reference).cpu(), time.cpu(), cell, mapping, array)
    state = weight.to(start) + c.reference
    return Rest(start, time, torch.minimum(torch.maximum(state, c.low), c.high))


def _drifted(
    weight: Tensor, time: Tensor, cell: Cell, mapping: Mapping, array: "PulsedArray"
) -> Tensor:
    held = cell.hold(mapping.encode(weight, cell.g_min, cell.g_max), array.stream)
    result = weight
    for each in time.unique().tolist():
        if each == 0:
            continue
        g = cell.drifted(held, each, array.stream)
        now = mapping.decode(g, cell.g_min, cell.g_max)[0]
        result = torch.where(time == each, now, result)
    return result
