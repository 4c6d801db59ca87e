"""How the writing of a model's cells went."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..errors import LifecycleError
from ..spec import format_quantity, render_table
from ._model import programmed
from ._programming_cost import ProgrammingCost

SAID = {"write_verify": "written and verified", "gradient_descent": "gradient descent on products"}


@dataclass(frozen=True, eq=False)
class WrittenMatrix:
    """One weight matrix. Errors and tolerance are in units of full scale, g_max.

    Attributes:
        name: of the weight.
        shape: (out, rows).
        method: kind of the method that wrote it.
        full_scale: relative weight of the pulsed devices that stands for g_max; 1 where pulses set
            conductances.
        step: of the mean cell at weight 0, in units of full scale; None where pulses have no step.
        tolerance: largest accepted distance of a read from its target, or of an estimate.
        error: root mean square of (weight - target) over all cells at the end. It is the cells'
            own, not that of the noisy reads.
        errors: the same over the cells within reach, before the first pulse and after each round.
        inside: share of cells that were read, or estimated, within the tolerance, likewise.
        product_errors: relative error of the products that the cells were corrected by, with
            everything that the arrays do to them, likewise; empty where single cells were read.
        pulses_up: pulses up in all; `pulses_down` likewise.
        most_pulses: that any device got.
        stuck: cells that cannot move and are not within the tolerance, (out, rows).
        out_of_bounds: cells that move, but whose bounds end before the tolerance, (out, rows).
        outside: cells that the last read showed outside of the tolerance, (out, rows).
        row_pulses: for each round with pulses, and each row of an array, the pulses of the cell
            that got most of them on this row, over all arrays.
        reads: reads of each array: of a row of cells, or a product.
        arrays: how many the matrix lies on.
        cost: what a pulse and a read cost.
    """

    name: str
    shape: tuple[int, int]
    method: str
    full_scale: float
    step: float | None
    tolerance: float
    error: float
    errors: tuple[float, ...]
    inside: tuple[float, ...]
    pulses_up: int
    pulses_down: int
    most_pulses: int
    stuck: NDArray[np.bool_]
    out_of_bounds: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    row_pulses: tuple[tuple[int, ...], ...]
    reads: int
    arrays: int
    cost: ProgrammingCost
    product_errors: tuple[float, ...] = ()

    @property
    def iterations(self) -> int:
        """Rounds of pulses after the first read."""
        return len(self.errors) - 1

    @property
    def unreachable(self) -> NDArray[np.bool_]:
        """Cells that no pulses bring to their targets, (out, rows)."""
        return self.stuck | self.out_of_bounds

    @property
    def pulses(self) -> int:
        """Pulses on all devices. A reset before the first read is not counted."""
        return self.pulses_up + self.pulses_down

    @property
    def slots(self) -> int | None:
        """Slots of a pulse's width that the pulses took; None without `cost.rows_at_once`."""
        together = self.cost.rows_at_once
        if together is None:
            return None
        return sum(
            max(row[start : start + together])
            for row in self.row_pulses
            for start in range(0, len(row), together)
        )

    @property
    def time(self) -> float | None:
        """Time that pulses and reads took [s]; None where the costs do not say."""
        width, read = self.cost.pulse_width, self.cost.read_time
        if self.slots is None or width is None or read is None:
            return None
        return self.slots * width + self.reads * read

    @property
    def energy(self) -> float | None:
        """Energy of pulses and reads [J]; None where the costs do not say."""
        pulse, read = self.cost.pulse_energy, self.cost.read_energy
        if pulse is None or read is None:
            return None
        return self.pulses * pulse + self.reads * self.arrays * read


