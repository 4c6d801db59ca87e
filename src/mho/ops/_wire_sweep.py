"""The exact solution of an array's network: one sweep over its lines.

Of the two sets of lines, one crosses and the other is swept along. All that lies before crossing
line i is kept as its Norton equivalent on the swept lines, Y (S, S) and J (S, i): the current
J v - Y w that flows on when the swept lines are at the voltages w. A crossing line with the matrix
T (see `Ladders`) and cells g adds to it, and a piece R of the swept lines changes it:

    Y <- Y + diag(g) - g T^-1 g,   J_i <- g drive
    Y <- (1 + R Y)^-1 Y,           J <- (1 + R Y)^-1 J

1 + R Y is symmetric with eigenvalues of at least 1, so its Cholesky factor exists and is accurate
in single precision. The resistance behind the last line is one more such step, and J is then the
transfer from all drivers to all read-outs. About L S^2 (7/3 S + L) operations.

Kirchhoff's equations of the network are those of peers such as badcrossbar (Joksas & Mehonic,
SoftwareX 12, 100617, 2020); eliminating it line by line is Gaussian elimination in block form.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ._wire_lines import Ladders


class Network(NamedTuple):
    """An array with its crossing lines as ladders.

    Attributes:
        g: conductances (batch, L crossing lines, S swept lines) [S].
        ladders: the crossing lines.
        segment: resistance between cells of the swept lines [ohm].
        end: behind the last cell of the swept lines: a resistance () to 0 V, whose current is read;
            or conductances (S,) to 0 V, across which the voltage is read.
        voltage: whether voltages are read.
    """

    g: Tensor
    ladders: Ladders
    segment: float
    end: Tensor
    voltage: bool

    @property
    def decoupled(self) -> bool:
        """Whether swept lines are at 0 V all along: no crossing line knows of another."""
        return not self.voltage and self.segment == 0 and bool(self.end == 0)


class Level(NamedTuple):
    """The Norton equivalent of all before one crossing line, seen by that line."""

    y: Tensor
    j: Tensor


def added(network: Network, i: int) -> Tensor:
    """Return what crossing line i adds to Y, (batch, S, S)."""
    g = network.g[:, i]
    y = -g[:, :, None] * network.ladders.inverse(i) * g[:, None, :]
    y.diagonal(dim1=1, dim2=2).copy_(network.ladders.series[:, i])
    return y


def transfer(network: Network, levels: list[Level] | None = None) -> Tensor:
    """Return what is read on each swept line per unit of each driver, (batch, S, L).

    Args:
        network: the array.
        levels: takes, if given, the equivalents that each line sees, and the last of all.
    """
    g, drive = network.g, network.ladders.drive
    if network.decoupled:
        return (g * drive).transpose(1, 2)
    batch, lines, swept = g.shape
    y, j = g.new_zeros(batch, swept, swept), g.new_zeros(batch, swept, lines)
    for i in range(lines):
        if levels is not None:
            levels.append(Level(y, j[:, :, :i].clone()))
        y = y + added(network, i)
        j[:, :, i] = g[:, i] * drive[:, i]
        if i + 1 < lines and network.segment:
            y, j[:, :, : i + 1] = _behind(y, j[:, :, : i + 1], network.segment)
    if levels is not None:
        levels.append(Level(y, j))
    return read(network, y, j)


def read(network: Network, y: Tensor, excitation: Tensor) -> Tensor:
    """Return what the read-outs see of currents `excitation` (batch, S, n) into the last nodes."""
    if network.voltage:
        return _solved(y + torch.diag(network.end), excitation)
    if network.end == 0:
        return excitation
    return _solved(_one_plus(y, network.end), excitation)


def _behind(y: Tensor, j: Tensor, resistance: float) -> tuple[Tensor, Tensor]:
    both = _solved(_one_plus(y, resistance), torch.cat((y, j), dim=2))
    y, j = both.split((y.shape[2], j.shape[2]), dim=2)
    return (y + y.mT) / 2, j  # rounding would make it drift from symmetric


def _one_plus(y: Tensor, resistance: float | Tensor) -> Tensor:
    matrix = y * resistance
    matrix.diagonal(dim1=1, dim2=2).add_(1)
    return matrix


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))
