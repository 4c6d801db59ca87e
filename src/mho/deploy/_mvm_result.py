"""The result of measuring a matrix product: a table of relative errors that plots itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spec import format_seconds, render_table
from ._result import half_width, spread


@dataclass(frozen=True, eq=False)
class MvmError:
    """Relative L2 errors |y - y_exact| / |y_exact| of a matrix product; prints as a table.

    Attributes:
        times: seconds since programming.
        seeds: seed of each instance: its weights, inputs and chip.
        errors: (instances, times).
        arrays: the same for the partial product of each array, (instances, times, row-slices,
            column-slices).
        shape: (out, rows) of the matrix.
        inputs: the law of the inputs.
        compensation: digital correction before each product.
    """

    times: tuple[float, ...]
    seeds: tuple[int, ...]
    errors: NDArray[np.float64]
    arrays: NDArray[np.float64]
    shape: tuple[int, int]
    inputs: str
    compensation: str

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over instances, for each time."""
        return self.errors.mean(axis=0)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation over instances, for each time; nan for a single instance."""
        return spread(self.errors)

    def half_width(self, confidence: float = 0.95) -> NDArray[np.float64]:
        """Half the width of the mean's confidence interval, for each time."""
        return half_width(self.errors, confidence)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per time with the figures of the table."""
        width, arrays, found = self.half_width(), self.arrays.mean(axis=0), []
        for k, time in enumerate(self.times):
            row: dict[str, Any] = {"time": format_seconds(time), "seconds": time}
            row |= {"error": self.mean[k], "half_width_95": width[k], "std": self.std[k]}
            row |= {"best_array": arrays[k].min(), "worst_array": arrays[k].max()}
            found.append(row)
        return found

    def table(self) -> str:
        """Return the table as text."""
        count = self.arrays[0, 0].size
        header = ["time", "relative L2 error", "95 % interval", "std"]
        header += ["best array", "worst array"] if count > 1 else []
        body = []
        for row in self.rows():
            low, high = row["error"] - row["half_width_95"], row["error"] + row["half_width_95"]
            cells = [row["time"], f"{row['error']:.4f}", f"{low:.4f} to {high:.4f}"]
            cells += [f"{row['std']:.4f}"]
            cells += [f"{row[key]:.4f}" for key in ("best_array", "worst_array") if count > 1]
            body.append(cells)
        title = (
            f"{self.shape[0]}x{self.shape[1]} on {count} array{'s'[: count - 1]}, "
            f"{self.inputs} inputs, "
            f"{len(self.seeds)} instances, compensation {self.compensation}"
        )
        return render_table(title, header, body)

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw error over time with its interval and every instance; return or save the figure."""
        from ._plot import new_figure, save

        figure = new_figure()
        axes = figure.add_subplot()
        order = np.argsort(self.times)
        # A logarithmic axis has no zero: freshly programmed is drawn a decade before 1 s.
        x = np.maximum(self.times, 0.1)[order]
        axes.errorbar(x, self.mean[order], np.nan_to_num(self.half_width())[order], fmt="o-")
        axes.plot(x, self.errors[:, order].T, "C0.", alpha=0.3, markersize=4)
        axes.set_xscale("log")
        labels = ["programmed" if t == 0.1 else format_seconds(t) for t in x]
        axes.set_xticks(x, labels, rotation=30)
        axes.minorticks_off()
        axes.set_ylim(0, 1.1 * self.errors.max())
        axes.set_xlabel("time since programming")
        axes.set_ylabel("relative L2 error, with 95 % interval")
        axes.grid(alpha=0.3)
        return figure if path is None else save(figure, path)
