"""`measured_response`: a device whose steps are a measured table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cells import PiecewiseStep
from ..errors import RangeError
from ..spec import render_table
from ..tiles import Hardware
from ._as_hardware import hardware_of, yaml_of
from ._measured_table import StepTable, gather, is_table, read_table
from ._trace import trace_of, units_of


@dataclass(frozen=True, eq=False)
class MeasuredResponse:
    """A device made of a table of steps; prints as that table.

    Attributes:
        device: of kind `piecewise_step`; its bounds are those of the table.
        steps: the table, in the unit of the values.
        name: of the file.
        zero: value at weight 0.
        scale: value per weight of 1.
    """

    device: PiecewiseStep
    steps: StepTable
    name: str
    zero: float
    scale: float

    @property
    def hardware(self) -> Hardware:
        """Ideal arrays of this device, of signed cells."""
        return hardware_of(self.device, self.scale if self.steps.conductance else None)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the hardware as a document for `mho.load`; write it to a file as well."""
        return yaml_of(
            self.hardware,
            f"mho.measured_response: steps measured in {self.name}",
            f"value at weight 0: {self.zero:.6g}, per weight of 1: {self.scale:.6g}",
            path,
        )

    def rows(self) -> list[dict[str, float]]:
        """One mapping per node, in relative weights."""
        unit, table = self.scale, self.steps
        columns = {
            "weight": (table.values - self.zero) / unit,
            "step_up": table.up / unit,
            "noise_up": table.noise_up / unit,
            "step_down": table.down / unit,
            "noise_down": table.noise_down / unit,
        }
        return [
            {name: float(column[k]) for name, column in columns.items()}
            for k in range(len(table.values))
        ]

    def table(self) -> str:
        """Return the table as text."""
        rows = self.rows()
        body = [[f"{value:.4g}" for value in row.values()] for row in rows]
        return render_table(f"{self.name}: measured steps", list(rows[0]), body)

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the device under pulses and its steps; return or save the figure."""
        from ..deploy import plot_response, save

        figure = plot_response(self.device)
        return figure if path is None else save(figure, path)


def measured_response(
    source: Any, *, nodes: int = 16, zero: float | None = None, scale: float | None = None
) -> MeasuredResponse:
    """Make a device of measured steps, without a formula.

    The bounds of the table are the cell's bounds, and what differs between devices is left out:
    all are pooled. Where readings are noisier than steps, states are not known well enough for a
    table; fit a response then, of kind `piecewise_step` if no formula is known.

    Args:
        source: a trace as for `fit_response`, or a CSV file with the columns `weight` or
            `conductance`, `step_up`, `step_down`, and perhaps `noise_up` and `noise_down`.
        nodes: of the table that is gathered from a trace.
        zero: value at weight 0; None: 0 for weights, the middle for conductances.
        scale: value per weight of 1; None: 1 for weights, half the range for conductances.

    Raises:
        DataError: the file is not as described, or there are no pulses near a node.
        RangeError: weights do not lie on both sides of 0.
    """
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 2:
        raise RangeError(f"nodes must be a whole number of at least 2, got {nodes!r}")
    if isinstance(source, str | Path) and is_table(Path(source)):
        table, name = read_table(Path(source)), Path(source).name
    else:
        trace = trace_of(source)
        table, name = gather(trace, nodes), trace.name
    least, most = float(table.values[0]), float(table.values[-1])
    zero, scale = units_of((least, most), table.conductance, zero, scale)
    low, high = (least - zero) / scale, (most - zero) / scale
    if not low <= 0 <= high:
        raise RangeError(
            f"weights run from {low:.4g} to {high:.4g}, but 0 must lie between; give `zero`, the "
            "value at weight 0"
        )
    return MeasuredResponse(_device(table, low, high, scale), table, name, zero, scale)


def _device(table: StepTable, low: float, high: float, scale: float) -> PiecewiseStep:
    unit = float(np.mean([table.up, table.down]))
    if unit == 0:
        raise RangeError("all steps are 0")
    tables = {"up": table.up, "down": table.down}
    if table.noise_up.any() or table.noise_down.any():
        tables |= {"noise_up": table.noise_up, "noise_down": table.noise_down}
    fields: dict[str, Any] = {"step": unit / scale, "low": low, "high": high}
    fields |= {name: tuple((values / unit).tolist()) for name, values in tables.items()}
    return PiecewiseStep(write_noise=table.reading / unit, **fields)
