"""Plots of a chip: when things happen, what takes energy, where weights are."""

from typing import TYPE_CHECKING, Any

from ..deploy import new_figure
from ._placement import Placement

if TYPE_CHECKING:
    from ._cost_result import Cost

KINDS = {"links": "C7", "cores": "C0", "digital": "C1", "memory": "C2", "dram": "C3"}


def overview(cost: "Cost") -> Any:
    """Draw the timeline above, energy by component and the floor plan below."""
    figure = new_figure(10.0, 8.5)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.25, 1.0))
    timeline(cost, figure.add_subplot(grid[0, :]))
    energy(cost, figure.add_subplot(grid[1, 0]))
    floor(cost.placement, figure.add_subplot(grid[1, 1]))
    return figure


def timeline(cost: "Cost", axes: Any, jobs: int = 2) -> None:
    """Draw what each step of the first inputs kept busy, from when to when."""
    from matplotlib.colors import to_rgb

    spans = [span for span in cost.schedule.spans if span.job < jobs]
    names = list(dict.fromkeys(work.node.name for work in cost.demand.works))[:40]
    place = {name: k for k, name in enumerate(names)}
    unit, symbol = _time_unit(max((span.end for span in spans), default=1.0))
    for kind, color in KINDS.items():
        for job in range(jobs):
            own = [s for s in spans if s.kind == kind and s.job == job and s.name in place]
            axes.barh(
                [place[s.name] + 0.4 * job - 0.2 for s in own],
                [(s.end - s.start) / unit for s in own],
                left=[s.start / unit for s in own],
                height=0.36,
                # Pale, not transparent: partial sums are on the links while cores work.
                color=[1 - (1 - part) * (1.0 if job == 0 else 0.45) for part in to_rgb(color)],
                label=kind if job == 0 and own else None,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), [name.removesuffix(".weight") for name in names], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"time [{symbol}]")
    shown = min(jobs, len(cost.schedule.ends))
    axes.set_title(f"first {shown} inputs (second one pale)" if shown > 1 else "one input")
    axes.legend(frameon=False, fontsize=8, loc="lower right" if shown < 2 else "best")
    _plain(axes)


def energy(cost: "Cost", axes: Any) -> None:
    """Draw the energy of one input by component, from the optimistic to the pessimistic end."""
    components = sorted(cost.components.items(), key=lambda item: item[1])
    largest = max((value for _, value in components), default=1.0)
    unit, symbol = next(
        ((u, s) for u, s in ((1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ")) if largest >= u),
        (1e-12, "pJ"),
    )
    names = [name for name, _ in components]
    axes.barh(names, [value / unit for _, value in components], color="C0")
    for k, name in enumerate(names):
        low, high = (
            cost.ranges[s].components.get(name, 0.0) / unit for s in ("optimistic", "pessimistic")
        )
        axes.plot([low, high], [k, k], color="0.2", linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlabel(f"energy of one input [{symbol}]; line: from optimistic to pessimistic")
    axes.xaxis.label.set_size(8)
    axes.set_title(f"{cost.energy / unit:.3g} {symbol} per input")
    _plain(axes)


def floor_plan(placement: Placement) -> Any:
    """Draw the blocks on the cores."""
    figure = new_figure(7.0, 6.0)
    floor(placement, figure.add_subplot())
    return figure


def floor(placement: Placement, axes: Any) -> None:
    """Draw every core as a square, its arrays side by side, blocks in the color of their matrix."""
    from matplotlib import colormaps
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    chip = placement.chip
    width = max(1, round(chip.core.count**0.5))
    names = list(placement.by_site)
    colors = colormaps["tab20"]
    frames = [
        Rectangle((core % width + 0.04, core // width + 0.04), 0.92, 0.92)
        for core in range(chip.core.count)
    ]
    axes.add_collection(PatchCollection(frames, facecolor="0.95", edgecolor="0.75", linewidth=0.5))
    for k, name in enumerate(names):
        patches = [Rectangle(*_rectangle(block, placement, width))
                   for block in placement.by_site[name]]  # fmt: skip
        axes.add_collection(
            PatchCollection(patches, facecolor=colors(k % 20), edgecolor="white", linewidth=0.3)
        )
    handles = [Rectangle((0, 0), 1, 1, color=colors(k % 20)) for k in range(min(len(names), 14))]
    axes.legend(
        handles, [n.removesuffix(".weight") for n in names[:14]], fontsize=6, frameon=False,
        loc="center left", bbox_to_anchor=(1.0, 0.5),
    )  # fmt: skip
    axes.set_xlim(0, width)
    axes.set_ylim(-(-chip.core.count // width), 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(
        f"{placement.cores} of {chip.core.count} cores, {placement.utilization:.0%} of their cells"
    )


def _rectangle(block: Any, placement: Placement, width: int) -> tuple[Any, float, float]:
    """Corner, width and height of a block within the square of its core."""
    chip = placement.chip
    across = 0.92 / chip.core.arrays
    left = block.core % width + 0.04 + block.array * across
    top = block.core // width + 0.04
    x, y = left + across * block.col / chip.cols, top + 0.92 * block.row / chip.rows
    return (x, y), across * block.cols / chip.cols, 0.92 * block.rows / chip.rows


def _time_unit(longest: float) -> tuple[float, str]:
    return next(
        ((u, s) for u, s in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if longest >= u), (1e-9, "ns")
    )


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
