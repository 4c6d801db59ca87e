"""Disturbances that act on conductances: weights are encoded, disturbed, and decoded."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..cells import Cell
from ..nn import Crossbar
from ..tiles import Operand, spread_over_rows


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
        change = mapping.decode(act(target), low, high) - mapping.decode(target, low, high)
        change = (change * scale).flatten(0, 1).to(operand.weight.dtype)
    return operand.weight + change
