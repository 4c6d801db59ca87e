"""The result of an evaluation: a table with confidence intervals that plots itself."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RangeError
from ..spec import format_seconds, render_table

ISO = 0.99  # normalized accuracy above which a model is iso-accurate (Rasch et al. 2023)


def normalized_accuracy(score: Any, digital: float, chance: float) -> Any:
    """Return A* = 1 - (err - err_digital) / (err_chance - err_digital), 1 for the digital model.

    With accuracies instead of errors, A* = (score - chance) / (digital - chance). Source: Rasch et
    al., Nat. Commun. 14:5282 (2023), Methods.

    Raises:
        RangeError: the digital score equals chance.
    """
    if digital == chance:
        raise RangeError(
            f"the digital score {digital} equals chance: the normalized accuracy has no meaning."
        )
    return (score - chance) / (digital - chance)


def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation over the first axis; nan for a single value."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return values.std(axis=0, ddof=1)


def half_width(values: NDArray[np.float64], confidence: float = 0.95) -> NDArray[np.float64]:
    """Return half the confidence interval of the mean over axis 0, t_{n-1} std / sqrt(n)."""
    from scipy.stats import t

    n = len(values)
    return t.ppf(0.5 + confidence / 2, max(n - 1, 1)) * spread(values) / np.sqrt(n)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of chip instances over time.

    Attributes:
        times: seconds since programming.
        seeds: seed of each chip instance.
        scores: (instances, times).
        digital: score of the digital model.
        compensation: digital correction before each score.
        chance: score of guessing, if known.
    """

    times: tuple[float, ...]
    seeds: tuple[int, ...]
    scores: NDArray[np.float64]
    digital: float
    compensation: str
    chance: float | None = None

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over instances, for each time."""
        return self.scores.mean(axis=0)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation over instances, for each time; nan for a single instance."""
        return spread(self.scores)

    def half_width(self, confidence: float = 0.95) -> NDArray[np.float64]:
        """Half the width of the mean's confidence interval, for each time."""
        return half_width(self.scores, confidence)

    def normalized(self) -> NDArray[np.float64]:
        """Normalized accuracy A* of every score, (instances, times); needs `chance`."""
        if self.chance is None:
            raise RangeError(
                "the normalized accuracy needs `chance`, the score of guessing: "
                "evaluate(..., chance=0.1)."
            )
        return normalized_accuracy(self.scores, self.digital, self.chance)

    def iso_accurate(self) -> NDArray[np.bool_]:
        """Whether the mean A* is above 99 %, for each time."""
        return self.normalized().mean(axis=0) > ISO

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per time with the figures of the table."""
        width, rows = self.half_width(), []
        for k, time in enumerate(self.times):
            row: dict[str, Any] = {"time": format_seconds(time), "seconds": time}
            row |= {"mean": self.mean[k], "half_width_95": width[k], "std": self.std[k]}
            row |= {"min": self.scores[:, k].min(), "max": self.scores[:, k].max()}
            row["digital_minus_mean"] = self.digital - self.mean[k]
            if self.chance is not None:
                star = self.normalized()[:, k].mean()
                row |= {"normalized": star, "iso_accurate": bool(star > ISO)}
            rows.append(row)
        return rows

    def table(self) -> str:
        """Return the table as text."""
        header = ["time", "mean", "95 % interval", "std", "worst", "best", "lost"]
        header += ["A*", "iso"] if self.chance is not None else []
        body = []
        for row in self.rows():
            low, high = row["mean"] - row["half_width_95"], row["mean"] + row["half_width_95"]
            cells = [
                row["time"],
                f"{row['mean']:.4f}",
                f"{low:.4f} to {high:.4f}",
                f"{row['std']:.4f}",
            ]
            cells += [f"{row['min']:.4f}", f"{row['max']:.4f}", f"{row['digital_minus_mean']:+.4f}"]
            if self.chance is not None:
                cells += [f"{row['normalized']:.1%}", "yes" if row["iso_accurate"] else "no"]
            body.append(cells)
        title = (
            f"digital {self.digital:.4f}; {len(self.seeds)} chips, "
            f"compensation {self.compensation}, seeds {self.seeds[0]} to {self.seeds[-1]}"
        )
        return render_table(title, header, body)

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw score over time with the interval and every chip; return the figure, or save it."""
        from ._plot import plot_evaluation, save

        figure = plot_evaluation({self.compensation: self})
        return figure if path is None else save(figure, path)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line per chip and time."""
        target = Path(path)
        with target.open("w", newline="", encoding="utf8") as file:
            writer = csv.writer(file)
            writer.writerow(["seed", "seconds", "time", "score", "digital", "compensation"])
            for i, seed in enumerate(self.seeds):
                for k, time in enumerate(self.times):
                    score = repr(float(self.scores[i, k]))
                    writer.writerow(
                        [seed, time, format_seconds(time), score, self.digital, self.compensation]
                    )
        return target

    def to_html(self, path: str | Path) -> Path:
        """Write a page of its own with the table and the plot."""
        from ._plot import evaluation_page

        target = Path(path)
        target.write_text(evaluation_page(self), encoding="utf8")
        return target
