"""What follows from a device's formula: its curve under pulses, its states, its symmetry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import RangeError, SpecError
from ..ops import Stream
from ._device import Device, Devices
from ._pulsed_device import PulsedDevice, mean_steps

Array = np.ndarray


@dataclass(frozen=True)
class ResponseCurve:
    """Visible weights of single devices, pulse by pulse.

    Attributes:
        device: the device.
        up: direction of each pulse, (pulses,).
        mean: weight of the mean cell without noise, before and after each pulse, (pulses + 1,).
        sampled: weights of drawn cells with all noise, (pulses + 1, cells).
    """

    device: PulsedDevice
    up: Array
    mean: Array
    sampled: Array


@dataclass(frozen=True)
class Asymmetry:
    """How steps up and down differ; the numbers of the mean cell, and of each drawn cell.

    Attributes:
        granularity: mean step of the mean cell at weight 0.
        states: range of the mean cell over its granularity.
        at_zero: (up - down) / (up + down) of the mean cell's steps at weight 0.
        symmetry_point: weight of the mean cell at which its steps are equal; nan if there is none.
        cells_at_zero: `at_zero` of each cell, (cells,); nan for stuck cells.
        cells_symmetry_point: `symmetry_point` of each cell, (cells,).
    """

    granularity: float
    states: float
    at_zero: float
    symmetry_point: float
    cells_at_zero: Array
    cells_symmetry_point: Array


def response_curve(
    device: Device, pulses: int | Sequence[int], cells: int = 10, stream: Stream | None = None
) -> ResponseCurve:
    """Pulse cells that start at their lower bounds.

    Args:
        device: a single device; of a unit cell, take one of its `singles`.
        pulses: runs of pulses, positive up and negative down; n stands for n up and n down.
        cells: number of drawn cells.
        stream: draws of cells and noise; by default those of seed 0.

    Raises:
        SpecError: the device is a unit cell, or a cell lacks the symmetry point it asks for.
        RangeError: there are no pulses or no cells.
    """
    single, stream = _single(device), stream or Stream(0, "response curve")
    runs = (pulses, -pulses) if isinstance(pulses, int) else tuple(pulses)
    if not runs or 0 in runs or (isinstance(pulses, int) and pulses < 0) or cells < 1:
        raise RangeError(
            f"pulses={pulses!r}, cells={cells}: give a positive number of pulses, or runs such as "
            "[100, -100], and at least one cell"
        )
    up = np.concatenate([np.full(abs(run), run > 0) for run in runs])
    drawn = single.draw((1, cells), stream)
    return ResponseCurve(
        single, up, _run(single, single.mean_cell(), up, None), _run(single, drawn, up, stream)
    )


def asymmetry(device: Device, cells: int = 1000, stream: Stream | None = None) -> Asymmetry:
    """Compare a device's steps up and down; see `response_curve` for arguments and errors."""
    single, stream = _single(device), stream or Stream(0, "response curve")
    if cells < 1:
        raise RangeError(f"cells={cells}: give at least one cell")
    mean, drawn = single.mean_cell(), single.draw((1, cells), stream)
    up, down = mean_steps(single)  # pyright: ignore[reportArgumentType]
    low, high = single.mean_bounds
    return Asymmetry(
        granularity=single.granularity,
        states=(high - low) / single.granularity,
        at_zero=(up - down) / (up + down),
        symmetry_point=_visible_symmetry_point(single, mean).item(),
        cells_at_zero=_at_zero(single, drawn),
        cells_symmetry_point=_visible_symmetry_point(single, drawn),
    )


def _single(device: Device) -> PulsedDevice:
    if isinstance(device, PulsedDevice):
        return device
    raise SpecError(
        f"{device.kind} is a unit cell of several devices; take one of its `singles`, such as "
        "device.singles[0]"
    )


def _run(device: PulsedDevice, cells: Devices, up: Array, stream: Stream | None) -> Array:
    low, reference = (tensor.double().numpy() for tensor in (cells.low, cells.reference))
    state, shape, written = low, (1, low.size), np.zeros_like(low)
    weights = [state - reference]
    for k, direction in enumerate(up.tolist()):
        xi, before = 0.0, device.seen(cells, state)
        if stream is not None:
            xi = stream.normal("pulse", shape, k).double().numpy()
        state = device.after_pulse(cells, state, direction, xi)
        seen = device.seen(cells, state)
        if stream is not None and device.write_noise:
            noise = device.write_std * stream.normal("write noise", shape, k).double().numpy()
            drawn = (seen != before) | (type(device).visible is None)
            written = np.where(drawn, noise, written)
        weights.append(seen - reference + written)
    return np.concatenate(weights) if stream is not None else np.concatenate(weights).ravel()


def _visible_symmetry_point(device: PulsedDevice, cells: Devices) -> Array:
    return (device.symmetry_point(cells) - cells.reference.double().numpy()).ravel()


def _at_zero(device: PulsedDevice, cells: Devices) -> Array:
    low, high, at = (tensor.double().numpy() for tensor in (cells.low, cells.high, cells.reference))
    at = np.clip(at, low, high)
    up, down = (device.respond(cells, at, direction)[0] for direction in (True, False))
    total = up + down
    return np.divide(up - down, total, out=np.full_like(total, np.nan), where=total > 0).ravel()
