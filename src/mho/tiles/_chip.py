"""Tiles over their life: scales, programming, ageing, and the converters of a chip instance."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..cells import CellState, Sites
from ..errors import DataError, RangeError
from ..ops import Stream, all_finite
from ._effective import effective
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
    partition, w = geometry.partition, weight.detach()
    if scaling == "fixed":
        return w.new_full((geometry.parts, geometry.out), w_max or 1.0)
    if len(set(partition.rows)) == 1:
        tiles = w.unflatten(1, (geometry.parts, -1))  # (out, R, k)
        scale = torch.maximum(tiles.amax(2), -tiles.amin(2)).T
    else:
        pieces = w.split(list(partition.rows), dim=1)
        scale = torch.stack([torch.maximum(p.amax(1), -p.amin(1)) for p in pieces])
    if scaling == "tile":
        tiles = scale.split(list(partition.columns), dim=1)
        scale = torch.cat([t.amax(1, keepdim=True).expand_as(t) for t in tiles], dim=1)
    # A column of zeros has any scale: the largest of its row-slice gives it no more noise than its
    # neighbors have, and lets it learn; a row-slice of zeros has 1.
    largest = scale.amax(1, keepdim=True)
    return torch.where(scale > 0, scale, torch.where(largest > 0, largest, 1.0))


def spread_over_rows(scale: Tensor, geometry: Geometry) -> Tensor:
    """Repeat a per-slice value (row-slices, n) over the rows of each slice: (n, rows)."""
    # Not repeat_interleave: the size of its result depends on data, which compilers cannot trace.
    spread = [s.expand(n, -1) for s, n in zip(scale, geometry.partition.rows, strict=True)]
    return torch.cat(spread).T


def times_per_slice(weights: Tensor, factor: Tensor, geometry: Geometry) -> Tensor:
    """Multiply weights (n, rows) in place by a value per row-slice (row-slices, n)."""
    sizes = geometry.partition.rows
    if len(set(sizes)) > 1:
        return weights.mul_(spread_over_rows(factor, geometry))
    weights.unflatten(1, (len(sizes), -1)).mul_(factor.T[:, :, None])
    return weights


def nominal(weight: Tensor, hardware: Hardware, geometry: Geometry) -> Operand:
    """Return a weight (out, rows) as ideal cells and nominal converters would hold it."""
    mapping = hardware.mapping
    scale = column_scale(weight, mapping.scaling, geometry, mapping.w_max)
    if mapping.exact and len(mapping.significance) == 1 and not hardware.array_acts:
        return Operand(weight, scale)
    per_cell = spread_over_rows(scale, geometry)
    relative = (weight.detach() / per_cell).clamp(-1, 1)
    cell = hardware.cell
    g = mapping.encode(relative, cell.g_min, cell.g_max)
    decoded = mapping.decode(effective(g, hardware, geometry), cell.g_min, cell.g_max)
    slices = decoded * per_cell  # (slices, out, rows)
    if torch.is_grad_enabled() and weight.requires_grad:
        # Straight through: the gradient takes the way of the most significant slice.
        slices = torch.cat(
            (slices[:-1], slices[-1:] + (weight - weight.detach()) / mapping.significance[-1])
        )
    count = len(mapping.significance)
    return Operand(slices.flatten(0, 1), scale.repeat(1, count), mapping.significance)


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
    negative = None
    if hardware.array.polarity_spread:
        xi = stream.normal("polarity", tuple(weight.shape))
        negative = weight * (1 + hardware.array.polarity_spread * xi)
    return Present(weight, negative, _columns(hardware, geometry, stream, drive))


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


def _columns(
    hardware: Hardware, geometry: Geometry, stream: Stream, drive: Tensor | None
) -> Columns:
    """Draw the read-out of each physical column."""
    adc, shape = hardware.adc, (geometry.parts, geometry.slices * geometry.out)

    def around_one(purpose: str, spread: float) -> Tensor | None:
        return 1 + spread * stream.normal(purpose, shape) if spread else None

    front = adc.front_end
    noise = around_one("output noise", hardware.noise.output_spread)
    transfer = around_one("transfer", adc.transfer.spread if adc.transfer else 0.0)
    return Columns(
        gain=around_one("adc gain", adc.gain_spread),
        offset=adc.offset_spread * stream.normal("adc offset", shape)
        if adc.offset_spread
        else None,
        # A spread is symmetric about the nominal value, but a std or a curvature has no sign.
        noise=None if noise is None else noise.abs(),
        transfer=None if transfer is None else transfer.abs(),
        front_end=(front.offset_spread * stream.normal("front end", shape)).clamp(min=0)
        if front and front.offset_spread
        else None,
        drive=drive,
    )
