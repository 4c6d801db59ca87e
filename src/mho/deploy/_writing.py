"""What all ways to write by pulses share: their fields, the loop's state, and what is noted."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ..cells import CellState
from ..errors import ConversionError, SpecError
from ..nn import Crossbar
from ..ops import Stream
from ..tiles import Hardware, Present, Programmed, present, relative_weight, spread_over_rows
from ._one_shot import OneShot, OneShotCells
from ._programming_cost import ProgrammingCost
from ._programming_method import ProgrammingMethod
from ._programming_report import WrittenMatrix
from ._written_cells import DeviceCells, WrittenCells

FILL = 0.5


class PulsedMethod(ProgrammingMethod):
    """A way to write cells by pulses, round after round."""

    pulse: OneShot | None = Field(
        default=None,
        description="Pulses that set a conductance at once. None: identical pulses, which the "
        "cell's device answers.",
    )
    iterations: int = Field(
        default=50, ge=1, strict=True, description="Most rounds of pulses after the first read."
    )
    fill: float | None = Field(
        default=None, gt=0, le=1,
        description="Part of the mean cell's bound at which full scale lies, for pulses on the "
        "device; None: 0.5. Near 1, cells of smaller bounds than the mean one cannot take large "
        "weights.",
    )  # fmt: skip
    approach: float = Field(
        default=0.5, gt=0, le=1,
        description="Part of the estimated distance that one round's pulses are to cover. A cell "
        "of more than 2 / approach times the mean step oscillates.",
    )  # fmt: skip
    cost: ProgrammingCost = Field(
        default=ProgrammingCost(), description="What pulses and reads cost, for the report."
    )

    def cells(self, target: Tensor, crossbar: Crossbar, stream: Stream) -> WrittenCells:
        """Return the cells of a matrix before anything is read.

        Raises:
            SpecError: the hardware has no device to pulse, or `fill` is given for one-shot pulses.
            ConversionError: the mapping has digital slices.
        """
        hardware, name = crossbar.hardware, stream.tile
        mapping = hardware.mapping
        device = hardware.cell.device
        if self.pulse is None and device is None:
            raise SpecError(
                f"{name}: its hardware does not say how a cell answers pulses, which {self.kind} "
                "needs: give `cell: {device: ...}`, such as {kind: soft_bounds, step: 0.001}, or "
                "pulses that set a conductance, `pulse: {}`, or program with method='direct'."
            )
        if self.pulse is not None and self.fill is not None:
            raise SpecError(
                f"fill={self.fill:g} is for pulses on the cell's device; one-shot pulses set "
                "conductances up to g_max, so leave it out."
            )
        if not mapping.exact or len(mapping.significance) > 1:
            raise ConversionError(
                f"{name}: the mapping {mapping.kind!r} makes several or rounded digital slices of "  # pyright: ignore
                "a weight, which are no cell's weight to be verified; use differential, single or "
                "signed."
            )
        if self.pulse is not None:
            return OneShotCells(self.pulse, target, hardware.cell, mapping, stream)
        assert device is not None
        shape = (crossbar.geometry.out, crossbar.geometry.rows)
        own = Stream(stream.seed, f"{stream.tile}/weight")
        return DeviceCells(device, self.fill or FILL, hardware, shape, own)


class Writing:
    """The cells of one matrix while they are written, and what is noted about them.

    Attributes:
        target: relative weights (out, rows).
        scale: weight that g_max stands for, (row-slices, out).
        tolerance: see `WrittenMatrix`.
    """

    def __init__(
        self,
        method: PulsedMethod,
        weight: Tensor,
        crossbar: Crossbar,
        stream: Stream,
        tolerance: float | None,
    ) -> None:
        self.method, self.crossbar, self.stream = method, crossbar, stream
        hardware, geometry = crossbar.hardware, crossbar.geometry
        self.target, self.scale = relative_weight(weight, hardware, geometry, stream.tile)
        self.per_cell = spread_over_rows(self.scale, geometry)
        self.cells = method.cells(self.target, crossbar, stream)
        tolerance = tolerance or self.cells.step
        if tolerance is None:
            raise SpecError(
                f"{method.kind}: one-shot pulses have no step to take the tolerance from; give "
                "`tolerance`, such as 0.01 of full scale."
            )
        self.tolerance = tolerance
        self.plain = _without_reading(hardware, wires=False)
        low, high = (self.shown(each) for each in self.cells.ends())
        beyond = (self.target < low - tolerance) | (self.target > high + tolerance)
        self.stuck, self.out_of_bounds = beyond & (low == high), beyond & (low != high)
        self.errors: list[float] = []
        self.inside: list[float] = []
        self.row_pulses: list[Tensor] = []
        self._count(self.cells.first)

    def present(self, conductance: Tensor, hardware: Hardware) -> Present:
        """Return the arrays of this chip instance with cells of some conductances [S]."""
        done = Programmed(CellState(conductance, None), self.scale)
        return present(done, hardware, self.crossbar.geometry, self.stream, 0.0)

    def shown(self, conductance: Tensor) -> Tensor:
        """Return what cells of these conductances multiply with, in units of full scale."""
        return self.present(conductance, self.plain).weight / self.per_cell

    def note(self, outside: Tensor) -> None:
        """Note how far the cells are, and which of them are taken to be outside."""
        self.off = self.shown(self.cells.conductance) - self.target
        self.errors.append(rms(self.off[~(self.stuck | self.out_of_bounds)]))
        self.inside.append(1.0 - float(outside.float().mean()))
        self.left = outside

    def pulse(self, error: Tensor, share: float) -> None:
        """Pulse cells by their estimated errors, 0 where no pulse is due."""
        self._count(self.cells.pulse(error, self.target, share))

    def _count(self, pulses: Tensor) -> None:
        """Note the most pulses that a cell got on each row of any array."""
        if not bool(pulses.any()):
            return
        position = self.crossbar.geometry.row_position()
        most = torch.zeros(int(position.max()) + 1, dtype=pulses.dtype)
        self.row_pulses.append(most.scatter_reduce(0, position, pulses.amax(0), "amax"))

    def done(self) -> Programmed:
        """Return the cells as they were written."""
        cells = self.crossbar.hardware.cell.hold(self.cells.conductance, self.stream)
        return Programmed(cells, self.scale.float().cpu())

    def report(self, reads: int, **more: Any) -> WrittenMatrix:
        """Return what was noted."""
        up, down = self.cells.up, self.cells.down
        return WrittenMatrix(
            name=self.stream.tile,
            shape=tuple(self.target.shape),  # pyright: ignore[reportArgumentType]
            method=self.method.kind,
            full_scale=self.cells.full,
            step=self.cells.step,
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
            row_pulses=tuple(tuple(int(n) for n in each) for each in self.row_pulses),
            reads=reads,
            arrays=self.crossbar.geometry.partition.arrays,
            cost=self.method.cost,
            **more,
        )


def _without_reading(hardware: Hardware, *, wires: bool) -> Hardware:
    """Return the hardware without the 1/f noise that cells gather after they were written."""
    fields: dict[str, Any] = {"cell": hardware.cell.with_fields(read=None)}
    if not wires:
        fields["array"] = hardware.array.with_fields(wires=None, polarity_spread=0.0)
    return hardware.with_fields(**fields)


def while_written(hardware: Hardware) -> Hardware:
    """Return the hardware as it multiplies while its cells are written: see `_without_reading`."""
    return _without_reading(hardware, wires=True)


def rms(values: Tensor) -> float:
    """Return the root mean square; 0 of no values."""
    return float(values.square().mean().sqrt()) if values.numel() else 0.0
