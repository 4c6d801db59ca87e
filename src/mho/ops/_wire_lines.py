"""The lines of an array, and what one line does as a ladder of its cells."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DataError, RangeError


class Lines(NamedTuple):
    """Resistances of the lines of an array [ohm], each finite and at least 0.

    Rows are driven before their first cell, columns are read after their last one:

        v_i --source-- (i,0) --row-- (i,1) --row-- ...
                         G            G
                      (0,j) --column-- (1,j) ... --sink-- read-out of column j
    """

    row: float = 0.0
    """Between neighboring cells of a row."""
    column: float = 0.0
    """Between neighboring cells of a column."""
    source: float = 0.0
    """From a row's driver to its first cell: driver, contact and first piece of wire."""
    sink: float = 0.0
    """From a column's last cell to its read-out."""
    both_ends: bool = False
    """Whether a second driver of the same voltage is behind the last cell of each row."""

    @property
    def ideal(self) -> bool:
        """Whether no line has any resistance."""
        return not any(self[:4])

    @property
    def ideal_rows(self) -> bool:
        """Whether every cell of a row sees the driver itself."""
        return self.row == 0 and self.source == 0

    def checked(self) -> "Lines":
        """Return the lines themselves.

        Raises:
            RangeError: a resistance is negative or not finite.
        """
        for name, value in zip(self._fields[:4], self[:4], strict=True):
            if not (math.isfinite(value) and value >= 0):
                raise RangeError(
                    f"the resistance `{name}` is {value:g} ohm; it must be finite and at least 0. "
                    "A broken line has no cells: give those a conductance of 0."
                )
        return self


def check_conductances(g: Tensor) -> None:
    """Check the cells of a network, where their numbers are known.

    Raises:
        DataError: a conductance is negative or not finite.
    """
    if torch.compiler.is_compiling() or g.is_meta or not g.numel():
        return
    low, high = g.detach().aminmax()
    if not (bool(low >= 0) and bool(torch.isfinite(high))):
        raise DataError(
            f"a network of wires needs conductances that are finite and not negative; these run "
            f"from {float(low):.4g} to {float(high):.4g} S"
        )


def check_columns(total: Tensor) -> None:
    """Check that all that ends on each column, `total` [S], determines its voltage.

    Raises:
        DataError: a column has neither cells nor load.
    """
    if torch.compiler.is_compiling() or total.is_meta:
        return
    if bool((total.detach() == 0).any()):
        raise DataError(
            "a column has no cells and no load: its voltage is not determined. Give it a load."
        )


class Ladders(NamedTuple):
    """Lines with their terminals, while the far sides of their cells are held at 0 V.

    A line of n cells has the matrix T = wire + terminals + diag(g), which is tridiagonal; its
    inverse is semiseparable, with the elements (a <= b)

        (T^-1)_ab = near_a exp(depth_a - depth_b)

    All of it is made of sums and products of positive numbers: nothing cancels, whatever the ratio
    of wire and cells. Every field is (batch, lines, cells).
    """

    drive: Tensor
    """Node voltages per unit of what drives the terminal: 1 V behind it, or 1 A into it."""
    series: Tensor
    """g - g (T^-1)_aa g: a cell in series with its line."""
    near: Tensor
    """(T^-1)_aa: resistance seen by each node."""
    depth: Tensor
    """Decay along the line, as a logarithm."""

    def inverse(self, i: int) -> Tensor:
        """Return T^-1 of line i, (batch, cells, cells)."""
        return _inverse(self.near[:, i], self.depth[:, i])

    def inverses(self) -> Tensor:
        """Return T^-1 of all lines, (batch, lines, cells, cells)."""
        return _inverse(self.near, self.depth)


def ladders(
    g: Tensor, segment: float, terminal: Tensor, both_ends: bool = False, current: bool = False
) -> Ladders:
    """Return the ladders of lines (batch, lines, cells), driven before their first cell.

    Args:
        g: conductances [S].
        segment: resistance between cells [ohm].
        terminal: conductance between a driver and the line, (lines,); infinite is ideal.
        both_ends: whether the last cell has such a terminal too.
        current: whether 1 A goes into the first node, instead of 1 V being behind the terminal.
    """
    terminal = terminal.expand(g.shape[:2])
    if (segment == 0 or g.shape[2] == 1) and bool(torch.isinf(terminal).all()):
        return Ladders(torch.ones_like(g), g, torch.zeros_like(g), torch.zeros_like(g))
    end = terminal if both_ends else torch.zeros_like(terminal)
    left, right = _looking(g, segment, terminal), _looking(g.flip(2), segment, end).flip(2)
    near = (left + g + right).reciprocal()
    series = g / (1 + g / (left + right))
    depth = _depth(g + right, segment)
    into = g[:, :, 0] + right[:, :, 0]
    first = 1 / (terminal + into) if current else 1 / (1 + into / terminal)
    drive = first[:, :, None] * torch.exp(-depth)
    if both_ends:
        back = _depth((g + left).flip(2), segment).flip(2)
        last = 1 / (1 + (g[:, :, -1] + left[:, :, -1]) / terminal)
        drive = drive + last[:, :, None] * torch.exp(-back)
    return Ladders(drive, series, near, depth)


def _inverse(near: Tensor, depth: Tensor) -> Tensor:
    upper = torch.ones(*near.shape[-1:] * 2, dtype=torch.bool, device=near.device).triu()
    decay = torch.exp(-(depth[..., :, None] - depth[..., None, :]).abs())
    found = torch.where(upper, near[..., :, None], near[..., None, :]) * decay
    found.diagonal(dim1=-2, dim2=-1).copy_(near)  # the depth of an ideal far end is infinite
    return found


def _looking(g: Tensor, segment: float, terminal: Tensor) -> Tensor:
    """Conductance that each node sees towards the first one, without its own cell."""
    seen = [terminal]
    for k in range(g.shape[2] - 1):
        seen.append(1 / (segment + 1 / (seen[-1] + g[:, :, k])))
    return torch.stack(seen, dim=2)


def _depth(onward: Tensor, segment: float) -> Tensor:
    """Logarithm of the division of the first node's voltage on the way to each node."""
    steps = torch.log1p(segment * onward) if segment else torch.zeros_like(onward)
    steps[:, :, 0] = 0
    return steps.cumsum(2)
