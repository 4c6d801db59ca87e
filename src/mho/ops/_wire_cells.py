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
from ._wire_lines import Lines, check_conductances
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
        DataError: a conductance is negative or not finite.
        RangeError: a resistance is negative or not finite, a voltage is beyond 30 V_0, or the
            network is too far from ideal for the iterations.
    """
    lines.checked()
    check_conductances(g)
    each = max(1, NUMBERS // max(1, g.numel()))
    rest = list(lines[:4]), lines.both_ends, cell_voltage
    return torch.cat([_currents(g, some, *rest)[0] for some in v.split(each, dim=1)], dim=1)


def cell_voltages(g: Tensor, v: Tensor, lines: Lines, cell_voltage: float | None = None) -> Tensor:
    """Return the voltage across every cell, (arrays, n, columns, rows)."""
    if cell_voltage is None or not v.numel():
        solved = node_voltages(g, lines, v)
        return solved.u - solved.w
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
            return across.reshape(arrays, vectors, *g.shape[1:])
    raise RangeError(
        f"{ROUNDS} rounds of Newton's method did not solve the network; its cells are too curved "
        f"(V_0 = {cell_voltage:.3g} V) for wires this resistive"
    )


def _per_conductance(across: Tensor, cell_voltage: float | None) -> Tensor:
    """I / G of cells at voltages `across`."""
    if cell_voltage is None:
        return across
    return cell_voltage * torch.sinh(across / cell_voltage)


def _slope(g: Tensor, across: Tensor, cell_voltage: float | None) -> Tensor:
    """Slopes dI / dV of cells at voltages `across`, (arrays, n, columns, rows)."""
    cells = g[:, None].expand_as(across)
    return cells if cell_voltage is None else cells * torch.cosh(across / cell_voltage)


@torch.library.custom_op("mho::vector_currents", mutates_args=())
def _currents(
    g: Tensor, v: Tensor, resistances: list[float], both_ends: bool, cell_voltage: float | None
) -> tuple[Tensor, Tensor]:
    """Currents, and the cells' voltages: all that the gradient needs of the iterations."""
    largest = float(v.abs().max()) if v.numel() else 0.0
    if cell_voltage is not None and largest > 30 * cell_voltage:
        raise RangeError(
            f"voltages reach {largest:.3g} V, beyond 30 times the cells' {cell_voltage:.3g} V, "
            "where the sinh of their I-V has no meaning"
        )
    across = cell_voltages(g, v, Lines(*resistances, both_ends=both_ends), cell_voltage)
    return (g[:, None] * _per_conductance(across, cell_voltage)).sum(3), across


@torch.library.custom_op("mho::vector_currents_gradient", mutates_args=())
def _currents_gradient(
    upstream: Tensor,
    g: Tensor,
    across: Tensor,
    resistances: list[float],
    both_ends: bool,
    cell_voltage: float | None,
) -> tuple[Tensor, Tensor]:
    lines, slope = Lines(*resistances, both_ends=both_ends), _slope(g, across, cell_voltage)
    if cell_voltage is None:
        solved = node_voltages(g, lines, None, foot=upstream)
        adjoint = solved.u - solved.w
    else:  # every vector has slopes of its own
        feet = upstream.flatten(0, 1)[:, None]
        solved = node_voltages(slope.flatten(0, 1), lines, None, foot=feet)
        adjoint = (solved.u - solved.w).reshape(slope.shape)
    by_cell = -(adjoint * _per_conductance(across, cell_voltage)).sum(1)
    return by_cell, -(slope * adjoint).sum(2)


@_currents.register_fake
def _(
    g: Tensor, v: Tensor, resistances: list[float], both_ends: bool, cell_voltage: float | None
) -> tuple[Tensor, Tensor]:
    arrays, columns, rows = g.shape
    currents = g.new_empty(arrays, v.shape[1], columns)
    return currents, g.new_empty(arrays, v.shape[1], columns, rows)


@_currents_gradient.register_fake
def _(
    upstream: Tensor,
    g: Tensor,
    across: Tensor,
    resistances: list[float],
    both_ends: bool,
    cell_voltage: float | None,
) -> tuple[Tensor, Tensor]:
    arrays, vectors, _, rows = across.shape
    return torch.empty_like(g), g.new_empty(arrays, vectors, rows)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    g, _, *ctx.rest = inputs
    ctx.save_for_backward(g, output[1])
    ctx.set_materialize_grads(False)  # or zeros for all cells' voltages would be made


def _backward(ctx: Any, upstream: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    if upstream is None:
        return (None,) * 5
    by_cell, by_row = _currents_gradient(upstream, *ctx.saved_tensors, *ctx.rest)
    return by_cell, by_row, None, None, None


_currents.register_autograd(_backward, setup_context=_keep)
