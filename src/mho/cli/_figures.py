"""Figures of the reports, as images that a page can carry within itself."""

import base64
import io
from typing import Any

import numpy as np

import mho

from ._chip import Chip


def as_image(figure: Any) -> str:
    """Return a figure as a data URI of SVG."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "mho"}):  # the same figure, the same text
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def timeline(results: dict[str, mho.Evaluation], name: str, low: float | None = None) -> Any:
    """Draw the scores of several evaluations over time, from `low` upwards."""
    figure = mho.plot_evaluation(results)
    (axes,) = figure.axes
    axes.set_ylabel(name)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if low is not None:
        high = max(max(r.scores.max(), r.digital) for r in results.values())
        axes.set_ylim(low, high + 0.03 * (high - low))
    return figure


def lowest(*results: mho.Evaluation) -> float:
    """Return a lower end for an axis that shows all of these scores."""
    low = min(float(result.scores.min()) for result in results)
    high = max(float(result.scores.max()) for result in results)
    return low - 0.05 * (high - low)


def weight_histograms(chips: dict[str, Chip]) -> Any:
    """Draw what the arrays were given, what the devices hold, and how wrong that makes weights."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    targets, devices, errors = figure.subplots(1, 3)
    for label, chip in chips.items():
        _histogram(targets, chip.targets, np.linspace(-1, 1, 61), label)
        _histogram(devices, 1e6 * chip.conductances, np.linspace(0, 30, 61), label)
    chip = next(iter(chips.values()))
    for time, error in chip.errors.items():
        label = f"{time}: std {error.std():.3f}"
        _histogram(errors, error, np.linspace(-0.4, 0.4, 61), label)
    targets.set(title="digital weights", xlabel="weight / maximum of its column")
    devices.set(title="devices, just programmed", xlabel="conductance [µS]", yscale="log")
    errors.set(title="errors on the arrays", xlabel="error / maximum of its column")
    targets.set_ylabel("count")
    for axes in (targets, devices, errors):
        axes.set_ylim(top=axes.get_ylim()[1] * (4 if axes is devices else 1.25))
        axes.legend(frameon=False, fontsize=8, loc="upper right")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure


def _histogram(axes: Any, values: Any, edges: Any, label: str) -> None:
    # What lies beyond the edges is counted in the outermost bins, so that nothing disappears.
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    axes.stairs(counts, edges, label=label, linewidth=1.4)
