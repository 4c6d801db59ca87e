"""Write and verify: pulses until a read of the cell is near enough to its target."""

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..cells import Device, OneSidedPair, UnitCell, reach
from ..errors import ConversionError, SpecError
from ..nn import Crossbar
from ..ops import Stream
from ..tiles import (
    DeviceArray,
    Geometry,
    Hardware,
    Programmed,
    ReadOut,
    hold,
    relative_weight,
)
from ..tiles import sites as positions
from ._programming_method import ProgrammingMethod
from ._programming_report import WrittenMatrix
from ._progress import progress

SMALLEST = 0.1
"""Part of the mean step that a response is never taken to be below: it vanishes at bounds."""


class WriteVerify(ProgrammingMethod):
    """Cells are reset, and then read, compared and pulsed, again and again.

        y_k = mean of `averages` reads of w_k / f,   e_k = target - y_k
        n_k = max(1, floor(approach |e_k| f / s(y_k)))  pulses up if e_k > 0, else down,
              where |e_k| > tolerance

    until all cells read as within the tolerance, or for `iterations`. w is the relative weight of
    the pulsed devices `cell.device`, with their spreads, cycle and write noise. f = fill x (bound
    of the mean cell) is the weight that stands for full scale, g_max; targets, reads and tolerance
    are in units of it. s is the step that the mean cell makes at the weight that was read, all
    that a controller can know. The cells of chip instance `seed` are those on which `mho.attach`
    with that seed trains plain pulsed SGD. What is fixed in an array, stuck cells
    and the spread of conductances, shows in the reads and so is corrected where it can be; the law
    `cell.programming` plays no part.

    Equal constant steps s that start far below the target and overshoot by no burst end uniformly
    distributed over the last step before the tolerance is reached, target - y in (tolerance - s,
    tolerance] where s <= 2 tolerance: mean tolerance - s / 2, standard deviation s / sqrt(12).
    With s = 2 tolerance it is uniform within the tolerance. Larger steps jump over the window, and
    noise of a pulse or a write adds to the error in quadrature.

    Source: N. Papandreou et al., ISCAS 2011, "Programming algorithms for multilevel phase-change
    memory", for the loop; V. Joshi et al., Nat. Commun. 11:2473 (2020), Methods, for its use with
    neural networks.
    """

    kind: Literal["write_verify"] = "write_verify"
    tolerance: float | None = Field(
        default=None, gt=0, lt=1,
        description="Largest accepted distance of a read from its target, in units of full scale. "
        "None: one step of the mean cell.",
    )  # fmt: skip
    iterations: int = Field(
        default=50, ge=1, strict=True, description="Most rounds of pulses after the first read."
    )
    fill: float = Field(
        default=0.5, gt=0, le=1,
        description="Part of the mean cell's bound at which full scale lies. Near 1, cells of "
        "smaller bounds than the mean one cannot take large weights.",
    )  # fmt: skip
    approach: float = Field(
        default=0.5, gt=0, le=1,
        description="Part of the remaining distance that one round's pulses are to cover. A cell "
        "of more than 2 / approach times the mean step oscillates.",
    )  # fmt: skip
    read: ReadOut | None = Field(
        default=None,
        description="Noise, levels and bound of a read, in units of full scale. None: what the "
        "hardware's converters and noise make of the read of a single cell.",
    )
    averages: int = Field(
        default=1, ge=1, strict=True, description="Reads of a cell that are averaged."
    )

    def write(self, weight: Tensor, crossbar: Crossbar, stream: Stream) -> tuple[Programmed, Any]:
        """See `ProgrammingMethod.write`."""
        hardware, geometry, name = crossbar.hardware, crossbar.geometry, stream.tile
        target, scale = relative_weight(weight, hardware, geometry, name)
        writing = _Writing(self, target, hardware, geometry, stream)
        for number in progress(range(self.iterations + 1), f"writing {name}"):
            change = writing.verify(number)
            if number == self.iterations or not bool(change.any()):
                break
            writing.array.pulse(change.clamp(min=0), (-change).clamp(min=0))
        relative = writing.array.weight / writing.full
        return hold(relative, scale, hardware, geometry, stream), writing.report(name)


