"""The result of a diagnosis: which effect makes which layer inexact."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..spec import render_table
from ._effects import EFFECTS

_REMEDIES = {effect.name: effect.remedy for effect in EFFECTS}


def decibels(error: float) -> float:
    """Return the signal-to-noise ratio -10 log10(error) of a relative error power, inf for 0."""
    return -10 * math.log10(error) if error > 0 else math.inf


def _text(error: float) -> str:
    # Below this the products differ by rounding errors of single precision only.
    return f"{decibels(error):.1f} dB" if error > 1e-12 else "exact"


@dataclass(frozen=True)
class LayerDiagnosis:
    """What one weight matrix does to the inputs that it gets in the digital model.

    Powers are mean squares over the layer's outputs; error powers are relative to the signal, so
    that a relative L2 error e is a power e^2.

    Attributes:
        name: the weight.
        shape: (out, rows).
        arrays: arrays taken.
        utilization: used share of their cells.
        vectors: input vectors that were looked at (whole inputs of a convolution).
        signal: power of the exact product, in the model's units.
        error: relative power of analog minus exact.
        alone: relative power of the error that each effect makes with all others off.
        without: relative power of the error that is left with that effect off.
        clipped: share of the inputs beyond the input range.
        saturated: share of the ADC's readings at its bound.
    """

    name: str
    shape: tuple[int, int]
    arrays: int
    utilization: float
    vectors: int
    signal: float
    error: float
    alone: Mapping[str, float]
    without: Mapping[str, float]
    clipped: float
    saturated: float

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio in dB."""
        return decibels(self.error)

    @property
    def shares(self) -> dict[str, float]:
        """Error of each effect alone over the whole error, largest first.

        Effects that add independently have shares that add to 1.
        """
        ranked = sorted(self.alone, key=lambda name: -self.alone[name])
        return {name: self.alone[name] / self.error if self.error else 0.0 for name in ranked}

    @property
    def cause(self) -> str | None:
        """The effect with the largest share, or None where the layer is exact."""
        return next(iter(self.shares), None) if self.error > 1e-12 else None

    @property
    def together(self) -> float:
        """What the shares leave to 1: above 0 where effects strengthen each other, else below."""
        return 1 - sum(self.shares.values())

    def row(self) -> list[str]:
        """Return the layer's line of the table."""
        out, rows = self.shape
        causes = [f"{name} {share:.0%}" for name, share in self.shares.items() if share >= 0.01]
        if self.cause and abs(self.together) >= 0.05:
            causes.append(f"acting together {self.together:+.0%}")
        return [
            self.name,
            _text(self.error),
            ", ".join(causes) if self.cause else "",
            _text(self.without[self.cause]) if self.cause else "",
            f"{self.clipped:.2%}",
            f"{self.saturated:.2%}",
            f"{out}x{rows} on {self.arrays} ({self.utilization:.0%} used)",
        ]


@dataclass(frozen=True)
class Diagnosis:
    """Why a model is less accurate on its arrays; prints as a table with the worst layer first.

    Attributes:
        layers: in the model's order.
        stage: chip and time, or that nothing is programmed.
        notes: what to know about the figures.
        unreached: weights whose layer never ran on the data, or only with outputs of zero.
    """

    layers: tuple[LayerDiagnosis, ...]
    stage: str
    notes: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()

    @property
    def worst(self) -> LayerDiagnosis:
        """The layer with the lowest signal-to-noise ratio."""
        return max(self.layers, key=lambda layer: layer.error)

    @property
    def causes(self) -> dict[str, int]:
        """In how many layers each effect has the largest share, most frequent first."""
        return dict(Counter(layer.cause for layer in self.layers if layer.cause).most_common())

    def verdict(self) -> str:
        """Say in words what costs most, and what helps against it."""
        worst = self.worst
        if worst.cause is None:
            return "Every layer computes exactly: a lost score does not come from the arrays."
        shares, left = worst.shares, worst.without[worst.cause]
        often, count = next(iter(self.causes.items()))
        return (
            f"Worst is {worst.name}: {worst.error:.2%} of its signal's power is error "
            f"(SNR {_text(worst.error)}). {shares[worst.cause]:.0%} of that error is what "
            f"{worst.cause} makes alone; without it the SNR would be {_text(left)}. "
            f"What helps: {_REMEDIES[worst.cause]}.\n"
            f"The most frequent largest cause is {often}, in {count} of {len(self.layers)} layers."
        )

    def table(self) -> str:
        """Return the table and the verdict as text."""
        header = ("weight", "SNR", "shares of the error", "without the first")
        header += ("clipped", "saturated", "out x rows on arrays")
        ranked = sorted(self.layers, key=lambda layer: -layer.error)
        title = f"Why did accuracy drop? Worst layer first; {self.stage}"
        missing = [f"not reached by this data: {name}" for name in self.unreached]
        parts = [render_table(title, header, [layer.row() for layer in ranked]), self.verdict()]
        return "\n".join([*parts, *self.notes, *missing])

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, with the ratio in dB as None where a layer is exact."""
        layers = []
        for layer in self.layers:
            ratio = layer.snr if math.isfinite(layer.snr) else None
            layers.append({**asdict(layer), "snr_db": ratio, "shares": layer.shares})
        return {**asdict(self), "layers": layers}

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the error of each effect alone as stacked bars; return the figure, or save it."""
        from ._plot import save

        figure = _draw(self.layers)
        return figure if path is None else save(figure, path)


def _draw(layers: tuple[LayerDiagnosis, ...]) -> Any:
    """One bar per layer, top down, in percent of the signal's power; a mark is the whole error."""
    from ._plot import new_figure

    figure = new_figure(8.0, 1.5 + 0.4 * len(layers))
    axes = figure.add_subplot()
    names = [n for n in _REMEDIES if any(layer.alone.get(n, 0) > 0 for layer in layers)]
    rows = list(range(len(layers)))
    left = [0.0] * len(layers)
    for k, name in enumerate(names):
        widths = [100 * layer.alone.get(name, 0.0) for layer in layers]
        axes.barh(rows, widths, left=left, label=name, color=f"C{k % 10}", hatch="//" * (k // 10))
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.plot([100 * layer.error for layer in layers], rows, "k|", ms=16, label="all together")
    axes.set_yticks(rows, [layer.name for layer in layers])
    axes.invert_yaxis()
    axes.set_xlabel("error power of each effect alone, % of the signal's power")
    figure.legend(loc="outside right upper", frameon=False)
    return figure
