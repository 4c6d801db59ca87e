"""How the writing of a model's cells went."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..errors import LifecycleError
from ..spec import render_table
from ._model import programmed


@dataclass(frozen=True, eq=False)
class WrittenMatrix:
    """One weight matrix. Errors and tolerance are in units of full scale, g_max.

    Attributes:
        name: of the weight.
        shape: (out, rows).
        full_scale: relative weight of the pulsed devices that stands for g_max.
        step: of the mean cell at weight 0, in units of full scale.
        tolerance: largest accepted distance of a read from its target.
        error: root mean square of (weight - target) over all cells at the end. It is the cells'
            own, not that of the noisy reads.
        errors: the same over the cells within reach, before the first pulse and after each round.
        inside: share of cells that were read within the tolerance, likewise.
        pulses_up: pulses up in all; `pulses_down` likewise.
        most_pulses: that any device got.
        stuck: cells that cannot move and are not within the tolerance, (out, rows).
        out_of_bounds: cells that move, but whose bounds end before the tolerance, (out, rows).
        outside: cells that the last read showed outside of the tolerance, (out, rows).
    """

    name: str
    shape: tuple[int, int]
    full_scale: float
    step: float
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

    @property
    def iterations(self) -> int:
        """Rounds of pulses."""
        return len(self.errors) - 1

    @property
    def unreachable(self) -> NDArray[np.bool_]:
        """Cells that no pulses bring to their targets, (out, rows)."""
        return self.stuck | self.out_of_bounds


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
        return sum(m.pulses_up + m.pulses_down for m in self.matrices)

    def __str__(self) -> str:
        rows = [
            (
                m.name,
                "x".join(map(str, m.shape)),
                f"{m.step:.2%}",
                f"{m.tolerance:.2%}",
                f"{m.error:.2%}",
                f"{m.errors[-1]:.2%}",
                f"{m.inside[-1]:.1%}",
                str(m.iterations),
                str(m.pulses_up),
                str(m.pulses_down),
                str(int(m.stuck.sum())),
                str(int(m.out_of_bounds.sum())),
            )
            for m in self.matrices
        ]
        header = ("matrix", "out x rows", "step", "tolerance", "error", "of reachable", "inside")
        header += ("rounds", "pulses up", "down", "stuck", "out of bounds")
        title = (
            f"written and verified: error {self.error:.2%} of full scale, {self.pulses} pulses, "
            f"{self.unreachable} cells out of reach"
        )
        return render_table(title, header, rows)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw error and share inside over the rounds; return the figure, or save it."""
        from ._plot import new_figure, save

        figure = new_figure(9.0, 4.0)
        left, right = figure.subplots(1, 2)
        for k, matrix in enumerate(self.matrices):
            rounds, color = range(len(matrix.errors)), f"C{k}"
            left.plot(rounds, matrix.errors, "o-", color=color, label=matrix.name, markersize=3)
            left.axhline(matrix.tolerance, color=color, linestyle=":")
            right.plot(rounds, matrix.inside, "o-", color=color, markersize=3)
        left.set_yscale("log")
        left.set_ylabel("rms error of reachable cells (dotted: tolerance)")
        right.set_ylabel("share of cells read inside the tolerance")
        right.set_ylim(0, 1.02)
        left.legend(frameon=False)
        for axes in (left, right):
            axes.set_xlabel("rounds of pulses")
            axes.grid(alpha=0.3)
        return figure if path is None else save(figure, path)


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
            "nothing was reported: only mho.program(model, method=mho.WriteVerify()) reports, and "
            "a chip instance that was loaded from a file has no report."
        )
    return ProgrammingReport(found)
