"""Data against model: what `FittedResponse.plot` draws."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..deploy import new_figure

if TYPE_CHECKING:
    from ._fitted_response import FittedResponse

BINS, SHOWN = 20, 4


def plot_fit(result: "FittedResponse") -> Any:
    """Draw trains, steps over the state, and standardized residuals against the fit."""
    figure = new_figure(12.0, 4.0)
    trains, steps, residuals = figure.subplots(1, 3, width_ratios=(2, 1.3, 1))
    _trains(trains, result)
    _steps(steps, result)
    _residuals(residuals, result)
    return figure


def _trains(axes: Any, result: "FittedResponse") -> None:
    course = result.course
    ends = [*np.flatnonzero(course.first), len(course.reading)]
    index = np.arange(ends[min(SHOWN, len(ends) - 1)])
    axes.plot(index, course.reading[: len(index)], ".", color="0.6", markersize=2, label="measured")
    for k, (start, stop) in enumerate(pairwise(ends[: SHOWN + 1])):
        part = slice(start, stop)
        mean, std = course.alone[part], course.alone_std[part]
        label = "from the first reading" if k == 0 else None
        axes.plot(index[part], mean, "C0", label=label)
        axes.fill_between(index[part], mean - 2 * std, mean + 2 * std, color="C0", alpha=0.2)
    count = len(ends) - 1
    axes.set_xlabel("reading" if count <= SHOWN else f"reading (first {SHOWN} of {count} trains)")
    axes.set_ylabel("weight (band: 2 standard deviations)")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _steps(axes: Any, result: "FittedResponse") -> None:
    _curves(axes, result)
    states, sizes = {1: [], -1: []}, {1: [], -1: []}
    for train in result.trace.trains:
        weights = (train.values - result.zero) / result.scale
        for sign in (1, -1):
            which = np.flatnonzero(train.pulses[1:] * sign > 0)
            states[sign].append(weights[which])
            sizes[sign].append(np.diff(weights)[which] / train.pulses[1:][which])
    for sign, color in ((1, "C0"), (-1, "C1")):
        state, size = np.concatenate(states[sign]), np.concatenate(sizes[sign])
        if not len(state):
            continue
        edges = np.linspace(state.min(), state.max() + 1e-12, BINS + 1)
        which = np.digitize(state, edges) - 1
        kept = [k for k in range(BINS) if (which == k).sum() > 1]
        mean = [size[which == k].mean() for k in kept]
        bar = [size[which == k].std(ddof=1) / np.sqrt((which == k).sum()) for k in kept]
        center = ((edges[1:] + edges[:-1]) / 2)[kept]
        axes.errorbar(center, mean, bar, fmt="o", color=color, markersize=3)
    axes.set_title("dots: measured means", fontsize=9)


def _curves(axes: Any, result: "FittedResponse") -> None:
    device, cell = result.device, result.device.mean_cell()
    state = np.linspace(cell.low.item(), cell.high.item(), 201)[None]
    for up, name, color in ((True, "up", "C0"), (False, "down", "C1")):
        step, spread = (
            np.broadcast_to(part, state.shape).ravel() for part in device.respond(cell, state, up)
        )
        axes.plot(state.ravel(), step, color=color, label=f"step {name}")
        axes.fill_between(state.ravel(), step - spread, step + spread, color=color, alpha=0.15)
    axes.set_xlabel("weight")
    axes.set_ylabel("step (band: noise of a pulse)")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _residuals(axes: Any, result: "FittedResponse") -> None:
    z = result.course.standard
    z = np.clip(z[np.isfinite(z)], -5, 5)
    axes.hist(z, np.linspace(-5, 5, 41), density=True, color="0.7")
    grid = np.linspace(-5, 5, 201)
    axes.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), "C0", label="normal")
    axes.set_xlabel("residual / its standard deviation")
    axes.legend(frameon=False)
