"""Plots of evaluations, and pages that carry them."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..spec import format_seconds

if TYPE_CHECKING:
    from ._result import Evaluation


def new_figure(width: float = 7.0, height: float = 4.0) -> Any:
    """Return an empty figure that belongs to no window and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_evaluation(results: "Mapping[str, Evaluation]") -> Any:
    """Draw score over time since programming: mean with its interval, and every chip as a dot."""
    figure = new_figure()
    axes = figure.add_subplot()
    times: set[float] = set()
    for k, (label, result) in enumerate(results.items()):
        # A logarithmic axis has no zero: freshly programmed is drawn a decade before 1 s.
        x, width = np.maximum(result.times, 0.1), np.nan_to_num(result.half_width())
        order = np.argsort(x)
        color = f"C{k}"
        axes.plot(x[order], result.mean[order], "o-", color=color, label=label)
        axes.fill_between(
            x[order],
            (result.mean - width)[order],
            (result.mean + width)[order],
            alpha=0.2,
            color=color,
        )
        for scores in result.scores:
            axes.plot(x, scores, ".", color=color, alpha=0.3, markersize=4)
        times |= set(x)
    digitals: dict[float, str] = {}
    for k, result in enumerate(results.values()):
        digitals.setdefault(result.digital, f"C{k}")
    for digital, color in digitals.items():
        color = color if len(digitals) > 1 else "0.3"
        axes.axhline(digital, color=color, linestyle="--", label=f"digital {digital:.3f}")
    axes.set_xscale("log")
    ticks = sorted(times)
    axes.set_xticks(
        ticks, ["programmed" if t == 0.1 else format_seconds(t) for t in ticks], rotation=30
    )
    axes.minorticks_off()
    axes.set_xlabel("time since programming")
    axes.set_ylabel("score (band: 95 % interval of the mean)")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure in the format of the path's suffix."""
    target = Path(path)
    figure.savefig(target, dpi=150)
    return target


def as_image(figure: Any) -> str:
    """Return a figure as a data URI of SVG, for pages without other files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}
th,td{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}img{max-width:100%}</style></head><body>
<h1>{{ title }}</h1><p>Digital score {{ "%.4f"|format(result.digital) }}.
{{ result.seeds|length }} chip instances, seeds {{ result.seeds[0] }} to {{ result.seeds[-1] }},
compensation {{ result.compensation }}.</p>
<table><tr>{% for name in rows[0] %}<th>{{ name.replace("_", " ") }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for value in row.values() %}
<td>{{ "%.4g"|format(value) if value is float else value }}</td>
{% endfor %}</tr>{% endfor %}</table><img alt="score over time" src="{{ image }}"></body></html>"""


def evaluation_page(result: "Evaluation") -> str:
    """Return a self-contained page with the table and the plot."""
    from jinja2 import Environment

    environment = Environment(autoescape=True)
    image = as_image(plot_evaluation({result.compensation: result}))
    return environment.from_string(_PAGE).render(
        title="Accuracy of chip instances over time", result=result, rows=result.rows(), image=image
    )
