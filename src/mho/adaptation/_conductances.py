"""Disturbances that act on conductances: weights are encoded, disturbed, and decoded."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..cells import Cell
from ..nn import Crossbar
from ..tiles import Operand, effective, spread_over_rows


def disturbed(
    operand: Operand,
    weight: Tensor,
    crossbar: Crossbar,
    cell: Cell,
    act: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the held weights (columns, rows) after `act` changed their cells, straight through.

    Args:
        operand: the weights as the arrays hold them, and their scale.
        weight: the targets (out, rows) that the cells are written to.
        crossbar: where they are.
        cell: whose range of conductance.
        act: what becomes of conductances (planes, out, rows) [S].
    """
    mapping, low, high = crossbar.hardware.mapping, cell.g_min, cell.g_max
    with torch.no_grad():
        # In single precision: half precision has no digits for siemens.
        scale = operand.scale[:, : crossbar.geometry.out].float()
        scale = spread_over_rows(scale, crossbar.geometry)
        target = mapping.encode((weight.float() / scale).clamp(-1, 1), low, high)
        change = _computed(act(target), crossbar, cell) - _computed(target, crossbar, cell)
        change = (change * scale).flatten(0, 1).to(operand.weight.dtype)
    return operand.weight + change


def _computed(g: Tensor, crossbar: Crossbar, cell: Cell) -> Tensor:
    """Return the relative weights (slices, out, rows) that arrays make of conductances of a cell.

    What wires and the rule of the arrays do depends on the conductances of the hardware's own cell;
    those of another one are stretched to its range.
    """
    hardware, span = crossbar.hardware, cell.g_max - cell.g_min
    if not hardware.array_acts:
        return hardware.mapping.decode(g, cell.g_min, cell.g_max)
    low, high = hardware.cell.g_min, hardware.cell.g_max
    own = g if cell == hardware.cell else low + (g - cell.g_min) * ((high - low) / span)
    computed = effective(own, hardware, crossbar.geometry)
    return hardware.mapping.decode(computed, low, high)
