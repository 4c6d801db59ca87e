"""What an array with resistive lines makes of its inputs, as the conductances of an ideal array.

A network of linear resistors is linear in its sources, so that it is told by one matrix, after
which every product is an ordinary one. `wire_currents` is for columns read at virtual grounds,
`wire_voltages` for columns that end in a load. Both are exact, batched over arrays, and
differentiable with respect to the conductances (once).
"""

import torch
from torch import Tensor

from ..errors import RangeError
from ._wire_adjoint import cell_gradient
from ._wire_diagnostic import first_order, first_order_gradient, nearly_ideal
from ._wire_lines import Lines, check_columns, check_conductances, ladders
from ._wire_sweep import Network, transfer

FLOPS = 1e14
"""Most operations of one array: about an hour of one processor core."""
NUMBERS = 1 << 28
"""Numbers that the equivalents of arrays solved together may hold: 1 GiB in single precision."""


def wire_currents(g: Tensor, lines: Lines, tolerance: float = 0.0) -> Tensor:
    """Return the currents of columns at virtual grounds per volt on each row.

        I_j = sum_i M_ji v_i,   M the result

    Args:
        g: conductances (..., columns, rows) [S], none negative. A row or column without any cells
            is no fault: its drive reaches nobody, its current is 0.
        lines: resistances.
        tolerance: relative error up to which the first order does, where the drops are that small
            (`drop_bound`); 0 always sweeps.

    Returns:
        M as `g` [S]; `g` itself where all lines are ideal.

    Raises:
        DataError: a conductance is negative or not finite.
        RangeError: a resistance is negative or not finite, or an array is too large.
    """
    lines.checked()
    if lines.ideal:
        return g
    check_conductances(g)
    return _solve(g, None, lines, tolerance)


def wire_voltages(g: Tensor, load: Tensor, lines: Lines) -> Tensor:
    """Return the voltages across the loads at the ends of columns per volt on each row.

        V_j = sum_i M_ji v_i,   M the result;   load j is from the read-out of column j to 0 V

    Without wires, M_ji = G_ji / (load_j + sum_i G_ji): a mean weighted by conductances.

    Args:
        g: conductances (..., columns, rows) [S], none negative.
        load: conductance of the load of each column, (columns,) or () [S]; 0 is an open end. It is
            a constant: no gradient reaches it.
        lines: resistances; `sink` is between a column and its load.

    Returns:
        M as `g`, without unit.

    Raises:
        DataError: a conductance is negative or not finite, or a column has neither cells nor load,
            so that its voltage is not determined.
        RangeError: a resistance is negative or not finite, or an array is too large.
    """
    lines.checked()
    check_conductances(g)
    load = load.detach().to(g).expand(g.shape[-2])
    check_conductances(load)
    check_columns(g.sum(-1) + load)
    divider = 1 + lines.sink * load
    return _solve(g, load / divider, lines._replace(sink=0.0), 0.0) / divider[:, None]


def _solve(g: Tensor, load: Tensor | None, lines: Lines, tolerance: float) -> Tensor:
    arrays = g.reshape(-1, *g.shape[-2:])
    half = g.dtype in (torch.float16, torch.bfloat16)
    found = _transfer(arrays.float() if half else arrays, load, list(lines[:4]), lines.both_ends,
                      tolerance)  # fmt: skip
    return found.to(g.dtype).reshape(g.shape)


