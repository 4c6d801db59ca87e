"""Arrays whose lines have resistance: the network that every way to state it shares."""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..ops import (
    Lines,
    drop_bound,
    gated_currents,
    lambda_max,
    vector_currents,
    wire_currents,
    wire_voltages,
)
from ..spec import Ohms, Volts
from ._wires import WireNetwork


class LineResistance(WireNetwork):
    """The network of an array's lines and cells, solved exactly.

    Passive cells lie between a row and a column, and each current runs from the driver at the start
    of a row to the read-out at the foot of a column. Rows in use are those nearest to the
    read-outs, columns in use those nearest to the drivers. Cells are linear resistors, so that the
    network is a matrix, computed once for every array and time: a product costs what it does
    without wires. The gradient of training runs through the network.

    Gated cells are opened by their rows, which carry no current; it comes from a source line beside
    each column and returns on the column, both with their ends at the read-out. Columns do not know
    of each other, but what is open depends on the input, so that the network is solved for every
    vector, for the rows of positive and of negative drive apart.

    A cell of signed conductance stands for a pair of devices, one of which is off.

    Passive cells of a curved I-V, with V_0 = `cell_voltage`, carry I = G V_0 sinh(V / V_0) and take
    another network for every vector too (the law of filamentary oxides in the compact model of
    Guan, Yu & Wong, IEEE Electron Device Lett. 33, 1405, 2012; valid below the voltages that switch
    a cell).

    The network of passive cells is that of badcrossbar (Joksas & Mehonic, SoftwareX 12, 100617,
    2020), whose interconnect resistance is `row` and `column`, without driver and ground.
    """

    scale: float = Field(default=1.0, ge=0, description="Multiple of all resistances.")
    driver: Ohms = Field(
        default=0.0, ge=0,
        description="Resistance of each row's driver (of a gated column's source) [ohm], beside "
        "the first segment of the line.",
    )  # fmt: skip
    ground: Ohms = Field(
        default=0.0, ge=0,
        description="Resistance of each column's read-out [ohm], beside the last segment.",
    )  # fmt: skip
    drivers: Literal["one_end", "both_ends"] = Field(
        default="one_end", description="Drivers of a row: before its first cell, or also behind "
        "its last one.",
    )  # fmt: skip
    pair: Literal["interleaved", "apart"] = Field(
        default="interleaved",
        description="Devices of a weight: on columns beside each other that share their rows, or "
        "each on an array of its own.",
    )
    cells: Literal["passive", "gated"] = Field(
        default="passive",
        description="Current from the rows, or from source lines that the rows gate.",
    )
    merged_rows: int = Field(
        default=1, ge=1, strict=True,
        description="Neighboring rows whose gated cells are taken as one node of their column, as "
        "in segments of a column; 1 is exact.",
    )  # fmt: skip
    cell_voltage: Volts | None = Field(
        default=None, gt=0,
        description="V_0 of passive cells' sinh [V]; null makes them linear.",
    )  # fmt: skip
    read_voltage: Volts | None = Field(
        default=None, gt=0,
        description="Row voltage of a drive at full scale [V]; goes with cell_voltage.",
    )  # fmt: skip
    tolerance: float = Field(
        default=1e-6, ge=0, lt=1,
        description="Relative error up to which drops are computed to first order, where they are "
        "small enough; 0 solves every network exactly.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _consistent(self) -> "LineResistance":
        if self.cells == "gated" and (self.drivers, self.pair) != ("one_end", "interleaved"):
            raise ValueError(
                "drivers and pair are about rows that carry current; gated cells get theirs from a "
                "source line beside each column: leave both at their defaults"
            )
        if self.cells == "passive" and self.merged_rows > 1:
            raise ValueError("merged_rows is about gated cells: leave it at 1 for passive ones")
        if (self.cell_voltage is None) != (self.read_voltage is None):
            raise ValueError("cell_voltage and read_voltage go together: give both or neither")
        if self.cell_voltage is None or self.read_voltage is None:
            return self
        if self.cells == "gated":
            raise ValueError("cell_voltage is about passive cells: leave it out for gated ones")
        if self.read_voltage > 30 * self.cell_voltage:
            raise ValueError(
                f"read_voltage {self.read_voltage:g} V is beyond 30 times cell_voltage "
                f"{self.cell_voltage:g} V, where a sinh has no meaning"
            )
        return self

    @property
    @abstractmethod
    def segments(self) -> tuple[float, float]:
        """Resistance between neighboring cells of a row and of a column [ohm]."""

    @property
    def lines(self) -> Lines:
        """The resistances of a passive array."""
        row, column = (self.scale * segment for segment in self.segments)
        source, sink = self.scale * self.driver + row, self.scale * self.ground + column
        return Lines(row, column, source, sink, self.drivers == "both_ends")

    @property
    def gated(self) -> bool:
        """As stated."""
        return self.cells == "gated"

    @property
    def per_vector(self) -> bool:
        """Whether cells are gated, or not linear."""
        return self.gated or self.cell_voltage is not None

    def effective(self, g: Tensor) -> Tensor:
        """See `Wires.effective`."""
        if self.per_vector:
            return g
        return self._restored(wire_currents(self._arranged(g), self.lines, self.tolerance), g)

    def diagnosis(self, planes: int, columns: int, rows: int, siemens: float) -> tuple[float, str]:
        """Return lambda_max of an array of equal cells, and how its network is solved.

        See `mho.ops.lambda_max`; wires matter where it is not far below 1. With equal cells it is
        the sum of that of one row and that of one column.
        """
        lines, width = self.lines, columns if self.pair == "apart" else planes * columns
        if self.gated:
            lines = Lines(column=lines.row + lines.column, sink=lines.source + lines.sink)
        one_row = torch.full((width, 1), siemens, dtype=torch.float64)
        one_column = torch.full((1, rows), siemens, dtype=torch.float64)
        parts = (
            (one_row, lines._replace(column=0.0, sink=0.0)),
            (one_column, lines._replace(row=0.0, source=0.0)),
        )
        largest = sum(float(lambda_max(g, own)) for g, own in parts)
        if self.gated:
            return largest, "one ladder per column, for every vector"
        if self.per_vector:
            return largest, "Newton's method over conjugate gradients, for every vector"
        drop = sum(float(drop_bound(g, own)) for g, own in parts)
        kind = "first order" if drop**2 <= self.tolerance else "exact sweep"
        return largest, f"{kind}, once per array and time"

    def voltages(self, g: Tensor, load: float) -> Tensor:
        """See `WireNetwork.voltages`."""
        arranged = self._arranged(g)
        return self._restored(wire_voltages(arranged, arranged.new_tensor(load), self.lines), g)

    def currents(self, g: Tensor, drive: Tensor) -> Tensor:
        """See `WireNetwork.currents`."""
        if self.gated:
            ends = self.scale * (self.driver + self.ground)
            rest = self.scale * sum(self.segments), ends, self.merged_rows
            seen = gated_currents(g, drive.clamp(min=0), *rest)
            unknown = torch.compiler.is_compiling() or drive.is_meta
            if unknown or bool((drive.detach() < 0).any()):
                seen = seen - gated_currents(g, (-drive).clamp(min=0), *rest)
            return seen
        unit = self.read_voltage or 1.0
        arranged = g if self.pair == "apart" else self._arranged(g)[None]
        volts = (drive * unit).expand(arranged.shape[0], -1, -1)
        found = vector_currents(arranged, volts, self.lines, self.cell_voltage) / unit
        if self.pair == "apart":
            return found.transpose(0, 1)
        return found[0].unflatten(1, (g.shape[1], g.shape[0])).transpose(1, 2)

    def _arranged(self, g: Tensor) -> Tensor:
        """Conductances (..., planes, columns, rows) as those of arrays (..., columns, rows)."""
        return g if self.pair == "apart" else g.transpose(-3, -2).flatten(-3, -2)

    def _restored(self, arrays: Tensor, like: Tensor) -> Tensor:
        if self.pair == "apart":
            return arrays
        return arrays.unflatten(-2, (like.shape[-2], like.shape[-3])).transpose(-3, -2)
