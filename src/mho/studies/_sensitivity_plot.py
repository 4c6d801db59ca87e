"""Bars of a sensitivity study."""

import math
from typing import TYPE_CHECKING, Any

from ..deploy import new_figure

if TYPE_CHECKING:
    from ._sensitivity_result import Sensitivity


def draw(result: "Sensitivity") -> Any:
    """One panel for each part that was asked for, top down, the most harmful bar first."""
    rows = result.rows()
    panels = [
        (draw_panel, rows[key])
        for key, draw_panel in (
            ("effects", _effects),
            ("tolerances", _tolerances),
            ("layers", _layers),
        )
        if rows[key]
    ]
    sizes = [len(found) + 1.5 for _, found in panels] or [1.0]
    figure = new_figure(7.5, 0.8 + 0.33 * sum(sizes))
    axes = figure.subplots(max(len(panels), 1), squeeze=False, height_ratios=sizes)[:, 0]
    for axis, (draw_panel, found) in zip(axes, panels, strict=False):
        draw_panel(axis, found, result)
        axis.invert_yaxis()
        axis.grid(alpha=0.3, axis="x")
        axis.set_axisbelow(True)
    return figure


def _effects(axes: Any, rows: list[dict[str, Any]], result: "Sensitivity") -> None:
    for y, row in enumerate(rows):
        if math.isnan(row["lost"]):
            _say(axes, y, row["note"])
        else:
            axes.barh(y, 100 * row["lost"], xerr=_error(row["half_width_95"]), color="C0")
    _names(axes, [row["effect"] for row in rows])
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel(
        f"lost A*, %, each effect alone at a product error of {result.target_error:.0%}"
    )


def _tolerances(axes: Any, rows: list[dict[str, Any]], result: "Sensitivity") -> None:
    tops = [1.0]
    for y, row in enumerate(rows):
        multiple, above = row["multiple"], row["above"]
        if math.isnan(multiple):
            _say(axes, y, row["note"])
            continue
        open_ended = not math.isfinite(above)
        if not multiple:
            _say(axes, y, row["note"])
            continue
        bar = axes.barh(y, multiple - 1, left=1, color="C3" if multiple < 1 else "C2")
        text = f"{'>' * open_ended}{multiple:.3g}x"
        axes.bar_label(bar, [text], padding=3, fontsize=9)
        tops.append(multiple)
    _names(axes, [row["effect"] for row in rows])
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(*tops, 0.8) / 1.6, max(*tops, 2) * 2.2)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}x")
    axes.axvline(1, color="0.3", linewidth=0.8)
    axes.set_xlabel(f"strength of one effect at which A* comes down to {result.threshold:.0%}")


def _layers(axes: Any, rows: list[dict[str, Any]], result: "Sensitivity") -> None:
    for y, row in enumerate(rows):
        pairs = (
            (-0.2, row["lost_alone"], row["half_width_95"], "C0"),
            (0.2, row["gained_digital"], row["gain_half_width_95"], "C1"),
        )
        for shift, value, width, color in pairs:
            axes.barh(y + shift, 100 * value, height=0.38, xerr=_error(width), color=color)
    axes.barh(0, 0, color="C0", label="lost with this layer alone on arrays")
    axes.barh(0, 0, color="C1", label="gained with this layer alone digital")
    _names(axes, [f"{row['weight']} ({row['share']:.0%})" for row in rows])
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel("A*, %")
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _names(axes: Any, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)


def _say(axes: Any, y: float, note: str) -> None:
    """Write what there is to know where there is no bar."""
    axes.annotate(
        note, (0, y), xycoords=("axes fraction", "data"), xytext=(6, 0),
        textcoords="offset points", va="center", fontsize=8, color="0.4",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _error(half_width: float) -> float | None:
    return None if math.isnan(half_width) else 100 * half_width
