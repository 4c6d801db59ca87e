"""Arrays whose network depends on the input: what their wires take off each column's signal."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..circuits import WireNetwork
from ._effective import at_least_single, column_spans, devices
from ._operand import Setting


def network_drop(drive: Tensor, setting: Setting) -> Tensor:
    """Return what the wires take off the relative signals of a product of drives, in its layout.

    The drop is the difference of the columns' currents without and with wires, so that everything
    else about the weights (noise of training, straight-through gradients) stays in the product.
    """
    wires, cells = setting.hardware.array.wires, setting.operand.cells
    assert wires is not None
    assert cells is not None
    geometry = setting.geometry
    x = _by_group(drive.to(at_least_single(drive)) / setting.full)  # (N, G, R, k)
    sizes, per_group = list(geometry.partition.rows), geometry.out // geometry.groups
    found, start = [], 0
    with _without_autocast(x):
        for span in column_spans(geometry):
            own = cells[:, start : start + span].to(x.dtype).split(sizes, dim=2)
            drives = x[:, start // per_group].unbind(1)
            lost = [_lost(g, v[:, : g.shape[2]], setting) for g, v in zip(own, drives, strict=True)]
            found.append(torch.stack(lost, dim=1))  # (N, R, S, span)
            start += span
    drop = torch.cat(found, dim=3).unflatten(3, (geometry.groups, per_group)).movedim(3, 1)
    return _as_product(drop, drive.dim())


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Half precision has no digits for the difference of two currents."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def _lost(g: Tensor, x: Tensor, setting: Setting) -> Tensor:
    """Relative signal that is lost on one array, (N, slices, o), for cells (planes, o, k)."""
    hardware, wires = setting.hardware, setting.hardware.array.wires
    assert isinstance(wires, WireNetwork)
    if hardware.cell.signed:
        g = devices(g)
    lost = torch.einsum("nk,pok->pno", x, g) - wires.currents(g, x).transpose(0, 1)
    if hardware.cell.signed:
        positive, negative = lost.chunk(2)
        lost = positive - negative
    low, high = hardware.cell.g_min, hardware.cell.g_max
    decode = hardware.mapping.decode
    # A reference that is subtracted digitally has no wires.
    return (decode(lost, low, high) - decode(torch.zeros_like(lost), low, high)).transpose(0, 1)


def _by_group(v: Tensor) -> Tensor:
    """Drives (N, k), (R, N, k) or (N, G, R, k) as the last of these."""
    if v.dim() == 2:
        return v[:, None, None]
    return v.transpose(0, 1)[:, None] if v.dim() == 3 else v


def _as_product(y: Tensor, dims: int) -> Tensor:
    """Signals (N, G, R, S, o) in the layout of a product, whose last axis is (S o)."""
    y = y.flatten(-2)
    if dims == 2:
        return y[:, 0, 0]
    return y[:, 0].transpose(0, 1) if dims == 3 else y