def _oriented(g: Tensor, load: Tensor | None, lines: Lines) -> tuple[Network, bool]:
    """Return the network of arrays (batch, columns, rows), and whether rows are swept along.

    Reciprocity lets the drivers and the read-outs change places, so that the shorter side may be
    swept along; not where a row has two drivers, whose currents would have to be told apart.
    """
    columns, rows = g.shape[1:]
    turned = not (lines.both_ends and not lines.ideal_rows)
    if load is None and lines.column == 0 and lines.sink == 0:
        turned = False  # columns are ideal
    elif not lines.ideal_rows:
        turned = turned and rows < columns
    if not turned:
        terminal = g.new_full((), 1 / lines.source if lines.source else torch.inf)
        end = g.new_tensor(lines.sink) if load is None else load
        crossing = g.transpose(1, 2)
        ladder = ladders(crossing, lines.row, terminal, lines.both_ends)
        return Network(crossing, ladder, lines.column, end, load is not None), False
    crossing = g.flip(1, 2)  # columns start at their read-outs, rows end at their drivers
    if load is None:
        terminal = g.new_full((), 1 / lines.sink if lines.sink else torch.inf)
    else:
        terminal = load.flip(0)
    ladder = ladders(crossing, lines.column, terminal, current=load is not None)
    return Network(crossing, ladder, lines.row, g.new_tensor(lines.source), False), True


def _chunks(g: Tensor, lines: Lines) -> list[Tensor]:
    """Split arrays so that what is kept of those solved together stays within bounds."""
    swept, crossing = sorted(g.shape[1:])
    if lines.both_ends and not lines.ideal_rows:
        swept, crossing = g.shape[1:]  # see `_oriented`
    flops = crossing * swept**2 * (7 / 3 * swept + crossing)
    if flops > FLOPS:
        raise RangeError(
            f"the network of an array of {g.shape[2]} rows and {g.shape[1]} columns takes "
            f"{flops:.1g} operations, more than {FLOPS:.0g}: limit the array (array.rows, "
            "array.cols), or use wires: first_order."
        )
    each = max(1, int(NUMBERS // (crossing * swept * (swept + crossing))))
    return list(g.split(each))


@torch.library.custom_op("mho::wire_transfer", mutates_args=())
def _transfer(
    g: Tensor, load: Tensor | None, resistances: list[float], both_ends: bool, tolerance: float
) -> Tensor:
    """The matrices of arrays (batch, columns, rows); one node of a graph, however it is solved."""
    lines = Lines(*resistances, both_ends=both_ends)
    if nearly_ideal(g, lines, tolerance):
        return first_order(g, lines)
    found = []
    for part in _chunks(g, lines):
        network, turned = _oriented(part, load, lines)
        matrix = transfer(network)
        found.append(matrix.transpose(1, 2).flip(1, 2) if turned else matrix)
    return torch.cat(found).contiguous()


@torch.library.custom_op("mho::wire_transfer_gradient", mutates_args=())
def _transfer_gradient(
    upstream: Tensor,
    g: Tensor,
    load: Tensor | None,
    resistances: list[float],
    both_ends: bool,
    tolerance: float,
) -> Tensor:
    lines = Lines(*resistances, both_ends=both_ends)
    if nearly_ideal(g, lines, tolerance):
        return first_order_gradient(upstream, g, lines)
    found, parts = [], _chunks(g, lines)
    for part, up in zip(parts, upstream.split(len(parts[0])), strict=True):
        network, turned = _oriented(part, load, lines)
        up = up.flip(1, 2).transpose(1, 2) if turned else up
        gradient = cell_gradient(network, up)
        found.append(gradient.flip(1, 2) if turned else gradient.transpose(1, 2))
    return torch.cat(found).contiguous()


@_transfer.register_fake
def _(
    g: Tensor, load: Tensor | None, resistances: list[float], both_ends: bool, tolerance: float
) -> Tensor:
    return torch.empty_like(g)


@_transfer_gradient.register_fake
def _(
    upstream: Tensor,
    g: Tensor,
    load: Tensor | None,
    resistances: list[float],
    both_ends: bool,
    tolerance: float,
) -> Tensor:
    return torch.empty_like(g)


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    g, load, *rest = inputs
    ctx.save_for_backward(g, load)
    ctx.rest = rest  # pyright: ignore[reportAttributeAccessIssue]


def _backward(ctx: torch.autograd.function.FunctionCtx, upstream: Tensor) -> tuple:
    g, load = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
    gradient = _transfer_gradient(upstream, g, load, *ctx.rest)  # pyright: ignore
    return gradient, None, None, None, None


_transfer.register_autograd(_backward, setup_context=_keep)
