"""Tables of steps over the state: read from a file, or gathered from pulse trains."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ..errors import DataError
from ._trace import Trace
from ._trace_file import Column, column, number, read_rows

Array = NDArray[np.float64]
COLUMNS = ("weight", "conductance", "step_up", "step_down", "noise_up", "noise_down")
MOST_NODES = 257
FORMAT = (
    "a table has the columns `weight` or `conductance`, `step_up` and `step_down` (mean sizes of a "
    "step), and perhaps `noise_up` and `noise_down` (their standard deviations), in the same unit"
)


class StepTable(NamedTuple):
    """Mean and standard deviation of a step at equally spaced values, in the values' unit.

    `reading` is the standard deviation of a reading, 0 where it is not known.
    """

    values: Array
    up: Array
    down: Array
    noise_up: Array
    noise_down: Array
    conductance: bool
    reading: float


def is_table(path: Path) -> bool:
    """Whether a file is a table of steps rather than a trace."""
    header, _ = read_rows(path)
    return any(title.strip().lower().startswith("step_up") for title in header)


def read_table(path: Path) -> StepTable:
    """Read a CSV file of steps over conductance or weight.

    Raises:
        DataError: columns are missing or of no use, or a number is none.
    """
    header, rows = read_rows(path)
    columns: dict[str, Column] = {}
    for index, title in enumerate(header):
        name, where = column(path, title, index, COLUMNS)
        columns[name] = where
    unit = columns["conductance"].factor if "conductance" in columns else None
    columns = {name: c._replace(factor=c.factor or unit) for name, c in columns.items()}
    missing = [name for name in ("step_up", "step_down") if name not in columns]
    if missing or ("weight" in columns) == ("conductance" in columns):
        lacks = ", ".join(missing) or "one of weight and conductance"
        raise DataError(f"{path} lacks {lacks}; {FORMAT}")
    if ("noise_up" in columns) != ("noise_down" in columns):
        raise DataError(f"{path}: noise_up and noise_down go together")
    table = {name: [] for name in columns}
    for line, row in rows:
        for name, where in columns.items():
            table[name].append(number(path, line, row, where))
            if name not in ("weight", "conductance") and table[name][-1] < 0:
                raise DataError(f"{path}, line {line}: {name} must not be negative")
    found = {name: np.array(column) for name, column in table.items()}
    kind = "conductance" if "conductance" in found else "weight"
    return _equally_spaced(path, found.pop(kind), found, kind == "conductance")


def _equally_spaced(
    path: Path, values: Array, found: dict[str, Array], conductance: bool
) -> StepTable:
    gaps = np.diff(values)
    if len(values) < 2 or not (gaps > 0).all():
        raise DataError(f"{path}: at least two values are needed, in rising order")
    span = values[-1] - values[0]
    nodes = min(int(np.ceil(span / gaps.min() * (1 - 1e-6))) + 1, MOST_NODES)
    grid = np.linspace(values[0], values[-1], nodes)

    def resampled(name: str) -> Array:
        return np.interp(grid, values, found.get(name, np.zeros_like(values)))

    return StepTable(
        grid, resampled("step_up"), resampled("step_down"), resampled("noise_up"),
        resampled("noise_down"), conductance, 0.0,
    )  # fmt: skip


def gather(trace: Trace, nodes: int) -> StepTable:
    """Return the steps of pulse trains at nodes over the range of readings.

    Steps are the least-squares fit of straight lines between nodes to the changes, none below 0;
    variances that to the squares of what is left, less twice the variance of a reading, which is
    minus the covariance of neighbors.

    Raises:
        DataError: no pulse of a direction is near a node.
    """
    low, high = trace.range
    grid = np.linspace(low, high, nodes)
    if high <= low:
        raise DataError(f"{trace.name}: all readings are equal; nothing answers the pulses")
    fits, rests = {}, {}
    for sign, way in ((1, "up"), (-1, "down")):
        states, steps, counts, marks = _changes(trace, sign)
        hats = _hats(states, grid)
        near = hats.sum(0) if len(states) else np.zeros(nodes)
        if near.min() < 1:
            k = int(near.argmin())
            raise DataError(
                f"{trace.name}: hardly any pulses {way} near {grid[k]:.4g} ({near[k]:.1f} of "
                f"{len(states)}); measure that, take fewer nodes than {nodes}, or fit a response"
            )
        fits[way] = nnls(hats, steps)[0]
        rests[way] = hats, (steps - hats @ fits[way]) * np.sqrt(counts), marks
    reading = _reading(list(rests.values()))
    noise = {}
    for way, (hats, rest, _) in rests.items():
        noise[way] = np.sqrt(np.maximum(nnls(hats, rest**2)[0] - 2 * reading, 0.0))
    return StepTable(
        grid, fits["up"], fits["down"], noise["up"], noise["down"], trace.conductance,
        float(np.sqrt(reading)),
    )  # fmt: skip


def _changes(trace: Trace, sign: int) -> tuple[Array, Array, Array, Array]:
    """States before pulses of one direction, step per pulse, how many, and their place."""
    parts, place = [], 0
    for train in trace.trains:
        counts = train.pulses[1:] * sign
        which = np.flatnonzero(counts > 0)
        count = counts[which]
        step = sign * np.diff(train.values)[which] / count
        state = train.values[which] + sign * step * (count - 1) / 2
        parts.append((state, step, count, place + which))
        place += len(train.values) + 1
    return tuple(np.concatenate(column).astype(float) for column in zip(*parts, strict=True))  # pyright: ignore[reportReturnType]


def _hats(states: Array, grid: Array) -> Array:
    """Share of each node in a straight line between nodes, (states, nodes)."""
    position = (states - grid[0]) / (grid[1] - grid[0])
    return np.maximum(1 - np.abs(position[:, None] - np.arange(len(grid))), 0.0)


def _reading(rests: list[tuple[Array, Array, Array]]) -> float:
    """Variance of a reading: minus the covariance of the residuals of consecutive single pulses."""
    products = [
        (rest[1:] * rest[:-1])[np.diff(marks) == 1] for _, rest, marks in rests if len(rest) > 1
    ]
    pooled = np.concatenate(products) if products else np.zeros(0)
    return max(-float(pooled.mean()), 0.0) if len(pooled) else 0.0
