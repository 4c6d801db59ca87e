"""A few input vectors on an array: iterations instead of the whole matrix.

Without the rows' voltages u, Kirchhoff's equations of the columns' voltages w are

    (C - G R^-1 G) w = i,   R, C = wires + terminals + diag(G) of all rows, of all columns

symmetric and positive definite. R and C are ladders, solved exactly line by line, and C is the
preconditioner: conjugate gradients then need some steps where the plain alternation of rows and
columns (which converges too, as C dominates) needs tens. Each step takes some operations per cell
and vector. Only solutions of C are needed, never C itself, so that ideal lines are no exception.

Source of conjugate gradients: Hestenes & Stiefel, J. Res. Natl. Bur. Stand. 49, 409-436 (1952).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import RangeError
from ._wire_lines import Ladders, Lines, ladders

STEPS = 500
"""More than any network needs whose drops are some hundred times the applied voltages."""

DENSE = 1 << 20
"""Numbers that inverses of lines may have: up to here a matrix is faster than a recurrence."""


class Solved(NamedTuple):
    """Voltages of all nodes, (arrays, n, columns, rows) [V], and the steps it took."""

    u: Tensor
    w: Tensor
    steps: int


class _Sides(NamedTuple):
    """The rows of arrays as ladders, and their columns, which are read at the last cell.

    Inverses of short lines are kept as matrices, those of long ones are applied by substitution.
    """

    rows: Ladders
    columns: Ladders
    rows_inverse: Tensor | None
    columns_inverse: Tensor | None

    def row(self, x: Tensor) -> Tensor:
        """R^-1 x."""
        return _apply(self.rows, self.rows_inverse, x.transpose(2, 3)).transpose(2, 3)

    def column(self, x: Tensor) -> Tensor:
        """C^-1 x."""
        return _apply(self.columns, self.columns_inverse, x.flip(3)).flip(3)


def sides(g: Tensor, lines: Lines) -> _Sides:
    """Return the ladders of arrays (arrays, columns, rows)."""
    source = g.new_full((), 1 / lines.source if lines.source else torch.inf)
    sink = g.new_full((), 1 / lines.sink if lines.sink else torch.inf)
    rows = ladders(g.transpose(1, 2), lines.row, source, lines.both_ends)
    columns = ladders(g.flip(2), lines.column, sink)
    short = g.numel() * max(g.shape[1:]) <= DENSE
    inverses = (rows.inverses(), columns.inverses()) if short else (None, None)
    return _Sides(rows, columns, *inverses)


def node_voltages(
    g: Tensor,
    lines: Lines,
    drive: Tensor | None,
    foot: Tensor | None = None,
    injected: Tensor | None = None,
    tolerance: float | None = None,
) -> Solved:
    """Return the voltages of all nodes for some vectors.

    Args:
        g: conductances (arrays, columns, rows) [S].
        lines: resistances.
        drive: voltages of the rows' drivers, (arrays, n, rows); None is 0 V.
        foot: voltages of the columns' read-outs, (arrays, n, columns); None is 0 V.
        injected: currents from each row's node to its column's node beside the cell,
            (arrays, n, columns, rows).
        tolerance: of the columns' voltages, relative in the norm of energy; None is the 0.8th power
            of the rounding, 3e-13 in double precision.

    Raises:
        RangeError: the steps did not suffice.
    """
    both = sides(g, lines)
    cells = g[:, None]
    given = [t for t in (drive, foot, injected) if t is not None]
    zero = given[0].new_zeros(g.shape[0], given[0].shape[1], *g.shape[1:])
    fixed = zero if drive is None else both.rows.drive.transpose(1, 2)[:, None] * drive[:, :, None]
    if injected is not None:
        fixed = fixed - both.row(injected)
    w = zero if foot is None else both.columns.drive.flip(2)[:, None] * foot[..., None]

    def rows_of(w: Tensor) -> Tensor:
        return fixed + both.row(cells * w)

    residual = cells * rows_of(w)
    if injected is not None:
        residual = residual + injected
    rounding = torch.finfo(g.dtype).eps ** 0.8 if tolerance is None else tolerance
    w, steps = _conjugate_gradients(w, residual, cells, both, rounding)
    return Solved(rows_of(w), w, steps)


def _conjugate_gradients(
    w: Tensor, residual: Tensor, cells: Tensor, both: _Sides, tolerance: float
) -> tuple[Tensor, int]:
    """Return w + S^-1 residual, S being the columns' Schur complement; vectors on their own."""
    if not residual.numel():
        return w, 0
    z = both.column(residual)
    p, cp = z, residual  # cp = C p, without ever applying C
    energy = (residual * z).sum((2, 3), keepdim=True)
    most, size = energy.clone(), energy.sqrt().amax()
    for step in range(STEPS):
        if bool((energy <= tolerance**2 * most).all()) or not bool(size > 0):
            return w, step
        sp = cp - cells * both.row(cells * p)
        alpha = energy / (p * sp).sum((2, 3), keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
        w, residual = w + alpha * p, residual - alpha * sp
        z = both.column(residual)
        energy, before = (residual * z).sum((2, 3), keepdim=True).clamp(min=0), energy
        beta = energy / before.clamp(min=torch.finfo(p.dtype).tiny)
        p, cp = z + beta * p, residual + beta * cp
    raise RangeError(
        f"{STEPS} steps of conjugate gradients did not solve a network of {tuple(cells.shape[2:])} "
        "cells; the wires are far more resistive than the cells. Use the whole matrix "
        "(wire_currents), in double precision."
    )


def _apply(ladder: Ladders, inverse: Tensor | None, x: Tensor) -> Tensor:
    """Return T^-1 x for every line, x (arrays, n, lines, cells)."""
    if inverse is not None:
        return (inverse @ x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    near, steps = ladder.near[:, None], ladder.depth.diff(dim=2)[:, None]
    decay = torch.exp(-steps)
    weighted, count = near * x, x.shape[3]
    from_before = [weighted[..., 0]]
    for k in range(1, count):
        from_before.append(from_before[-1] * decay[..., k - 1] + weighted[..., k])
    from_behind = [torch.zeros_like(x[..., 0])]
    for k in range(count - 2, -1, -1):
        from_behind.append((from_behind[-1] + x[..., k + 1]) * decay[..., k])
    behind = torch.stack(from_behind[::-1], dim=3)
    return torch.stack(from_before, dim=3) + near * behind