class _Writing:
    """The cells of one matrix while they are written, and what is noted about them."""

    def __init__(
        self,
        method: WriteVerify,
        target: Tensor,
        hardware: Hardware,
        geometry: Geometry,
        stream: Stream,
    ) -> None:
        self.device = _device(hardware, stream.tile)
        self.method, self.target, self.hardware = method, target, hardware
        self.stream, self.sites = stream, positions(geometry)
        self.read_out = method.read or ReadOut.of(hardware)
        self.full = method.fill * reach(self.device)
        cells = Stream(stream.seed, f"{stream.tile}/weight")
        self.array = DeviceArray(self.device, (geometry.out, geometry.rows), cells, count=True)
        self.array.reset(torch.ones(geometry.rows, dtype=torch.bool))
        self.tolerance = method.tolerance or self.array.granularity / self.full
        low, high = (self.shown(each) for each in limits(self.array))
        beyond = (target < low - self.tolerance) | (target > high + self.tolerance)
        self.stuck, self.out_of_bounds = beyond & (low == high), beyond & (low != high)
        self.errors: list[float] = []
        self.inside: list[float] = []

    def shown(self, weight: Tensor) -> Tensor:
        """Return what devices of these weights make on this array, in units of full scale."""
        cell, mapping = self.hardware.cell, self.hardware.mapping
        g = cell.possible(mapping.encode(weight / self.full, cell.g_min, cell.g_max))
        g = cell.found(g, self.stream, self.sites)
        return mapping.decode(g, cell.g_min, cell.g_max)[0]

    def verify(self, number: int) -> Tensor:
        """Read all cells; return the pulses that they need, int32, negative ones down."""
        shown = self.shown(self.array.weight)
        y = self._read(shown, number)
        error = self.target - y
        outside = error.abs() > self.tolerance
        self.off = shown - self.target
        self.errors.append(rms(self.off[~(self.stuck | self.out_of_bounds)]))
        self.inside.append(1.0 - float(outside.float().mean()))
        self.left = outside
        step = mean_step(self.device, y * self.full, error > 0)
        pulses = torch.floor(self.method.approach * error.abs() * self.full / step).clamp(min=1.0)
        return torch.where(outside, pulses * error.sign(), 0.0).to(torch.int32)

    def _read(self, shown: Tensor, number: int) -> Tensor:
        shape, read = tuple(shown.shape), self.read_out
        if not read.noise:
            return read.read(shown, torch.zeros(()))
        total = torch.zeros(shape)
        for k in range(self.method.averages):
            total += read.read(shown, self.stream.normal(f"verify {number}", shape, k))
        return total / self.method.averages

    def report(self, name: str) -> WrittenMatrix:
        """Return what was noted."""
        up, down = self.array.pulses_up, self.array.pulses_down
        assert up is not None
        assert down is not None
        return WrittenMatrix(
            name=name,
            shape=self.array.shape,
            full_scale=self.full,
            step=self.array.granularity / self.full,
            tolerance=self.tolerance,
            error=rms(self.off),
            errors=tuple(self.errors),
            inside=tuple(self.inside),
            pulses_up=int(up.sum()),
            pulses_down=int(down.sum()),
            most_pulses=int((up + down).max()),
            stuck=self.stuck.numpy(),
            out_of_bounds=self.out_of_bounds.numpy(),
            outside=self.left.numpy(),
        )


def _device(hardware: Hardware, name: str) -> Device:
    if hardware.cell.device is None:
        raise SpecError(
            f"{name}: its hardware does not say how a cell answers pulses, which write_verify "
            "needs: give `cell: {device: ...}`, such as {kind: soft_bounds, step: 0.001}, or "
            "program with method='direct'."
        )
    mapping = hardware.mapping
    if not mapping.exact or len(mapping.significance) > 1:
        raise ConversionError(
            f"{name}: the mapping {mapping.kind!r} makes several or rounded digital slices of a "  # pyright: ignore
            "weight, which are no cell's weight to be verified; use differential, single or signed."
        )
    return hardware.cell.device


def rms(values: Tensor) -> float:
    """Return the root mean square; 0 of no values."""
    return float(values.square().mean().sqrt()) if values.numel() else 0.0


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
