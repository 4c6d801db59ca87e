"""Currents of some vectors on an array, of linear cells or of cells with a curved I-V.

A cell of conductance G (at small voltages) and voltage V_0 carries

    I = G V_0 sinh(V / V_0)

so that the network is not linear and has no matrix. Newton's method solves it: each round is a
linear network of conductances G cosh(V / V_0) with currents injected beside its cells, solved for
all vectors by conjugate gradients. Gradients come from the adjoint network at the solution.

Source of the I-V: the compact model of filamentary oxides of Guan, Yu & Wong, IEEE Electron Device
Lett. 33, 1405 (2012).
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import RangeError
from ._wire_lines import Lines
from ._wire_vectors import node_voltages

ROUNDS = 60
"""Rounds of Newton's method; from below the cells' own voltage it takes 3 or 4."""
NUMBERS = 1 << 24
"""Cells times vectors solved at once."""


def vector_currents(
    g: Tensor, v: Tensor, lines: Lines, cell_voltage: float | None = None
) -> Tensor:
    """Return the currents of all columns for some vectors, (arrays, n, columns) [A].

    Args:
        g: conductances (arrays, columns, rows) [S], none negative.
        v: voltages of the rows' drivers, (arrays, n, rows) [V].
        lines: resistances.
        cell_voltage: V_0 of the cells [V]; None makes them linear. With it, a current of at most
            exp(30) times that of a linear cell is meant.

    Raises:
        RangeError: a resistance is negative or not finite, a voltage is beyond 30 V_0, or the
            network is too far from ideal for the iterations.
    """
    lines.checked()
    if cell_voltage is None:
        return _Currents.apply(g, v, lines, None)  # pyright: ignore[reportReturnType]
    if float(v.detach().abs().max()) > 30 * cell_voltage:
        raise RangeError(
            f"voltages reach {float(v.detach().abs().max()):.3g} V, beyond 30 times the cells' "
            f"{cell_voltage:.3g} V, where the sinh of their I-V has no meaning"
        )
    each = max(1, NUMBERS // max(1, g.numel()))
    parts = [_Currents.apply(g, some, lines, cell_voltage) for some in v.split(each, dim=1)]
    return torch.cat(parts, dim=1)  # pyright: ignore[reportArgumentType, reportCallIssue]


def cell_voltages(
    g: Tensor, v: Tensor, lines: Lines, cell_voltage: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the voltage across every cell and its slope dI/dV, (arrays, n, columns, rows)."""
    if cell_voltage is None:
        solved = node_voltages(g, lines, v)
        return solved.u - solved.w, g[:, None].expand_as(solved.u)
    arrays, vectors = v.shape[:2]
    cells = g[:, None].expand(arrays, vectors, *g.shape[1:]).flatten(0, 1)
    drive = v.flatten(0, 1)[:, None]
    across = drive[:, :, None].expand(-1, -1, g.shape[1], -1)[:, 0]
    allowed = torch.finfo(g.dtype).eps ** 0.7 * float(v.abs().max())
    for _ in range(ROUNDS):
        slope = cells * torch.cosh(across / cell_voltage)
        injected = cells * cell_voltage * torch.sinh(across / cell_voltage) - slope * across
        solved = node_voltages(slope, lines, drive, injected=injected[:, None])
        before, across = across, (solved.u - solved.w)[:, 0]
        if bool(((across - before).abs() <= allowed).all()):
            shape = (arrays, vectors, *g.shape[1:])
            slope = cells * torch.cosh(across / cell_voltage)
            return across.reshape(shape), slope.reshape(shape)
    raise RangeError(
        f"{ROUNDS} rounds of Newton's method did not solve the network; its cells are too curved "
        f"(V_0 = {cell_voltage:.3g} V) for wires this resistive"
    )


def _per_conductance(across: Tensor, cell_voltage: float | None) -> Tensor:
    """I / G of cells at voltages `across`."""
    if cell_voltage is None:
        return across
    return cell_voltage * torch.sinh(across / cell_voltage)


class _Currents(torch.autograd.Function):
    """Only the cells' voltages are kept for the gradient; the iterations are not unrolled."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, v: Tensor, lines: Lines, cell_voltage: float | None) -> Tensor:
        across, slope = cell_voltages(g, v, lines, cell_voltage)
        ctx.save_for_backward(g, across, slope)
        ctx.lines, ctx.cell_voltage = lines, cell_voltage
        return (g[:, None] * _per_conductance(across, cell_voltage)).sum(3)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        g, across, slope = ctx.saved_tensors
        if ctx.cell_voltage is None:
            solved = node_voltages(g, ctx.lines, None, foot=upstream)
            adjoint = solved.u - solved.w
        else:  # every vector has slopes of its own
            flat, feet = slope.flatten(0, 1), upstream.flatten(0, 1)[:, None]
            solved = node_voltages(flat, ctx.lines, None, foot=feet)
            adjoint = (solved.u - solved.w).reshape(slope.shape)
        by_cell = -(adjoint * _per_conductance(across, ctx.cell_voltage)).sum(1)
        return by_cell, -(slope * adjoint).sum(2), None, None
