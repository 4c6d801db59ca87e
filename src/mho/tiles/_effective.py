"""What cells compute as, once wires and the combination rule of their arrays have acted."""

import itertools

import torch
from torch import Tensor

from ..circuits import Column
from ._geometry import Geometry
from ._hardware import Hardware


def effective(g: Tensor, hardware: Hardware, geometry: Geometry) -> Tensor:
    """Return the conductances of ideal arrays that give the same signals.

    Each array is a circuit of its own: conductances never act on those of another one.

    Args:
        g: conductances (planes, out, rows) [S].
        hardware: its array.
        geometry: how the weights lie on the arrays.
    """
    if not hardware.array_acts:
        return g
    single = g.to(at_least_single(g))
    return _computed(single, hardware, geometry).to(g.dtype)


def at_least_single(like: Tensor) -> torch.dtype:
    """Return the precision in which circuits are solved: half has no digits for siemens."""
    return torch.promote_types(like.dtype, torch.float32)


def _computed(g: Tensor, hardware: Hardware, geometry: Geometry) -> Tensor:
    """See `effective`."""
    if hardware.cell.signed:  # stands for a pair, one of which is off
        positive, negative = _devices(devices(g), hardware, geometry).chunk(2)
        return positive - negative
    return _devices(g, hardware, geometry)


def devices(g: Tensor) -> Tensor:
    """Return signed conductances as those of the two devices that they stand for."""
    return torch.cat((g.clamp(min=0), (-g).clamp(min=0)))


def _devices(g: Tensor, hardware: Hardware, geometry: Geometry) -> Tensor:
    """See `effective`, for conductances of single devices."""
    array, rows = hardware.array, list(geometry.partition.rows)
    own = columns_of(hardware, geometry)
    arrays = [columns.split(rows, dim=2) for columns in g.split(column_spans(geometry), dim=1)]
    places = [(c, r) for c in range(len(arrays)) for r in range(len(rows))]
    found: dict[tuple[int, int], Tensor] = {}
    for shape in dict.fromkeys(arrays[c][r].shape for c, r in places):  # alike ones all at once
        alike = [(c, r) for c, r in places if arrays[c][r].shape == shape]
        stacked = torch.stack([arrays[c][r] for c, r in alike])
        column = own[alike[0][1]]
        whole = array.combine.effective(stacked, array.wires, column)
        found.update(zip(alike, whole.unbind(), strict=True))
    each = [torch.cat([found[c, r] for r in range(len(rows))], dim=2) for c in range(len(arrays))]
    return torch.cat(each, dim=1)


def column_spans(geometry: Geometry) -> list[int]:
    """Return how many outputs share an array, array by array; groups of channels share none.

    Each group has inputs of its own, so that its rows are other lines.
    """
    per_group = geometry.out // geometry.groups
    ends = itertools.accumulate(geometry.partition.columns)
    edges = sorted({0, *ends, *range(per_group, geometry.out, per_group)})
    return [stop - start for start, stop in itertools.pairwise(edges)]


def columns_of(hardware: Hardware, geometry: Geometry) -> list[Column]:
    """Return what the columns of each row-slice are like."""
    cell = hardware.cell
    return [Column(n, cell.g_min, cell.g_max, geometry.parts) for n in geometry.partition.rows]


def column_offsets(effective: Tensor, hardware: Hardware, geometry: Geometry) -> Tensor | None:
    """Return what the rule adds to each column's sum of relative weights, if it adds anything.

    Args:
        effective: conductances of ideal arrays (planes, out, rows) [S].
        hardware: its array.
        geometry: how the weights lie on the arrays.

    Returns:
        (row-slices, out), or None.
    """
    arrays = effective.split(list(geometry.partition.rows), dim=2)
    pairs = zip(arrays, columns_of(hardware, geometry), strict=True)
    found = [hardware.array.combine.offset(one, column) for one, column in pairs]
    return None if found[0] is None else torch.stack([each for each in found if each is not None])


def signal_scale(scale: Tensor, hardware: Hardware, geometry: Geometry) -> Tensor:
    """Return weight times relative drive that makes a signal of 1, (row-slices, columns).

    Args:
        scale: weight of a cell at g_max, (row-slices, columns).
        hardware: its array, whose rule says how many cells' worth a signal of 1 is.
        geometry: how the weights lie on the arrays.
    """
    combine = hardware.array.combine
    units = [combine.full_scale(column) for column in columns_of(hardware, geometry)]
    if all(unit == 1.0 for unit in units):
        return scale
    return scale * torch.tensor(units, dtype=scale.dtype, device=scale.device)[:, None]


def rule_noise(hardware: Hardware, geometry: Geometry, like: Tensor) -> Tensor | None:
    """Return the std of the noise that the rule adds to signals, (row-slices, columns), if any."""
    combine = hardware.array.combine
    noise = [combine.noise(column) for column in columns_of(hardware, geometry)]
    if not any(noise):
        return None
    columns = geometry.slices * geometry.out
    return torch.tensor(noise, dtype=like.dtype, device=like.device)[:, None].expand(-1, columns)