@dataclass(frozen=True, eq=False)
class ProgrammingReport:
    """What `mho.programming_report` returns; prints as a table and plots itself."""

    matrices: tuple[WrittenMatrix, ...]

    @property
    def error(self) -> float:
        """Root mean square error over the cells of all matrices, in units of full scale."""
        sizes = [m.outside.size for m in self.matrices]
        return float(np.sqrt(np.average([m.error**2 for m in self.matrices], weights=sizes)))

    @property
    def unreachable(self) -> int:
        """Cells in all that no pulses bring to their targets."""
        return sum(int(m.unreachable.sum()) for m in self.matrices)

    @property
    def pulses(self) -> int:
        """Pulses in all."""
        return sum(m.pulses for m in self.matrices)

    @property
    def reads(self) -> int:
        """Reads of arrays in all."""
        return sum(m.reads * m.arrays for m in self.matrices)

    @property
    def time(self) -> float | None:
        """Time [s] of one matrix after another; None where the costs do not say."""
        return _sum(m.time for m in self.matrices)

    @property
    def energy(self) -> float | None:
        """Energy [J] in all; None where the costs do not say."""
        return _sum(m.energy for m in self.matrices)

    def __str__(self) -> str:
        rows = [
            (
                m.name,
                "x".join(map(str, m.shape)),
                "-" if m.step is None else f"{m.step:.2%}",
                f"{m.tolerance:.2%}",
                f"{m.error:.2%}",
                f"{m.errors[-1]:.2%}",
                f"{m.inside[-1]:.1%}",
                f"{m.product_errors[-1]:.2%}" if m.product_errors else "-",
                str(m.iterations),
                str(m.pulses_up),
                str(m.pulses_down),
                str(int(m.stuck.sum())),
                str(int(m.out_of_bounds.sum())),
            )
            for m in self.matrices
        ]
        header = ("matrix", "out x rows", "step", "tolerance", "error", "of reachable", "inside")
        header += ("product", "rounds", "pulses up", "down", "stuck", "out of bounds")
        said = ", ".join(dict.fromkeys(SAID.get(m.method, m.method) for m in self.matrices))
        title = (
            f"{said}: error {self.error:.2%} of full scale, {self.pulses} pulses, "
            f"{self.unreachable} cells out of reach"
        )
        return "\n".join((render_table(title, header, rows), self._costs()))

    def _costs(self) -> str:
        time, energy = self.time, self.energy
        took = "time not known" if time is None else f"{time:.3g} s"
        used = "energy not known" if energy is None else format_quantity(energy, "J")
        missing = [
            key
            for key in ProgrammingCost.model_fields
            if any(getattr(m.cost, key) is None for m in self.matrices)
        ]
        why = f" (the method's cost says no {', '.join(missing)})" if missing else ""
        return f"{self.pulses} pulses and {self.reads} reads of arrays: {took}, {used}{why}"

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw error and share inside over the rounds; return the figure, or save it."""
        from ._plot import new_figure, save

        figure = new_figure(9.0, 4.0)
        left, right = figure.subplots(1, 2)
        for k, matrix in enumerate(self.matrices):
            rounds, color = range(len(matrix.errors)), f"C{k}"
            left.plot(rounds, matrix.errors, "o-", color=color, label=matrix.name, markersize=3)
            left.axhline(matrix.tolerance, color=color, linestyle=":")
            if matrix.product_errors:
                label = f"{matrix.name}: products, relative"
                left.plot(rounds, matrix.product_errors, "--", color=color, label=label)
            right.plot(rounds, matrix.inside, "o-", color=color, markersize=3)
        left.set_yscale("log")
        left.set_ylabel("rms error of reachable cells (dotted: tolerance)")
        right.set_ylabel("share of cells taken to be inside the tolerance")
        right.set_ylim(0, 1.02)
        left.legend(frameon=False)
        for axes in (left, right):
            axes.set_xlabel("rounds of pulses")
            axes.grid(alpha=0.3)
        return figure if path is None else save(figure, path)


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(v for v in known if v is not None)


def programming_report(model: nn.Module) -> ProgrammingReport:
    """Return how the cells of a programmed model were written.

    It lasts as long as the chip instance does in this process: a checkpoint holds the cells only.

    Raises:
        LifecycleError: the model is not programmed, or by a method that reports nothing.
    """
    reports = [site.crossbar.report for site in programmed(model, "programming_report")]
    found = tuple(report for report in reports if isinstance(report, WrittenMatrix))
    if not found:
        raise LifecycleError(
            "nothing was reported: only methods that write by pulses do, such as "
            "mho.program(model, method=mho.WriteVerify()), and a chip instance that was loaded "
            "from a file has no report."
        )
    return ProgrammingReport(found)
