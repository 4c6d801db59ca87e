"""Traces as CSV files."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError, SpecError
from ..spec import nearest, parse
from ._trace import Trace, Train, first_at_rest

DIRECTIONS = {
    **dict.fromkeys(("up", "+", "+1", "1", "set", "potentiation"), 1),
    **dict.fromkeys(("down", "-", "-1", "reset", "depression"), -1),
    **dict.fromkeys(("", "0", "none", "read"), 0),
}
COLUMNS = ("pulses", "direction", "weight", "conductance", "device", "repeat")
ALIASES = {"pulse": "pulses", "g": "conductance", "w": "weight"}
FORMAT = (
    "a trace has a header and the columns `pulses` (signed number since the last reading) or "
    "`direction` (up, down), and `weight` or `conductance` (in S, or `conductance [uS]`); "
    "`device` and `repeat` may follow"
)


class Column(NamedTuple):
    """Where a column is, and what one of its unit is in SI, if it names one."""

    index: int
    factor: float | None = None


def read_trace(path: str | Path) -> Trace:
    """Read pulse trains from a CSV file with a header; one row is one reading.

    Columns, in any order: `pulses`, the signed number of pulses since the previous reading of this
    train (positive up, 0 none), or `direction`, `up` or `down` for one pulse; `weight`, or
    `conductance` in siemens or in the unit of its header, `conductance [uS]`; `device` and
    `repeat`, names that tell trains apart. Lines that start with # are comments. Pulses before the
    first reading of a train tell nothing.

    Raises:
        DataError: the file is missing, is not text or not such a table, or a cell is not a number.
    """
    file = Path(path)
    header, rows = read_rows(file)
    columns = _columns(file, header)
    conductance = "conductance" in columns
    trains: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for line, row in rows:
        names = [row[columns[c].index] if c in columns else "0" for c in ("device", "repeat")]
        value = number(file, line, row, columns["conductance" if conductance else "weight"])
        trains.setdefault((names[0], names[1]), []).append(
            (_pulses(file, line, row, columns), value)
        )
    if not trains:
        raise DataError(f"{file} has a header and no readings")
    return Trace(
        tuple(
            Train(
                device,
                repeat,
                first_at_rest(np.array([pulses for pulses, _ in readings], np.int64)),
                np.array([value for _, value in readings]),
            )
            for (device, repeat), readings in trains.items()
        ),
        conductance,
        file.name,
    )


def read_rows(file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header of a CSV file, and its rows with their line numbers.

    Raises:
        DataError: the file is missing, not text, empty, or has rows of another length.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"no such file: {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file} as text: {error}") from None
    kept = [(k, line) for k, line in enumerate(lines, 1) if line.strip() and line[:1] != "#"]
    if not kept:
        raise DataError(f"{file} is empty; {FORMAT}")
    table = csv.reader(line for _, line in kept)
    rows = [(k, [cell.strip() for cell in row]) for (k, _), row in zip(kept, table, strict=True)]
    header = rows[0][1]
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise DataError(f"{file}, line {line}: {len(row)} cells under {len(header)} columns")
    return header, iter(rows[1:])


def column(file: Path, title: str, index: int, known: tuple[str, ...]) -> tuple[str, Column]:
    """Return a column by its title, `name` or `name [unit]`.

    Raises:
        DataError: no such column is known, or its unit is none of conductance.
    """
    match = re.fullmatch(r"(.*?)\s*(?:[\[(](.*)[\])])?", title.strip())
    assert match is not None
    name = match[1].strip().lower().replace(" ", "_")
    name = ALIASES.get(name, name)
    if name not in known:
        raise DataError(
            f"{file}: unknown column {title!r}{nearest(name, dict.fromkeys(known))}; {FORMAT}"
        )
    if not match[2]:
        return name, Column(index)
    if name in ("weight", "pulses", "direction", "device", "repeat"):
        raise DataError(f"{file}: column {title!r} has a unit; only conductances have")
    try:
        return name, Column(index, parse(f"1 {match[2]}", "S"))
    except SpecError as error:
        raise DataError(f"{file}: column {title!r}: {error}") from None


def number(file: Path, line: int, row: list[str], where: Column) -> float:
    """Return a cell as a number in SI.

    Raises:
        DataError: it is not a finite number.
    """
    text = row[where.index]
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{file}, line {line}: {text!r} is not a number") from None
    if not np.isfinite(value):
        raise DataError(f"{file}, line {line}: readings must be finite, got {text!r}; drop the row")
    return value * (where.factor or 1.0)


def _columns(file: Path, header: list[str]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for index, title in enumerate(header):
        name, where = column(file, title, index, COLUMNS)
        if name in found:
            raise DataError(f"{file} has two columns {name!r}")
        found[name] = where
    for one, other in (("pulses", "direction"), ("weight", "conductance")):
        if (one in found) == (other in found):
            count = "both" if one in found else "none"
            raise DataError(
                f"{file} needs one column of `{one}` and `{other}`, has {count}; {FORMAT}"
            )
    return found


def _pulses(file: Path, line: int, row: list[str], columns: dict[str, Column]) -> int:
    if "direction" in columns:
        text = row[columns["direction"].index]
        if text.lower() not in DIRECTIONS:
            raise DataError(f"{file}, line {line}: direction {text!r} is neither up nor down")
        return DIRECTIONS[text.lower()]
    text = row[columns["pulses"].index]
    try:
        value = float(text or 0)
    except ValueError:
        value = np.nan
    if not np.isfinite(value) or value != round(value):
        raise DataError(
            f"{file}, line {line}: pulses {text!r} must be a whole signed number, such as 1 or -1"
        )
    return int(value)
