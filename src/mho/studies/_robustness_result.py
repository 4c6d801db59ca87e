"""The result of a noise sweep: normalized accuracies with intervals, and their average."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deploy import half_width, new_figure, normalized_accuracy, save
from ..spec import render_table
from ._noise_targets import NoisyTensor, RelativeTo


def decibels(noise_level: float) -> float:
    """Return SNR_dB = -20 log10(eta) of noise with eta times the standard deviation of weights."""
    return math.inf if noise_level == 0 else -20 * math.log10(noise_level)


@dataclass(frozen=True, eq=False)
class Robustness:
    """Scores of a model with noise on its weights; prints as a table.

    Attributes:
        noise_levels: eta.
        scores: (draws, levels).
        digital: score without noise.
        tensors: what got noise.
        targets: how they were chosen.
        relative_to: what the levels are relative to.
        chance: score of guessing.
    """

    noise_levels: tuple[float, ...]
    scores: NDArray[np.float64]
    digital: float
    tensors: tuple[NoisyTensor, ...]
    targets: str
    relative_to: RelativeTo
    chance: float = 0.0

    @property
    def normalized(self) -> NDArray[np.float64]:
        """a_norm of every score, (draws, levels), 1 for the digital model."""
        return normalized_accuracy(self.scores, self.digital, self.chance)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean a_norm over draws, for each level."""
        return self.normalized.mean(axis=0)

    def half_width(self, confidence: float = 0.95) -> NDArray[np.float64]:
        """Half the width of the confidence interval of `mean`; nan for a single draw."""
        return half_width(self.normalized, confidence)

    @property
    def average(self) -> float:
        """A_avg, the mean of a_norm over the levels of this sweep."""
        return float(self.mean.mean())

    def average_half_width(self, confidence: float = 0.95) -> float:
        """Half the width of the confidence interval of `average`, from the average of each draw."""
        return float(half_width(self.normalized.mean(axis=1), confidence))

    def levels_of(self, tensor: str, relative_to: RelativeTo) -> NDArray[np.float64]:
        """Return the levels of one tensor in another convention, such as eta sigma_w / max|w|."""
        about = next(t for t in self.tensors if t.name == tensor)
        factor = about.unit(self.relative_to) / about.unit(relative_to)
        return np.array(self.noise_levels) * factor

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per level with the figures of the table."""
        width, rows = self.half_width(), []
        for k, level in enumerate(self.noise_levels):
            row: dict[str, Any] = {"noise_level": level}
            if self.relative_to == "std":
                row["snr_db"] = decibels(level)
            row |= {"normalized": self.mean[k], "half_width_95": width[k]}
            scores = self.scores[:, k]
            rows.append(row | {"score": scores.mean(), "min": scores.min(), "max": scores.max()})
        return rows

    def table(self) -> str:
        """Return the table as text."""
        header = ["noise", "normalized", "95 % interval", "score", "worst", "best"]
        header[1:1] = ["SNR"] if self.relative_to == "std" else []
        body = []
        for row in self.rows():
            low, high = (row["normalized"] + s * row["half_width_95"] for s in (-1, 1))
            cells = [f"{row['noise_level']:.4g}"]
            cells += [f"{row['snr_db']:.1f} dB"] if self.relative_to == "std" else []
            cells += [f"{row['normalized']:.2%}", f"{low:.2%} to {high:.2%}"]
            body.append([*cells, *(f"{row[key]:.4f}" for key in ("score", "min", "max"))])
        title = (
            f"noise on {self.targets} ({len(self.tensors)} tensors) relative to their "
            f"{self.relative_to}; digital {self.digital:.4f}, {len(self.scores)} draws"
        )
        width = self.average_half_width()
        return "\n".join([
            render_table(title, header, body),
            f"average over the levels: {self.average:.2%} ± {width:.2%} (95 % interval)",
        ])  # fmt: skip

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw a_norm over the noise level with its interval; return the figure, or save it."""
        figure = plot_robustness({self.targets: self})
        return figure if path is None else save(figure, path)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line per draw and level."""
        target = Path(path)
        with target.open("w", newline="", encoding="utf8") as file:
            writer = csv.writer(file)
            writer.writerow(["draw", "noise_level", "relative_to", "targets", "score", "digital"])
            for (draw, k), score in np.ndenumerate(self.scores):
                settings = [self.noise_levels[k], self.relative_to, self.targets]
                writer.writerow([draw, *settings, repr(float(score)), self.digital])
        return target


def plot_robustness(results: Mapping[str, Robustness]) -> Any:
    """Draw sweeps of one kind in one figure: mean with its interval, and every draw as a dot."""
    figure = new_figure()
    axes = figure.add_subplot()
    for k, (label, result) in enumerate(results.items()):
        order = np.argsort(result.noise_levels)
        x = 100 * np.array(result.noise_levels)[order]
        mean, width = 100 * result.mean[order], 100 * np.nan_to_num(result.half_width()[order])
        average = f"{label}: average {result.average:.1%}"
        axes.plot(x, mean, "o-", color=f"C{k}", label=average, markersize=4)
        axes.fill_between(x, mean - width, mean + width, alpha=0.2, color=f"C{k}")
        for draw in result.normalized:
            axes.plot(x, 100 * draw[order], ".", color=f"C{k}", alpha=0.3, markersize=4)
    units = {"std": "standard deviation", "max": "largest magnitude", "range": "range"}
    names = {units[result.relative_to] for result in results.values()}
    axes.set_xlabel(f"noise level, % of each tensor's {' or '.join(sorted(names))}")
    axes.set_ylabel("normalized accuracy, % (band: 95 % interval)")
    axes.legend(frameon=False, loc="lower left")
    axes.grid(alpha=0.3)
    return figure
