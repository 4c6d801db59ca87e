"""Faults: cells that are stuck, whatever they are programmed to."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..errors import DataError
from ..ops import Stream
from ..spec import Spec

WORKS, AT_ZERO, AT_MAX, AT_RANDOM = range(4)


class Sites(NamedTuple):
    """Physical position of each input (row) and each output (column) inside its array, integers."""

    row: Tensor
    column: Tensor


class Faults(Spec):
    """Stuck cells: a fraction drawn at random per chip, a measured map, or both.

    Stuck at zero means the smallest conductance of the cell, stuck at max the largest, and stuck at
    random a conductance drawn once, uniformly in between. Where cells carry a sign, stuck ones do.
    A stuck cell neither drifts nor fluctuates. The map wins over the draw.
    """

    at_zero: float = Field(default=0.0, ge=0, le=1, description="Fraction of cells stuck at g_min.")
    at_max: float = Field(default=0.0, ge=0, le=1, description="Fraction of cells stuck at g_max.")
    random: float = Field(
        default=0.0, ge=0, le=1, description="Fraction of cells stuck at a random conductance."
    )
    map: str | None = Field(
        default=None,
        description="CSV or .npy file of codes by physical (row, column), in .npy with an optional "
        "leading axis of planes: 0 works, 1 stuck at g_min, 2 at g_max, 3 at random.",
    )

    @model_validator(mode="after")
    def _at_most_all(self) -> "Faults":
        total = self.at_zero + self.at_max + self.random
        if total > 1 + 1e-9:
            raise ValueError(f"at_zero + at_max + random = {total:g} must not exceed 1")
        return self

    def apply(
        self,
        conductance: Tensor,
        stream: Stream,
        low: float,
        high: float,
        signed: bool = False,
        sites: Sites | None = None,
    ) -> Tensor:
        """Return conductances [S] with the stuck cells in place.

        Args:
            conductance: [S], shape (planes, out, in); any shape where there is no map.
            stream: draws of this tile.
            low: conductance [S] of a cell stuck at zero.
            high: conductance [S] of a cell stuck at max.
            signed: whether stuck cells carry a random sign.
            sites: positions inside the array, needed for a map.

        Raises:
            DataError: there is a map but no sites, or the map does not fit.
        """
        shape = tuple(conductance.shape)
        codes = self._codes(stream, shape, sites)
        level = low + (high - low) * stream.uniform("stuck value", shape)
        level = torch.where(codes == AT_ZERO, low, torch.where(codes == AT_MAX, high, level))
        if signed:
            level = torch.copysign(level, stream.uniform("stuck sign", shape) - 0.5)
        return torch.where(codes == WORKS, conductance, level)

    def _codes(self, stream: Stream, shape: tuple[int, ...], sites: Sites | None) -> Tensor:
        draw = stream.uniform("stuck", shape)
        shares = (self.at_zero, self.at_max, self.random)
        edges = torch.tensor(shares, dtype=torch.float32, device=draw.device)
        # How many edges lie at or under the draw: 0 to 3, in the order zero, max, random, works.
        codes = (torch.bucketize(draw, edges.cumsum(0), right=True) + 1) % 4
        if self.map is None:
            return codes
        measured = self._measured(shape, sites)
        return torch.where(measured == WORKS, codes, measured)

    def _measured(self, shape: tuple[int, ...], sites: Sites | None) -> Tensor:
        if sites is None:
            raise DataError(f"fault map {self.map} needs the cells' positions; pass sites")
        codes = load_map(str(self.map))
        planes, rows, columns = codes.shape
        if len(shape) != 3 or shape[1:] != (len(sites.column), len(sites.row)):
            raise DataError(
                f"fault map {self.map}: conductances of shape {shape} are not (planes, out, in) = "
                f"(planes, {len(sites.column)}, {len(sites.row)}), as the sites say"
            )
        if planes not in (1, shape[0]):
            raise DataError(f"fault map {self.map} has {planes} planes; the cells have {shape[0]}")
        for name, site, size in (("row", sites.row, rows), ("column", sites.column, columns)):
            if site.min() < 0 or site.max() >= size:
                raise DataError(
                    f"fault map {self.map} has {name}s 0 to {size - 1}; the cells use {name} "
                    f"{int(site.max())}; give a map of the whole array"
                )
        row, column = (site.to("cpu", torch.int64) for site in sites)
        return codes[:, row[None, :], column[:, None]].expand(shape)


def load_map(path: str) -> Tensor:
    """Read the fault map of an array, as codes (planes, rows, columns).

    Raises:
        DataError: the file is missing, unreadable, or holds something else.
    """
    try:
        return _cached(path, Path(path).stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the fault map {path}: {error}") from None


@lru_cache(maxsize=8)
def _cached(path: str, _modified: int) -> Tensor:
    numpy_file = path.endswith(".npy")
    raw = np.load(path) if numpy_file else np.loadtxt(path, delimiter=",", ndmin=2)
    if raw.ndim not in (2, 3) or raw.size == 0 or not np.isin(raw, range(4)).all():
        raise ValueError(
            "expected codes 0, 1, 2 or 3 of shape (rows, columns) or (planes, rows, columns), got "
            f"shape {raw.shape} and values such as {raw.ravel()[:3].tolist()}"
        )
    return torch.from_numpy(raw.reshape(-1, *raw.shape[-2:]).astype(np.int64))
