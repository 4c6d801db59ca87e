"""The result of a sensitivity study: per effect at equal error, tolerances, and per layer."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..deploy import half_width, normalized_accuracy, save
from ..spec import format_seconds, render_table

Scores = NDArray[np.float64]
NONE = np.empty(0)


@dataclass(frozen=True, eq=False)
class MatchedEffect:
    """One effect alone, scaled until a matrix product has the common error.

    Attributes:
        name: of the effect.
        multiple: of its strength in the given hardware; nan if the error is out of reach.
        error: relative L2 error of the product at this multiple, or the nearest within reach.
        setting: the hardware's fields at this multiple, in words.
        scores: of each chip with this effect only; empty if the error is out of reach.
        note: why there are no scores.
    """

    name: str
    multiple: float
    error: float
    setting: str
    scores: Scores
    note: str = ""


@dataclass(frozen=True, eq=False)
class Tolerance:
    """How far one effect of the given hardware can grow until the model is not good enough.

    Attributes:
        name: of the effect.
        multiple: the largest found of its given strength at which the model is good enough; 0 if
            there is none, nan if the effect has no strength to scale.
        above: the smallest found at which it is not; inf if there is none.
        setting: the hardware's fields at `multiple`, in words.
        scores: of each chip at `multiple`.
        note: what else there is to know.
    """

    name: str
    multiple: float
    above: float
    setting: str
    scores: Scores
    note: str = ""


@dataclass(frozen=True, eq=False)
class LayerSensitivity:
    """What one weight matrix costs on arrays.

    Attributes:
        name: of the weight.
        share: of the weights on arrays.
        alone: scores of each chip with only this matrix on arrays.
        exempt: scores of each chip with all but this matrix on arrays.
    """

    name: str
    share: float
    alone: Scores
    exempt: Scores


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What hurts a model on its hardware, and by how much one can relax it; prints as tables.

    Attributes:
        digital: score of the digital model.
        scores: of each chip of the given hardware.
        matched: each effect alone at the common error, most harmful first.
        tolerances: how far each effect can grow, least tolerated first.
        layers: what each weight matrix costs, most harmful first.
        digital_layers: the fewest weights found, most harmful first, that bring the model to the
            threshold when they stay digital; None if not asked for.
        absent: effects that the hardware has not.
        target_error: the common error.
        threshold: normalized score at which a model is good enough.
        chance: score of guessing.
        time: since programming, in seconds.
        compensation: digital correction before each score.
    """

    digital: float
    scores: Scores
    matched: tuple[MatchedEffect, ...]
    tolerances: tuple[Tolerance, ...]
    layers: tuple[LayerSensitivity, ...]
    digital_layers: tuple[str, ...] | None
    absent: tuple[str, ...]
    target_error: float
    threshold: float
    chance: float
    time: float
    compensation: str

    def normalized(self, scores: Scores) -> Scores:
        """Return A* of scores."""
        return normalized_accuracy(scores, self.digital, self.chance)

    def loss(self, scores: Scores) -> tuple[float, float]:
        """Return the mean of 1 - A* over chips, and half its 95 % interval."""
        lost = 1 - self.normalized(scores)
        return float(lost.mean()), float(half_width(lost))

    def gain(self, layer: LayerSensitivity) -> tuple[float, float]:
        """Return the mean rise of A* when one layer is digital, and half its 95 % interval.

        The same chips with and without the layer are compared, one by one.
        """
        gained = self.normalized(layer.exempt) - self.normalized(self.scores)
        return float(gained.mean()), float(half_width(gained))

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """One mapping per effect and layer with the figures of the tables, by table."""
        found: dict[str, list[dict[str, Any]]] = {"effects": [], "tolerances": [], "layers": []}
        for effect in self.matched:
            lost, width = self.loss(effect.scores) if effect.scores.size else (math.nan,) * 2
            row = {"effect": effect.name, "multiple": effect.multiple, "error": effect.error}
            row |= {"lost": lost, "half_width_95": width}
            found["effects"].append({**row, "setting": effect.setting, "note": effect.note})
        for item in self.tolerances:
            row = {"effect": item.name, "multiple": item.multiple, "above": item.above}
            found["tolerances"].append({**row, "setting": item.setting, "note": item.note})
        for layer in self.layers:
            (lost, width), (gained, width2) = self.loss(layer.alone), self.gain(layer)
            row = {"weight": layer.name, "share": layer.share}
            row |= {"lost_alone": lost, "half_width_95": width}
            found["layers"].append({**row, "gained_digital": gained, "gain_half_width_95": width2})
        return found

    def table(self) -> str:
        """Return the tables as text."""
        rows, parts = self.rows(), [self._head()]
        if self.matched:
            parts.append(self._matched_table(rows["effects"]))
        if self.tolerances:
            parts.append(self._tolerance_table(rows["tolerances"]))
        if self.layers:
            parts.append(self._layer_table(rows["layers"]))
        if self.digital_layers is not None:
            parts.append(self._advice())
        if self.absent:
            parts.append(f"Not in this hardware: {', '.join(self.absent)}.")
        return "\n".join(parts)

    def __str__(self) -> str:
        return self.table()

    def _head(self) -> str:
        lost, width = self.loss(self.scores)
        return (
            f"digital {self.digital:.4f}; on {len(self.scores)} chips, "
            f"{format_seconds(self.time)} after programming, compensation {self.compensation}: "
            f"A* {1 - lost:.2%} ± {width:.2%}"
        )

    def _matched_table(self, rows: list[dict[str, Any]]) -> str:
        title = f"Each effect alone at a product error of {self.target_error:.0%}"
        body = [
            [
                row["effect"],
                "" if math.isnan(row["multiple"]) else f"{row['multiple']:.3g}x",
                "" if math.isnan(row["error"]) else f"{row['error']:.1%}",
                row["note"] or f"{row['lost']:.2%} ± {row['half_width_95']:.2%}",
                row["setting"],
            ]
            for row in rows
        ]
        header = ("effect", "strength", "error", "lost A* (95 % interval)", "with")
        return render_table(title, header, body)

    def _tolerance_table(self, rows: list[dict[str, Any]]) -> str:
        title = f"How far one effect can grow until A* is below {self.threshold:.0%}"
        body = [
            [row["effect"], _multiple(row["multiple"], row["above"]), row["setting"], row["note"]]
            for row in rows
        ]
        return render_table(title, ("effect", "tolerated", "with", "note"), body)

    def _layer_table(self, rows: list[dict[str, Any]]) -> str:
        title = "Each layer: on arrays alone, and left digital alone"
        body = [
            [
                row["weight"],
                f"{row['share']:.1%}",
                f"{row['lost_alone']:.2%} ± {row['half_width_95']:.2%}",
                f"{row['gained_digital']:+.2%} ± {row['gain_half_width_95']:.2%}",
            ]
            for row in rows
        ]
        header = ("weight", "share", "lost A* alone on arrays", "gained A* if digital")
        return render_table(title, header, body)

    def _advice(self) -> str:
        names = self.digital_layers or ()
        if not names:
            return f"All layers on arrays: A* is at least {self.threshold:.0%}."
        share = sum(layer.share for layer in self.layers if layer.name in names)
        return (
            f"Digital {', '.join(names)} ({share:.1%} of the weights) bring A* to at least "
            f"{self.threshold:.0%}."
        )

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw bars per effect and per layer; return the figure, or save it."""
        from ._sensitivity_plot import draw

        figure = draw(self)
        return figure if path is None else save(figure, path)


def _multiple(multiple: float, above: float) -> str:
    if math.isnan(multiple):
        return ""
    if multiple == 0:
        return "none"
    return f"{multiple:.3g}x" if math.isfinite(above) else f"more than {multiple:.3g}x"
