"""What `mho.optimize_mapping` found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deploy import half_width, new_figure, save
from ..mapping import Mapping, Table
from ..spec import format_seconds, render_table


@dataclass(frozen=True, eq=False)
class OptimizedMapping:
    """A table of conductances, and its errors on chips that the search did not see.

    Attributes:
        mapping: goes into a `Hardware`, `hardware.with_fields(mapping=result.mapping)`.
        baseline: pairs that are filled one after another.
        times: since programming [s].
        errors: relative error of the weights, (instances, times).
        baseline_errors: the same for the baseline, on the same chips.
        loss: mean error over the times on the chip of the search.
        evaluations: tables that were tried.
        compensation: `global` or `none`.
    """

    mapping: Table
    baseline: Mapping
    times: tuple[float, ...]
    errors: NDArray[np.float64]
    baseline_errors: NDArray[np.float64]
    loss: float
    evaluations: int
    compensation: str

    @property
    def gain(self) -> NDArray[np.float64]:
        """Part of the baseline's mean error over time that the table takes away, (instances,)."""
        return 1 - self.errors.mean(1) / self.baseline_errors.mean(1)

    @property
    def slope(self) -> float:
        """Signal of the largest weight, as a part of what the devices' range could give."""
        factors = np.array(self.mapping.factors)
        last = np.array([device[-1] for device in self.mapping.devices])
        return float((factors * last).sum() / factors[factors > 0].sum())

    def __str__(self) -> str:
        rows = [
            (format_seconds(t), f"{a:.2%}", f"{b:.2%}", f"{1 - a / b:+.1%}")
            for t, a, b in zip(
                self.times, self.errors.mean(0), self.baseline_errors.mean(0), strict=True
            )
        ]
        table = render_table("optimized mapping", ("time", "error", "pairs", "less by"), rows)
        return (
            f"{table}\n{self.gain.mean():+.1%} ± {_width(self.gain):.1%} of the error is gone on "
            f"{len(self.errors)} other chips; {self.slope:.0%} of the range is used"
        )

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the table and the errors over time; return the figure, or save it."""
        figure = new_figure(9.0, 4.0)
        left, right = figure.subplots(1, 2)
        for k, (factor, device) in enumerate(
            zip(self.mapping.factors, self.mapping.devices, strict=True)
        ):
            style = "o-" if factor > 0 else "s--"
            label = f"{factor:+.2f}"
            left.plot(self.mapping.points, device, style, color=f"C{k // 2}", label=label)
        left.set_xticks([-1, -0.5, 0, 0.5, 1])
        left.set_xlabel("relative weight")
        left.set_ylabel("relative conductance")
        left.legend(frameon=False, title="device's factor")
        x = np.maximum(self.times, 0.1)  # a logarithmic axis has no zero
        drawn = (("pairs", self.baseline_errors, "s--"), ("optimized", self.errors, "o-"))
        for label, found, style in drawn:
            widths = np.array([_width(column) for column in found.T])
            size = 8 if style == "s--" else 4  # both are seen where they agree
            right.errorbar(
                x, 100 * found.mean(0), 100 * widths,
                fmt=style, markersize=size, capsize=size / 2, label=label,
            )  # fmt: skip
        right.set_xscale("log")
        right.set_xlabel("time since programming, s")
        right.set_ylabel("relative error of weights, % (95 % interval)")
        right.set_ylim(0, None)
        right.legend(frameon=False)
        for axes in (left, right):
            axes.grid(alpha=0.3)
        return figure if path is None else save(figure, path)


def _width(values: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean; 0 for a single value."""
    return float(half_width(values)) if len(values) > 1 else 0.0
