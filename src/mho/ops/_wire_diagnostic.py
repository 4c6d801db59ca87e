"""How much the wires of an array matter, and what they do to first order.

With the cells' voltages x and their currents G x, the wires take the drops P G x off the applied
voltages, where P is made of running sums along the rows and columns. So x = (1 + P G)^-1 x_applied,
and the eigenvalues of P G, all real and positive, say how far that is from the ideal array: the
largest, lambda_max, is far below 1 where wires do not matter.
"""

import torch
from torch import Tensor

from ._wire_lines import Lines

ROUNDS = 500
"""Limit of the power iteration; smooth lines need some tens."""


def drops(current: Tensor, lines: Lines) -> Tensor:
    """Return the drops P i of cell currents (..., columns, rows) on the way to and from each cell.

    Rows that are driven at both ends share their current between them.
    """
    along = _shared(current, lines) if lines.both_ends else _from_start(current, -2, lines.row)
    if not lines.both_ends:
        along = along + lines.source * current.sum(-2, keepdim=True)
    down = _from_start(current.flip(-1), -1, lines.column).flip(-1)
    return along + down + lines.sink * current.sum(-1, keepdim=True)


def _from_start(current: Tensor, axis: int, segment: float) -> Tensor:
    """Drop at each cell of lines that are held before their first one: R sum_k min(j, k) i_k."""
    beyond = current.flip(axis).cumsum(axis).flip(axis)
    return segment * (beyond.cumsum(axis) - beyond.narrow(axis, 0, 1))


def _shared(current: Tensor, lines: Lines) -> Tensor:
    """Drop at each cell of rows that are held at both ends."""
    count = current.shape[-2]
    whole = 2 * lines.source + lines.row * (count - 1)
    if whole == 0:
        return torch.zeros_like(current)
    grounded = _from_start(current, -2, lines.row) + lines.source * current.sum(-2, keepdim=True)
    place = lines.source + lines.row * torch.arange(count, dtype=current.dtype).to(current.device)
    # The second driver takes as much current back as brings the far end to its voltage.
    taken = (place[:, None] * current).sum(-2, keepdim=True) / whole
    return grounded - place[:, None] * taken


def lambda_max(g: Tensor, lines: Lines) -> Tensor:
    """Return the largest eigenvalue of P G for arrays (..., columns, rows) [S], by power iteration.

    For uniform cells and rows driven at one end it is

        G (R_row / (4 sin^2 (pi / (4 M + 2))) + R_column / (4 sin^2 (pi / (4 N + 2))))

    with M columns and N rows, where sources and sinks are as large as segments; about
    (4 / pi^2) G (R_row M^2 + R_column N^2).
    """
    lines.checked()
    root = g.sqrt()
    x, found = root.clone(), g.new_zeros(g.shape[:-2])
    for _ in range(ROUNDS):
        size = x.norm(dim=(-2, -1), keepdim=True)
        x = x / size.clamp(min=torch.finfo(g.dtype).tiny)
        moved = root * drops(root * x, lines)
        before, found = found, (x * moved).sum((-2, -1))
        if bool(((found - before).abs() <= 1e-6 * found).all()):
            break
        x = moved
    return found


def drop_bound(g: Tensor, lines: Lines) -> Tensor:
    """Return the largest drop (...) if every cell had 1 V: no eigenvalue of P G is above it."""
    return drops(g, lines).amax((-2, -1))


def first_order(g: Tensor, lines: Lines) -> Tensor:
    """Return the ideal array that has the currents of `g` with wires to first order, as `g`.

    The drops are those of the currents without wires: of drive i on cells of its own row and of
    column j, so that M_ji = G_ji (1 - (P_row G)_ji - (G P_column)_ji). The relative error is of the
    order of lambda_max^2, and at most about the square of `drop_bound`.
    """
    return g * (1 - drops(g, lines))


def first_order_gradient(upstream: Tensor, g: Tensor, lines: Lines) -> Tensor:
    """Return d loss / d g for d loss / d `first_order`; the drops are symmetric in their cells."""
    return upstream * (1 - drops(g, lines)) - drops(upstream * g, lines)


def nearly_ideal(g: Tensor, lines: Lines, tolerance: float) -> bool:
    """Tell whether the first order is within a relative error, for all arrays."""
    return tolerance > 0 and bool(drop_bound(g, lines).max() ** 2 <= tolerance)
