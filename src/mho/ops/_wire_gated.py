"""Columns of gated cells: one ladder per column and input vector, solved without iterations.

A row opens its cells, and a current runs from the source line of a column through them to the
column's own line. With both lines connected at the same end the two carry the same current in
opposite directions, and cell i sees the voltage of a ladder of segments R = R_source + R_column.
Seen from the end, the ladder is a single conductance,

    A <- 1 / (R + 1 / (A + c_i)) from the far end on,   c_i = open_i G_i

whose current per volt is the column's; its gradient is d I / d c_i = h_i^2 for cell voltages h.
"""

from typing import Any

import torch
from torch import Tensor

from ._wire_lines import check_conductances

NUMBERS = 1 << 24
"""Cells times vectors solved at once."""


def gated_currents(
    g: Tensor, open_rows: Tensor, segment: float, terminal: float, merged: int = 1
) -> Tensor:
    """Return the currents per volt of gated columns, (n, ..., columns) [S].

    Args:
        g: conductances (..., columns, rows) [S]; row 0 is farthest from the end of the lines.
        open_rows: how far each row opens its cells, (n, rows), in [0, 1].
        segment: resistance of both lines between neighboring cells [ohm].
        terminal: resistance of both lines behind the last piece of wire [ohm].
        merged: neighboring cells taken as one, in the middle of their piece of wire. The last node
            is (merged + 1) / 2 segments before the terminal, on average where its cells are.

    Raises:
        DataError: a conductance is negative or not finite.
    """
    check_conductances(g)
    columns = g.reshape(-1, g.shape[-1])
    end = terminal + segment * (merged + 1) / 2
    return _ladder(columns, open_rows, segment * merged, end, merged).reshape(-1, *g.shape[:-1])


def _nodes(columns: Tensor, open_rows: Tensor, merged: int) -> list[tuple[Tensor, Tensor]]:
    """Cells (columns, merged) and rows (n, merged) of each node, the last from the end on."""
    ahead = -columns.shape[1] % merged  # the far node may have fewer cells
    sizes = [merged - ahead] * bool(ahead) + [merged] * (columns.shape[1] // merged)
    return list(zip(columns.split(sizes, 1), open_rows.split(sizes, 1), strict=True))


def _seen(nodes: list[tuple[Tensor, Tensor]], segment: float) -> list[Tensor]:
    """Conductance from each node on, away from the end, with its own cells, (n, columns)."""
    found: list[Tensor] = []
    for cells, rows in nodes:
        here = rows @ cells.T
        found.append(here + 1 / (segment + 1 / found[-1]) if found else here)
    return found


def _pieces(columns: Tensor, open_rows: Tensor) -> int:
    """Vectors that are solved at once."""
    return max(1, NUMBERS // max(1, columns.numel()))


@torch.library.custom_op("mho::gated_ladder", mutates_args=())
def _ladder(columns: Tensor, open_rows: Tensor, segment: float, end: float, merged: int) -> Tensor:
    """Currents (n, columns); one node of a graph, however many cells a column has."""
    found = []
    for rows in open_rows.split(_pieces(columns, open_rows)):
        whole = _seen(_nodes(columns, rows, merged), segment)[-1]
        found.append(whole / (1 + end * whole))
    return torch.cat(found)


@torch.library.custom_op("mho::gated_ladder_gradient", mutates_args=())
def _ladder_gradient(
    upstream: Tensor, columns: Tensor, open_rows: Tensor, segment: float, end: float, merged: int
) -> tuple[Tensor, Tensor]:
    """Solves again: nothing of the size of cells times vectors is kept for the gradient."""
    by_cell, by_row, each = torch.zeros_like(columns), [], _pieces(columns, open_rows)
    for rows, up in zip(open_rows.split(each), upstream.split(each), strict=True):
        nodes = _nodes(columns, rows, merged)
        seen = _seen(nodes, segment)
        voltage = 1 / (1 + end * seen[-1])
        of_cells, of_rows = [], []
        for k in reversed(range(len(nodes))):
            if k + 1 < len(nodes):
                voltage = voltage / (1 + segment * seen[k])
            squared = up * voltage.square()
            of_cells.append(squared.T @ nodes[k][1])
            of_rows.append(squared @ nodes[k][0])
        by_cell += torch.cat(of_cells[::-1], 1)
        by_row.append(torch.cat(of_rows[::-1], 1))
    return by_cell, torch.cat(by_row)


@_ladder.register_fake
def _(columns: Tensor, open_rows: Tensor, segment: float, end: float, merged: int) -> Tensor:
    return columns.new_empty(open_rows.shape[0], columns.shape[0])


@_ladder_gradient.register_fake
def _(
    upstream: Tensor, columns: Tensor, open_rows: Tensor, segment: float, end: float, merged: int
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(columns), torch.empty_like(open_rows)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    columns, open_rows, *ctx.rest = inputs
    ctx.save_for_backward(columns, open_rows)


def _backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    by_cell, by_row = _ladder_gradient(upstream, *ctx.saved_tensors, *ctx.rest)
    return by_cell, by_row, None, None, None


_ladder.register_autograd(_backward, setup_context=_keep)
