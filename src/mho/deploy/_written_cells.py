"""The cells of a matrix while they are written: what pulses make of them."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from ..cells import Device, OneSidedPair, UnitCell, reach
from ..mapping import Mapping
from ..ops import Stream
from ..tiles import DeviceArray, Hardware

SMALLEST = 0.1
"""Part of the mean step that a response is never taken to be below: it vanishes at bounds."""


class WrittenCells(ABC):
    """Cells of one matrix that get pulses; counts and conductances are of their devices.

    Attributes:
        full: relative weight of the pulsed devices that stands for full scale, g_max.
        step: of the mean cell at weight 0, in units of full scale; None where pulses have no step.
        up: pulses that raised each device; `down` likewise.
    """

    full: float
    step: float | None
    up: Tensor
    down: Tensor

    @property
    @abstractmethod
    def first(self) -> Tensor:
        """Pulses that each cell got before anything was read, (out, rows)."""

    @property
    @abstractmethod
    def conductance(self) -> Tensor:
        """Conductances (planes, out, rows) [S]."""

    @abstractmethod
    def pulse(self, error: Tensor, target: Tensor, share: float) -> Tensor:
        """Pulse cells so that they move by a share of their errors; return the pulses of each.

        Args:
            error: estimated target - weight in units of full scale; 0 where no pulse is due.
            target: weights in units of full scale.
            share: part of the error that the pulses are to make up for.
        """

    @abstractmethod
    def ends(self) -> tuple[Tensor, Tensor]:
        """Return conductances of the least and of the largest weight that pulses can give."""


class DeviceCells(WrittenCells):
    """Cells that answer pulses as `cell.device` does, all of them reset before.

        n = max(1, floor(share |e| f / s(y))) pulses, up if e > 0, else down,

    with s the step of the mean cell at the weight y = target - e, all that a controller knows.
    """

    def __init__(
        self, device: Device, fill: float, hardware: Hardware, shape: tuple[int, int], cells: Stream
    ) -> None:
        self.device, self.cell, self.mapping = device, hardware.cell, hardware.mapping
        self.full = fill * reach(device)
        self.array = DeviceArray(device, shape, cells, count=True)
        self.array.reset(torch.ones(shape[1], dtype=torch.bool))
        self.step = self.array.granularity / self.full
        assert self.array.pulses_up is not None
        assert self.array.pulses_down is not None
        self.up, self.down = self.array.pulses_up, self.array.pulses_down

    @property
    def first(self) -> Tensor:
        """None: a reset is not counted."""
        return torch.zeros(self.array.shape, dtype=torch.int64)

    @property
    def conductance(self) -> Tensor:
        """See `WrittenCells.conductance`."""
        return self._encoded(self.array.weight)

    def pulse(self, error: Tensor, target: Tensor, share: float) -> Tensor:
        """See `WrittenCells.pulse`."""
        step = mean_step(self.device, (target - error) * self.full, error > 0)
        pulses = torch.floor(share * error.abs() * self.full / step).clamp(min=1.0)
        change = torch.where(error != 0, pulses * error.sign(), 0.0).to(torch.int32)
        self.array.pulse(change.clamp(min=0), (-change).clamp(min=0))
        return change.abs().long()

    def ends(self) -> tuple[Tensor, Tensor]:
        """See `WrittenCells.ends`."""
        low, high = limits(self.array)
        return self._encoded(low), self._encoded(high)

    def _encoded(self, weight: Tensor) -> Tensor:
        return encoded(weight / self.full, self.mapping, self.cell.g_min, self.cell.g_max)


def encoded(relative: Tensor, mapping: Mapping, g_min: float, g_max: float) -> Tensor:
    """Return conductances of relative weights, which may lie beyond full scale."""
    return mapping.encode(relative.detach().float(), g_min, g_max)


def limits(array: DeviceArray) -> tuple[Tensor, Tensor]:
    """Return the least and the largest weight that pulses can give each cell, (out, rows).

    Pulses of a one-sided pair only raise its devices; a fixed policy leaves the other ones as they
    are. Write noise is not counted.
    """
    device, low, high = array.device, torch.zeros(array.shape), torch.zeros(array.shape)
    for k, (factor, each) in enumerate(array.each()):
        c = each.constants
        start, end = c.low - c.reference, c.high - c.reference
        if isinstance(device, OneSidedPair):
            start = each.weight
        elif isinstance(device, UnitCell) and device.policy == "fixed" and k != device.fixed:
            start = end = each.weight
        ends = torch.stack((factor * start, factor * end))
        low, high = low + ends.amin(0), high + ends.amax(0)
    return low, high


def mean_step(device: Device, weight: Tensor, up: Tensor) -> Tensor:
    """Return the step of the mean cell at relative weights; of a unit cell, that at weight 0."""
    granularity = device.granularity
    if device.singles != (device,):
        return torch.full_like(weight, granularity)
    (single,) = device.singles
    cell = single.mean_cell()
    low, high, reference = (float(t) for t in (cell.low, cell.high, cell.reference))
    state = np.clip(weight.double().numpy() + reference, low, high)
    step, _ = single.respond(cell, state, up.numpy())
    return torch.from_numpy(np.maximum(step, SMALLEST * granularity)).to(weight)
