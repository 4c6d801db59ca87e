"""Split a weight matrix over arrays of limited size: pure index arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import SpecError

Rule = Literal["balanced", "greedy"]


def split(size: int, limit: int | None, rule: Rule = "balanced", step: int = 1) -> tuple[int, ...]:
    """Return the sizes of the slices of `size` lines on arrays of `limit` lines.

    Args:
        size: lines to place.
        limit: lines of one array; None for no limit.
        rule: `balanced` gives slices that differ by at most one step, `greedy` fills each array
            before the next.
        step: slices are multiples of this (the kernel positions of one input channel).

    Raises:
        SpecError: there are no lines, they are no whole number of steps, or one step does not fit
            on an array.
    """
    units, rest = divmod(size, step)
    if units < 1 or rest:
        raise SpecError(f"cannot place {size} lines in steps of {step}: give a positive multiple")
    most = units if limit is None else limit // step
    if most < 1:
        raise SpecError(f"{step} lines that belong together do not fit an array of {limit} lines")
    count = -(-units // most)
    if rule == "greedy":
        sizes = [most] * (count - 1) + [units - most * (count - 1)]
    else:
        base, extra = divmod(units, count)
        sizes = [base + 1] * extra + [base] * (count - extra)
    return tuple(step * n for n in sizes)


def partition_counts(
    widths: Sequence[int], rows: int, cols: int, bias: bool = True
) -> tuple[list[int], list[int]]:
    """Return how many row-slices and column-slices each layer of a chain of dense layers takes.

        h_l = ceil((n_l + 1) / rows),   v_l = ceil(n_{l+1} / cols)

    with one more row for the bias, as in IMAC-Sim (arXiv 2201.12480): 400-120-84-10 on arrays of
    32x32 takes h = 13, 4, 3 and v = 4, 3, 1.

    Args:
        widths: inputs of the first layer, and the outputs of each.
        rows: input lines of an array.
        cols: weights of an output line each, side by side on an array.
        bias: whether each layer has a row for its bias.

    Raises:
        SpecError: there is no layer, or a number is below 1.
    """
    if len(widths) < 2:
        raise SpecError(f"a chain needs at least two widths, got {list(widths)}")
    heights = [len(split(n + bias, rows)) for n in widths[:-1]]
    return heights, [len(split(n, cols)) for n in widths[1:]]


@dataclass(frozen=True)
class Partition:
    """The slices of a weight matrix (out, in) over arrays, and the arrays' size."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    array_rows: int | None
    array_columns: int | None

    @property
    def arrays(self) -> int:
        """How many arrays the matrix takes."""
        return len(self.rows) * len(self.columns)

    @property
    def utilization(self) -> float:
        """Used unit cells over all unit cells of the arrays taken; 1 for unlimited arrays."""
        rows, columns = sum(self.rows), sum(self.columns)
        height = (self.array_rows or rows / len(self.rows)) * len(self.rows)
        width = (self.array_columns or columns / len(self.columns)) * len(self.columns)
        return rows * columns / (height * width)
