"""Measured pulse trains: what was applied to a device, and what was read after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, RangeError

SHORTEST = 5
"""Fewest readings of a train: three changes after the first one, and one to check them with."""


@dataclass(frozen=True, eq=False)
class Train:
    """One pulse train on one device.

    Attributes:
        device: which device it is.
        repeat: which of the trains on this device.
        pulses: pulses between the previous reading and this one, positive for up, (n,). What came
            before the first reading tells nothing and is 0.
        values: weights, or conductances in siemens, (n,).
    """

    device: str
    repeat: str
    pulses: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """Pulse trains of one or several devices.

    Attributes:
        trains: in the order of the measurement.
        conductance: whether values are conductances in siemens, not relative weights.
        name: of the file.
    """

    trains: tuple[Train, ...]
    conductance: bool = False
    name: str = "trace"

    def __post_init__(self) -> None:
        if not self.trains:
            raise DataError(f"{self.name} has no readings")
        for train in self.trains:
            self._check(train)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices, in the order of their first train."""
        return tuple(dict.fromkeys(train.device for train in self.trains))

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest reading."""
        values = np.concatenate([train.values for train in self.trains])
        return float(values.min()), float(values.max())

    def applied(self) -> tuple[int, int]:
        """Return how many pulses (up, down) were applied in all."""
        pulses = np.concatenate([train.pulses[1:] for train in self.trains])
        return int(pulses[pulses > 0].sum()), int(-pulses[pulses < 0].sum())

    def _check(self, train: Train) -> None:
        where = f"{self.name}, device {train.device}, repeat {train.repeat}"
        if not np.isfinite(train.values).all():
            raise DataError(f"{where}: readings must be finite; remove the rows with nan or inf")
        if len(train.values) < SHORTEST:
            raise DataError(
                f"{where}: the train is too short, {len(train.values)} readings; a response shows "
                f"from {SHORTEST} readings on, and is known well from hundreds"
            )
        if not train.pulses[1:].any():
            raise DataError(
                f"{where}: no pulse has a direction; pulses are signed numbers such as 1 and -1"
            )


def trace_of(source: Any) -> Trace:
    """Return the trace that a path, a pair of arrays (pulses, values), or a trace stands for.

    Arrays are (n,), (devices, n) or (devices, repeats, n); one array of pulses may serve all.

    Raises:
        DataError: the file or the arrays are not as described.
    """
    if isinstance(source, Trace):
        return source
    if isinstance(source, str | Path):
        from ._trace_file import read_trace

        return read_trace(source)
    if isinstance(source, Sequence) and len(source) == 2:
        return _of_arrays(*source)
    raise DataError(
        f"a trace is a path, a pair (pulses, values) or an mho.Trace, got {type(source).__name__}"
    )


def _of_arrays(pulses: Any, values: Any) -> Trace:
    read, sent = np.asarray(values, np.float64), np.asarray(pulses, np.float64)
    if not 1 <= read.ndim <= 3:
        raise DataError(
            f"values are (n,), (devices, n) or (devices, repeats, n), got shape {read.shape}"
        )
    if sent.ndim > read.ndim or sent.shape != read.shape[read.ndim - sent.ndim :]:
        raise DataError(f"pulses {sent.shape} do not fit values {read.shape}: one per reading")
    if not (np.isfinite(sent).all() and (sent == np.rint(sent)).all()):
        raise DataError("pulses must be whole signed numbers: 1 is one pulse up, -2 two down")
    sent = np.broadcast_to(sent, read.shape).astype(np.int64)
    length = read.shape[-1]
    if read.ndim == 2:
        read, sent = read[:, None], sent[:, None]
    repeats = read.shape[1] if read.ndim == 3 else 1
    trains = []
    both = zip(sent.reshape(-1, length), read.reshape(-1, length), strict=True)
    for k, (one, other) in enumerate(both):
        trains.append(Train(str(k // repeats), str(k % repeats), first_at_rest(one), other.copy()))
    return Trace(tuple(trains))


def first_at_rest(pulses: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pulses without those before the first reading."""
    pulses = pulses.copy()
    pulses[:1] = 0
    return pulses


def units_of(
    range_: tuple[float, float], conductance: bool, zero: float | None, scale: float | None
) -> tuple[float, float]:
    """Return (value at weight 0, value per weight of 1); what is None follows from the range.

    Raises:
        RangeError: one is not finite, or the scale is not positive.
    """
    least, most = range_
    if zero is None:
        zero = (least + most) / 2 if conductance else 0.0
    if scale is None:
        scale = (most - least) / 2 or 1.0 if conductance else 1.0
    if not (np.isfinite(zero) and np.isfinite(scale) and scale > 0):
        raise RangeError(f"zero={zero!r} must be finite, and scale={scale!r} finite and positive")
    return zero, scale
