"""Plot of a device: its weight under pulses, and its steps over the weight."""

from typing import Any

import numpy as np

from ..cells import Device, OneSidedPair, PulsedDevice, response_curve
from ..errors import DataError
from ..ops import Stream
from ..tiles import Hardware
from ._plot import new_figure

CELLS, MOST = 8, 10_000


def plot_response(device: Device | Hardware, pulses: int | None = None, seed: int = 0) -> Any:
    """Draw, for each kind of single device, its curve under pulses and its steps.

    Left: pulses up from the lower bound and down again, of the mean cell without noise and of
    drawn cells with all noise. Right: the mean cell's steps over its weight with the spread of a
    pulse, and its symmetry point. Devices of a one-sided pair are only pulsed up.

    Args:
        device: a device, or hardware whose cells have one.
        pulses: pulses up, and then down; by default enough to cross the range, at most 10 000.
        seed: draws of cells and noise.

    Returns:
        A matplotlib figure.

    Raises:
        DataError: the hardware's cells have no device.
        RangeError: the number of pulses is not positive.
    """
    if isinstance(device, Hardware):
        if device.cell.device is None:
            raise DataError(
                "the cells of this hardware have no device: they can only be programmed. Load a "
                "preset such as `reram-sb-2018`, or give the cell a device"
            )
        device = device.cell.device
    singles = list(dict.fromkeys(device.singles))
    figure = new_figure(9.0, 3.4 * len(singles))
    rows = figure.subplots(len(singles), 2, squeeze=False)
    for axes, single in zip(rows, singles, strict=True):
        up_only = isinstance(device, OneSidedPair)
        _curve(axes[0], single, pulses, up_only, Stream(seed, "response curve"))
        _steps(axes[1], single, up_only)
    return figure


def _curve(
    axes: Any, device: PulsedDevice, pulses: int | None, up_only: bool, stream: Stream
) -> None:
    if pulses is None:
        low, high = device.mean_bounds
        pulses = int(np.clip(1.5 * (high - low) / device.granularity, 20, MOST))
    curve = response_curve(device, [pulses] if up_only else pulses, CELLS, stream)
    axes.plot(curve.sampled, color="C0", alpha=0.35, linewidth=0.7)
    axes.plot(curve.mean, color="k", linewidth=1.5, label="mean cell, no noise")
    axes.plot([], color="C0", linewidth=0.7, label=f"{CELLS} cells, all noise")
    axes.set_xlabel("pulses up" if up_only else "pulses up, then down")
    axes.set_ylabel("relative weight")
    axes.set_title(device.kind)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _steps(axes: Any, device: PulsedDevice, up_only: bool) -> None:
    cell = device.mean_cell()
    low, high, reference = cell.low.item(), cell.high.item(), cell.reference.item()
    state = np.linspace(low, high, 201).reshape(1, -1)
    weight = state.ravel() - reference
    for up, name, color in ((True, "up", "C2"), (False, "down", "C3"))[: 1 if up_only else 2]:
        step, spread = (x.ravel() for x in np.broadcast_arrays(*device.respond(cell, state, up)))
        step, spread = np.broadcast_to(step, weight.shape), np.broadcast_to(spread, weight.shape)
        axes.plot(weight, step, color=color, label=f"step {name}")
        axes.fill_between(weight, step - spread, step + spread, color=color, alpha=0.15)
    point = float(device.symmetry_point(cell).item()) - reference
    if not up_only and np.isfinite(point):
        axes.axvline(point, color="0.3", linestyle="--", label=f"symmetry point {point:.3g}")
    axes.set_xlabel("relative weight")
    axes.set_ylabel("step (band: spread of a pulse)")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
