"""Measured curves: points and values, or a file of them."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from ._curves import Curve


class Table(Curve):
    """Measured points, joined by straight lines.

    A cell refuses a table that does not reach from its g_min to its g_max. Only cells that noise
    has carried past the ends get the value at the end, as in the custom drift model of N. Li et
    al., Adv. Electron. Mater. 9:2201190, 2023.

    Instead of points and values, `file` names a CSV with a header, `column` the column of values
    and `argument` that of the points (by default the first). The numbers are read once, so that
    the value stays what it is when the file changes.
    """

    kind: Literal["table"] = "table"
    points: tuple[float, ...] = Field(
        min_length=2, description="Ascending arguments, at least two, in any unit (argument_scale)."
    )
    values: tuple[float, ...] = Field(
        min_length=2, description="Value at each point, in the unit of the law that uses the curve."
    )
    argument_scale: float = Field(
        default=1.0,
        gt=0,
        description="The point that stands for g_max: 1 for r, 25 for uS up to 25 uS.",
    )

    def __call__(self, r: Tensor) -> Tensor:
        """Return the interpolated value."""
        points = torch.tensor(self.points, dtype=r.dtype, device=r.device)
        values = torch.tensor(self.values, dtype=r.dtype, device=r.device)
        x = (r * self.argument_scale).clamp(points[0], points[-1])
        right = torch.searchsorted(points, x.contiguous()).clamp(1, len(self.points) - 1)
        x0, x1, y0, y1 = points[right - 1], points[right], values[right - 1], values[right]
        return y0 + (y1 - y0) * ((x - x0) / (x1 - x0))

    def require(self, low: float, high: float) -> None:
        """Refuse a table that ends inside the range."""
        first, last = (self.points[i] / self.argument_scale for i in (0, -1))
        if first > low + 1e-6 or last < high - 1e-6:
            raise ValueError(
                f"the table covers r = g/g_max from {first:g} to {last:g}, the cell needs {low:g} "
                f"to {high:g}; measure the missing range, narrow g_min and g_max, or set "
                "argument_scale to the point that stands for g_max"
            )

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "file" not in data:
            return data
        rest = dict(data)
        file, column, argument = (rest.pop(name, None) for name in ("file", "column", "argument"))
        if rest.keys() & {"points", "values"}:
            raise ValueError("give either file and column, or points and values, not both")
        return {**rest, **_read_columns(Path(file), column, argument)}

    @model_validator(mode="after")
    def _ascending(self) -> "Table":
        if len(self.points) != len(self.values):
            raise ValueError(f"{len(self.points)} points but {len(self.values)} values")
        if any(b <= a for a, b in pairwise(np.array(self.points, np.float32))):
            raise ValueError(f"points must be strictly ascending, got {self.points}")
        return self


def _read_columns(
    file: Path, column: str | None, argument: str | None
) -> dict[str, tuple[float, ...]]:
    try:
        with file.open(newline="", encoding="utf8") as handle:
            rows = [row for row in csv.reader(handle) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the table {file}: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    wanted = {"points": argument or next(iter(header), None), "values": column}
    result: dict[str, tuple[float, ...]] = {}
    for key, name in wanted.items():
        if name not in header:
            raise ValueError(f"{file} has no column {name!r}; its columns: {', '.join(header)}")
        index = header.index(name)
        try:
            result[key] = tuple(float(row[index]) for row in rows[1:])
        except (ValueError, IndexError) as error:
            raise ValueError(f"{file}, column {name!r}: {error}") from None
    return result
