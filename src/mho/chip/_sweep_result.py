"""The result of a sweep: a table, the Pareto front, files."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..deploy import half_width, new_figure, save
from ..errors import RangeError
from ..spec import Spec, format_quantity, render_table

Figure = Literal["energy", "latency", "area"]
UNITS = {"energy": "J", "latency": "s", "area": "m^2"}


@dataclass(frozen=True)
class Point:
    """One variant of the chip.

    Attributes:
        values: what was varied.
        scores: of each chip instance.
        digital: score of the digital model.
        energy: of one input [J].
        latency: of one input on the idle chip [s].
        throughput: inputs per second.
        area: of the chip [m^2].
    """

    values: dict[str, Any]
    scores: tuple[float, ...]
    digital: float
    energy: float
    latency: float
    throughput: float
    area: float

    @property
    def score(self) -> float:
        """Mean over chip instances."""
        return float(np.mean(self.scores))

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of the mean; nan for a single instance."""
        return float(half_width(np.array(self.scores)))

    @property
    def label(self) -> str:
        """What was varied, in words."""
        return ", ".join(f"{path}={value}" for path, value in self.values.items())


@dataclass(frozen=True)
class Sweep:
    """Accuracy and cost of variants of a chip.

    Attributes:
        paths: what was varied.
        points: one for every combination.
        instances: chip instances of each.
        seed: of the first instance.
    """

    paths: tuple[str, ...]
    points: tuple[Point, ...]
    instances: int
    seed: int

    def pareto(self, against: Figure = "energy") -> list[Point]:
        """Return the points that no other beats in score without costing more, cheapest first.

        Raises:
            RangeError: an unknown figure.
        """
        if against not in UNITS:
            raise RangeError(f"unknown figure {against!r}: use {', '.join(UNITS)}.")
        front: list[Point] = []
        for point in sorted(self.points, key=lambda p: (getattr(p, against), -p.score)):
            if not front or point.score > front[-1].score:
                front.append(point)
        return front

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per variant, in SI units."""
        front = {id(point) for point in self.pareto()}
        return [
            {
                **p.values, "score": p.score, "half_width_95": p.half_width, "digital": p.digital,
                "energy": p.energy, "latency": p.latency, "throughput": p.throughput,
                "area": p.area, "pareto": id(p) in front,
            }
            for p in self.points
        ]  # fmt: skip

    def table(self) -> str:
        """Return the table as text."""
        header = (*self.paths, "score", "energy", "latency", "inputs/s", "area", "Pareto")
        front = {id(point) for point in self.pareto()}
        body = [
            (
                *(str(p.values[path]) for path in self.paths),
                f"{p.score:.4f} ± {p.half_width:.4f}" if len(p.scores) > 1 else f"{p.score:.4f}",
                format_quantity(p.energy, "J"), format_quantity(p.latency, "s"),
                f"{p.throughput:.4g}", f"{p.area * 1e6:.3g} mm^2", "*" if id(p) in front else "",
            )
            for p in self.points
        ]  # fmt: skip
        title = (
            f"digital {self.points[0].digital:.4f}; {self.instances} chip instances each, "
            f"seeds {self.seed} to {self.seed + self.instances - 1}"
        )
        return render_table(title, header, body)

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path | None = None, against: Figure = "energy") -> Any:
        """Draw score against a figure, with the Pareto front; return the figure, or save it."""
        figure = new_figure(7.0, 4.6)
        axes, front = figure.add_subplot(), self.pareto(against)
        scale, unit = _unit(against, max(getattr(p, against) for p in self.points))
        first, groups = self.paths[0], {}
        for point in self.points:
            groups.setdefault(str(point.values[first]), []).append(point)
        for k, (value, points) in enumerate(groups.items()):
            x = [scale * getattr(p, against) for p in points]
            width = np.nan_to_num([p.half_width for p in points])
            axes.errorbar(x, [p.score for p in points], width, fmt="o", color=f"C{k % 10}",
                          capsize=2, markersize=5, label=f"{first} = {value}")  # fmt: skip
        x = [scale * getattr(p, against) for p in front]
        axes.step(x, [p.score for p in front], where="post", color="0.4", linewidth=1, zorder=0,
                  label="Pareto front")  # fmt: skip
        axes.axhline(self.points[0].digital, color="0.3", linestyle="--", linewidth=1,
                     label=f"digital {self.points[0].digital:.3f}")  # fmt: skip
        if len(self.paths) > 1:
            for point in front:
                rest = ", ".join(str(point.values[path]) for path in self.paths[1:])
                axes.annotate(rest, (scale * getattr(point, against), point.score), fontsize=7,
                              xytext=(4, -9), textcoords="offset points")  # fmt: skip
        axes.set_xlabel(f"{against} of one input [{unit}]" if against != "area" else "area [mm²]")
        axes.set_ylabel("score (bar: 95 % interval of the mean)")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes.grid(alpha=0.3)
        return figure if path is None else save(figure, path)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line per variant, in SI units."""
        target, rows = Path(path), self.rows()
        with target.open("w", newline="", encoding="utf8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return target

    def to_json(self, path: str | Path) -> Path:
        """Write the variants with the score of every instance, in SI units."""
        target = Path(path)
        content = {
            "instances": self.instances,
            "seed": self.seed,
            "points": [vars(point) for point in self.points],
        }
        text = json.dumps(content, indent=1, allow_nan=False, default=_plain)
        target.write_text(text, encoding="utf8")
        return target


def _plain(value: Any) -> Any:
    """A part of the hardware that was varied as a whole is written as its fields."""
    return value.model_dump(mode="json") if isinstance(value, Spec) else str(value)


def _unit(against: Figure, largest: float) -> tuple[float, str]:
    """Return what to multiply SI numbers with, and the unit that they then have."""
    if against == "area":
        return 1e6, "mm²"
    prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
    size, prefix = next((p for p in prefixes if largest >= p[0]), (1e-12, "p"))
    return 1 / size, prefix + UNITS[against]
