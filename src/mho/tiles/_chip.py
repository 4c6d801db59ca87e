"""Tiles over their life: scales, programming, ageing, and the converters of a chip instance."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..cells import CellState, Sites
from ..errors import DataError, RangeError
from ..ops import (
    Stream,
    all_finite,
    differentiable,
    in_memory,
    row_peaks,
    with_gradient_of,
    with_noise,
)
from ._converters import read_out
from ._effective import at_least_single, column_offsets, effective
from ._geometry import Geometry
from ._hardware import Hardware
from ._operand import Columns, Operand


class Programmed(NamedTuple):
    """What programming leaves on the arrays of one weight matrix, float32.

    `cells` holds conductances (planes, out, rows) in siemens; `scale` (row-slices, out) is the
    weight that g_max stands for.
    """

    cells: CellState
    scale: Tensor


class Present(NamedTuple):
    """The arrays as they compute at one time.

    `weight` is (columns, rows) in the model's units, `negative` the weight for inputs of negative
    polarity where that differs, `columns` the read-out of each physical column.
    """

    weight: Tensor
    negative: Tensor | None
    columns: Columns
    cells: Tensor | None = None
    """Conductances (planes, out, rows) [S], where wires are found for every vector."""


def column_scale(
    weight: Tensor, scaling: str, geometry: Geometry, w_max: float | None = None
) -> Tensor:
    """Return the weight that g_max stands for, (row-slices, out), for a weight (out, rows).

    Args:
        weight: the target weights.
        scaling: see `Mapping`.
        geometry: how they lie on the arrays.
        w_max: the weight under `fixed`.
    """
    partition, w, known = geometry.partition, weight.detach(), False
    if scaling == "fixed":
        return w.new_full((geometry.parts, geometry.out), w_max or 1.0)
    if len(set(partition.rows)) == 1:
        tiles = w.unflatten(1, (geometry.parts, -1))  # (out, R, k)
        known = in_memory(tiles)
        scale = row_peaks(tiles).T if known else torch.maximum(tiles.amax(2), -tiles.amin(2)).T
    else:
        pieces = w.split(list(partition.rows), dim=1)
        scale = torch.stack([torch.maximum(p.amax(1), -p.amin(1)) for p in pieces])
    if scaling == "tile":
        tiles = scale.split(list(partition.columns), dim=1)
        scale = torch.cat([t.amax(1, keepdim=True).expand_as(t) for t in tiles], dim=1)
    if known and bool(scale.all()):
        return scale
    # A column of zeros has any scale: the largest of its row-slice gives it no more noise than its
    # neighbors have, and lets it learn; a row-slice of zeros has 1.
    largest = scale.amax(1, keepdim=True)
    return torch.where(scale > 0, scale, torch.where(largest > 0, largest, 1.0))


def spread_over_rows(scale: Tensor, geometry: Geometry) -> Tensor:
    """Repeat a per-slice value (row-slices, n) over the rows of each slice: (n, rows)."""
    # Not repeat_interleave: the size of its result depends on data, which compilers cannot trace.
    spread = [s.expand(n, -1) for s, n in zip(scale, geometry.partition.rows, strict=True)]
    return torch.cat(spread).T


def with_noise_per_slice(weights: Tensor, spread: Tensor, geometry: Geometry) -> Tensor:
    """Return weights (n, rows) with Gaussian noise of a std per row-slice (row-slices, n)."""
    sizes = geometry.partition.rows
    if len(sizes) == 1:
        return with_noise(weights, spread.T)
    if len(set(sizes)) > 1:
        return with_noise(weights, spread_over_rows(spread, geometry))
    tiles = weights.unflatten(1, (len(sizes), -1))
    return with_noise(tiles, spread.T[:, :, None]).flatten(1)


def nominal(
    weight: Tensor, hardware: Hardware, geometry: Geometry, scale: Tensor | None = None
) -> Operand:
    """Return a weight (out, rows) as ideal cells and nominal converters would hold it.

    Its gradient is that of the weight itself (straight through levels and limits), or the one that
    wires and combination rule make of it.

    Args:
        weight: the matrix.
        hardware: its mapping, cells and arrays.
        geometry: how the weights lie on the arrays.
        scale: the weight that g_max stands for, (row-slices, out), where cells may hold more than
            that; without it, that of the mapping, and limits are kept.
    """
    mapping, limited = hardware.mapping, scale is None
    if scale is None:
        scale = column_scale(weight, mapping.scaling, geometry, mapping.w_max)
    acts, gated = hardware.array_acts, found_per_vector(hardware)
    if mapping.exact and len(mapping.significance) == 1 and not (acts or gated):
        return Operand(weight, scale)
    per_cell = spread_over_rows(scale, geometry)
    through = (acts or gated) and mapping.differentiable and differentiable(weight)
    relative = (weight if through else weight.detach()) / per_cell
    relative = relative.to(at_least_single(weight))
    if limited:
        kept = relative.detach().clamp(-1, 1)
        # At 0 the two devices of a pair would both have the gradient; a positive one has its own.
        kept = torch.where(kept == 0, torch.finfo(kept.dtype).tiny, kept) if through else kept
        relative = with_gradient_of(relative, kept) if through else kept
    cell = hardware.cell
    g = mapping.encode(relative, cell.g_min, cell.g_max)
    cells = g if gated else None
    decoded = mapping.decode(effective(g, hardware, geometry), cell.g_min, cell.g_max)
    slices = (decoded * per_cell).to(weight.dtype)  # (slices, out, rows)
    if not through and differentiable(weight):
        # Straight through: the gradient takes the way of the most significant slice.
        slices = torch.cat(
            (slices[:-1], slices[-1:] + (weight - weight.detach()) / mapping.significance[-1])
        )
    count = len(mapping.significance)
    slices, scale = slices.flatten(0, 1), scale.repeat(1, count)
    return Operand(slices, scale, mapping.significance, cells=cells)


def found_per_vector(hardware: Hardware) -> bool:
    """Whether products need the conductances themselves."""
    wires = hardware.array.wires
    return wires is not None and wires.per_vector


def relative_weight(
    weight: Tensor, hardware: Hardware, geometry: Geometry, name: str
) -> tuple[Tensor, Tensor]:
    """Return weight / scale in [-1, 1], (out, rows), and the scale, both float32 on the CPU.

    Raises:
        DataError: a weight is not finite.
        RangeError: a weight exceeds the fixed scale of the mapping.
    """
    w = weight.detach().to("cpu", torch.float32)
    if not all_finite(w):
        raise DataError(f"{name} has values that are not finite; nothing was programmed.")
    mapping = hardware.mapping
    scale = column_scale(w, mapping.scaling, geometry, mapping.w_max)
    relative = w / spread_over_rows(scale, geometry)
    if relative.abs().max() > 1 + 1e-6:
        raise RangeError(
            f"{name}: |w| reaches {w.abs().max():.4g}, above mapping.w_max = "
            f"{mapping.w_max}; raise w_max, clip the weights, or use `scaling: column`."
        )
    return relative.clamp(-1, 1), scale


def program(weight: Tensor, hardware: Hardware, geometry: Geometry, stream: Stream) -> Programmed:
    """Program a weight matrix (out, rows) onto cells, once; raises as `relative_weight` does."""
    relative, scale = relative_weight(weight, hardware, geometry, stream.tile)
    cell = hardware.cell
    target = hardware.mapping.encode(relative, cell.g_min, cell.g_max)
    return Programmed(cell.program(target, stream), scale)


def hold(
    relative: Tensor, scale: Tensor, hardware: Hardware, geometry: Geometry, stream: Stream
) -> Programmed:
    """Return cells that hold relative weights (out, rows) as they are, by whatever was written.

    Args:
        relative: weights in units of `scale`; 1 is g_max, and arrays may hold more.
        scale: the weight that g_max stands for, (row-slices, out).
        hardware: its mapping and its cells.
        geometry: how the weights lie on the arrays.
        stream: draws of this tile.

    Raises:
        DataError: a weight is not finite.
    """
    cell = hardware.cell
    w = relative.detach().to("cpu", torch.float32)
    conductance = hardware.mapping.encode(w, cell.g_min, cell.g_max)
    return Programmed(cell.hold(conductance, stream), scale.float().cpu())


def present(
    programmed: Programmed, hardware: Hardware, geometry: Geometry, stream: Stream, seconds: float
) -> Present:
    """Return the arrays as they compute `seconds` after programming."""
    cell, mapping = hardware.cell, hardware.mapping
    g = cell.conductance(programmed.cells, seconds, stream, sites(geometry))
    g = effective(g, hardware, geometry)
    per_cell = spread_over_rows(programmed.scale.cpu(), geometry)
    weight = (mapping.decode(g, cell.g_min, cell.g_max) * per_cell).flatten(0, 1)  # (columns, rows)
    weight, drive = _row_drivers(weight, hardware, geometry, stream)
    offset = column_offsets(g, hardware, geometry)
    if offset is not None:
        offset = offset * programmed.scale.cpu()
        drive = offset if drive is None else drive + offset
    negative = None
    if hardware.array.polarity_spread:
        xi = stream.normal("polarity", tuple(weight.shape))
        negative = weight * (1 + hardware.array.polarity_spread * xi)
    cells = g if found_per_vector(hardware) else None
    return Present(weight, negative, read_out(hardware, geometry, stream, drive), cells)


def sites(geometry: Geometry) -> Sites:
    """Return the physical row and column of each weight within its array."""
    columns = [j for size in geometry.partition.columns for j in range(size)]
    return Sites(geometry.row_position(), torch.tensor(columns))


def _row_drivers(
    weight: Tensor, hardware: Hardware, geometry: Geometry, stream: Stream
) -> tuple[Tensor, Tensor | None]:
    """Fold the drivers' gains into the weights; return also what their offsets add to each column.

    Each array has its own drivers, v_j (1 + g_j) + o_j. A gain on row j is a factor on the row's
    weights, which holds for convolutions too, where a pixel is driven on a different row for every
    patch. What is quadratic in v (noise of the cells, wires, series resistance) sees o_j = 0.
    """
    dac, count = hardware.dac, len(geometry.partition.columns)
    owner = torch.repeat_interleave(torch.arange(count), torch.tensor(geometry.partition.columns))
    owner = owner.repeat(geometry.slices)  # (columns,)
    drive = None
    if dac.offset_spread:
        offset = dac.offset_spread * stream.normal("dac offset", (count, geometry.rows))
        pieces = (weight * offset[owner]).split(list(geometry.partition.rows), dim=1)
        drive = torch.stack([piece.sum(1) for piece in pieces])
    if dac.gain_spread:
        xi = stream.normal("dac gain", (count, geometry.rows))
        weight = weight * (1 + dac.gain_spread * xi)[owner]
    return weight, drive
