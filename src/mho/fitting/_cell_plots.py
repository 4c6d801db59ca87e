"""Plots of a cell's laws: programming error, drift, and the symmetry of its devices."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cells import Cell, Device, PulsedDevice, asymmetry
from ..deploy import new_figure
from ..errors import DataError, RangeError
from ..ops import Stream
from ..spec import format_seconds, seconds
from ..tiles import Hardware

LEVELS = 41
TIMES = ("1 s", "1 min", "1 h", "1 d", "30 d", "1 y")
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


def plot_programming(cell: Cell | Hardware, cells: int = 2000, seed: int = 0) -> Any:
    """Draw mean and standard deviation of the programming error over the target conductance.

    Args:
        cell: a cell, or hardware of such cells.
        cells: drawn per target.
        seed: of the draws.

    Raises:
        DataError: the cell has no programming error.
        RangeError: there are fewer than two cells.
    """
    cell = _cell(cell)
    if cell.programming is None:
        raise DataError("this cell has no programming error to draw; its `programming` is none")
    target = _targets(cell, np.linspace(0, 1, LEVELS), cells)
    error = cell.program(target, Stream(seed, "plot")).programmed - target
    figure = new_figure()
    axes = figure.add_subplot()
    _band(axes, target[:, 0] * 1e6, error * 1e6, "C0", "mean and standard deviation")
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_xlabel("target conductance [uS]")
    axes.set_ylabel("programming error [uS]")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure


def plot_drift(
    cell: Cell | Hardware,
    times: tuple[str | float, ...] = TIMES,
    cells: int = 2000,
    seed: int = 0,
) -> Any:
    """Draw conductance over time since programming, for some targets, with all laws of the cell.

    Args:
        cell: a cell, or hardware of such cells.
        times: since programming.
        cells: drawn per target.
        seed: of the draws.

    Raises:
        SpecError: a time is none.
        RangeError: a time is outside of the range of the law, or there are fewer than two cells.
    """
    cell = _cell(cell)
    moments = sorted(seconds(time) for time in times)
    if not moments:
        raise RangeError("give at least one time")
    stream = Stream(seed, "plot")
    target = _targets(cell, np.array(SHARES), cells)
    state = cell.program(target, stream)
    held = torch.stack([cell.conductance(state, time, stream) for time in moments], dim=1)
    figure = new_figure()
    axes = figure.add_subplot()
    x = torch.tensor(moments).clamp(min=0.1)  # a logarithmic axis has no zero
    for k, share in enumerate(SHARES):
        _band(axes, x, held[k] * 1e6, f"C{k}", f"{float(target[k, 0]) * 1e6:.3g} uS")
        axes.axhline(share * cell.g_max * 1e6, color=f"C{k}", linewidth=0.6, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(x.numpy(), [format_seconds(time) for time in moments], rotation=30)
    axes.minorticks_off()
    axes.set_xlabel("time since programming")
    axes.set_ylabel("conductance [uS] (band: standard deviation)")
    axes.legend(frameon=False, title="target")
    axes.grid(alpha=0.3)
    return figure


def plot_symmetry(device: Device | Hardware, cells: int = 2000, seed: int = 0) -> Any:
    """Draw how symmetry points and the asymmetry at weight 0 spread over cells.

    Args:
        device: a single device, or hardware whose cells have one.
        cells: drawn.
        seed: of the draws.

    Raises:
        DataError: the hardware's cells have no device, or one of several devices.
    """
    if isinstance(device, Hardware):
        given = device.cell.device
        if given is None:
            raise DataError("the cells of this hardware have no device; they are only programmed")
        device = given
    if not isinstance(device, PulsedDevice):
        raise DataError(f"{device.kind} is a cell of several devices; take one of its `singles`")
    found = asymmetry(device, cells, Stream(seed, "plot"))
    figure = new_figure(9.0, 3.4)
    points, shares = figure.subplots(1, 2)
    kept = found.cells_symmetry_point[np.isfinite(found.cells_symmetry_point)]
    points.hist(kept, 40, color="C0", alpha=0.6)
    points.axvline(found.symmetry_point, color="k", linestyle="--", label="mean cell")
    missing = cells - len(kept)
    points.set_xlabel("symmetry point [relative weight]")
    points.set_ylabel(f"cells ({missing} have none)" if missing else "cells")
    shares.hist(found.cells_at_zero[np.isfinite(found.cells_at_zero)], 40, color="C1", alpha=0.6)
    shares.axvline(found.at_zero, color="k", linestyle="--", label="mean cell")
    shares.set_xlabel("(up - down) / (up + down) at weight 0")
    for axes in (points, shares):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    return figure


def _cell(given: Cell | Hardware) -> Cell:
    return given.cell if isinstance(given, Hardware) else given


def _targets(cell: Cell, shares: np.ndarray, cells: int) -> Tensor:
    """Targets at shares of the cell's range, (shares, cells)."""
    if cells < 2:
        raise RangeError(f"cells must be at least 2 for a standard deviation, got {cells!r}")
    levels = cell.g_min + shares * (cell.g_max - cell.g_min)
    return torch.tensor(levels, dtype=torch.float32)[:, None].expand(-1, cells).contiguous()


def _band(axes: Any, x: Tensor, samples: Tensor, color: str, label: str) -> None:
    mean, std = samples.mean(-1).numpy(), samples.std(-1).numpy()
    axes.plot(x.numpy(), mean, color=color, label=label)
    axes.fill_between(x.numpy(), mean - std, mean + std, color=color, alpha=0.15)
