"""How a layer's product lies on its arrays: which rows and columns, and the batched product.

A geometry is a value (hashable, no tensors). It splits an input over the row-slices of a weight
matrix, multiplies all slices in one call, and adds the partial sums. Weights are matrices of shape
(columns, rows) with columns = slices * out; parameters of a physical column have shape
(row-slices, columns).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..mapping import Partition
from ..ops import UnbuiltRows


def pad_slices(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cut the last axis into slices and pad them to equal length: (..., rows) -> (..., R, k)."""
    longest = max(sizes)
    if len(set(sizes)) == 1:
        return x.unflatten(-1, (len(sizes), longest))
    parts = x.split(list(sizes), dim=-1)
    return torch.stack([F.pad(part, (0, longest - part.shape[-1])) for part in parts], dim=-2)


def sum_slices(v: Tensor, sizes: Sequence[int]) -> Tensor:
    """Sum the last axis of slices made by `pad_slices`, without what padding may hold."""
    if len(set(sizes)) > 1:
        width = torch.arange(v.shape[-1], device=v.device)
        used = width < torch.tensor(sizes, device=v.device)[:, None]  # (R, k)
        v = v * used
    return v.sum(-1, keepdim=True)


class ColumnSlice(NamedTuple):
    """Outputs whose columns share arrays, as a product of their own."""

    geometry: "Geometry"
    outputs: slice
    inputs: Callable[[Tensor], Tensor]
    """Picks what these arrays get from a split input."""


@dataclass(frozen=True)
class Geometry(ABC):
    """The part that every kind of product shares.

    Attributes:
        out: logical outputs.
        partition: the row-slices and column-slices over arrays.
        slices: digital weight slices, each with its own columns.
    """

    out: int
    partition: Partition
    slices: int = 1

    @property
    def parts(self) -> int:
        """Row-slices R, the partial sums of each output."""
        return len(self.partition.rows)

    @property
    def rows(self) -> int:
        """Rows of the weight matrix."""
        return sum(self.partition.rows)

    def row_position(self, device: torch.device | None = None) -> Tensor:
        """Return the position of each weight row within its array, (rows,)."""
        return torch.cat([torch.arange(size, device=device) for size in self.partition.rows])

    def batched(self, x: Tensor) -> bool:
        """Whether the first axis of an input counts samples."""
        return x.dim() > 1

    @abstractmethod
    def misfit(self, x: Tensor) -> str | None:
        """Return why an input cannot be laid on the rows of this matrix, or None."""

    @abstractmethod
    def split(self, x: Tensor) -> Tensor:
        """Lay the input on the rows of the arrays."""

    @abstractmethod
    def product(self, v: Tensor, weight: Tensor) -> Tensor:
        """Multiply split inputs with a weight matrix (columns, rows); partial sums stay apart."""

    @abstractmethod
    def sums(self, v: Tensor) -> Tensor:
        """Return sum_j v_j over the rows of each array, broadcastable to a product."""

    @abstractmethod
    def on_rows(self, values: Tensor) -> Tensor:
        """Shape one value per row-slice (R,) to multiply a split input."""

    @abstractmethod
    def on_columns(self, values: Tensor) -> Tensor:
        """Shape one value per physical column (R, columns) to multiply a product."""

    @abstractmethod
    def on_outputs(self, values: Tensor) -> Tensor:
        """Shape one value per output (out,) to act on the layer's output."""

    @abstractmethod
    def by_output(self, y: Tensor) -> Tensor:
        """Return a layer's output as (vectors, out)."""

    @abstractmethod
    def by_column(self, y: Tensor) -> Tensor:
        """Return a product as (vectors, R, columns)."""

    @abstractmethod
    def vectors_of(self, x: Tensor) -> Tensor:
        """Return a layer's input as (vectors, groups, rows), in the order of `by_output`."""

    def unbuilt_vectors(self, x: Tensor) -> UnbuiltRows | None:
        """Return `vectors_of` where it would repeat numbers, and a kernel can do without."""
        return None

    @property
    def groups(self) -> int:
        """Groups of channels, each with its own inputs and outputs."""
        return 1

    @abstractmethod
    def combine(self, y: Tensor, like: Tensor) -> Tensor:
        """Add the partial sums and slices: a product becomes a layer's output for input `like`."""

    @abstractmethod
    def inputs_of(self, x: Tensor) -> list[Tensor]:
        """Return the input values that each row-slice sees, flat, each value once."""

    @abstractmethod
    def column_peaks(self, y: Tensor) -> Tensor:
        """Return the largest |y| of every physical column of a product, (R, columns)."""

    def sliced(self, v: Tensor) -> Tensor:
        """View a split input so that its row-slices have an axis of their own."""
        return v

    def on_slices(self, values: Tensor) -> Tensor:
        """Shape one value per row-slice (R,) to act on a `sliced` input, one entry per slice."""
        return self.on_rows(values)

    def occupied(self, like: Tensor) -> Tensor:
        """Return the share of each row-slice of a split input that is not padding, (R,)."""
        sizes = torch.tensor(self.partition.rows, dtype=like.dtype, device=like.device)
        return sizes / max(self.partition.rows)

    @abstractmethod
    def column_slices(self) -> list[ColumnSlice]:
        """Return the outputs array by array, for arrays that do not share their drivers."""

    @property
    def out_axis(self) -> int:
        """Axis of a layer's output that counts the outputs."""
        return -1

    @property
    def vector_axis(self) -> int:
        """Axis of a split input, and of a product, that counts the input vectors."""
        return 0

    @property
    @abstractmethod
    def vectors(self) -> "Geometry":
        """The same product with every input vector apart, for effects that depend on the vector."""


@dataclass(frozen=True)
class Dense(Geometry):
    """y = W x over the last axis."""

    def misfit(self, x: Tensor) -> str | None:
        """The last axis counts."""
        if x.dim() and x.shape[-1] == self.rows:
            return None
        return f"the input must be (..., {self.rows}), got {tuple(x.shape)}"

    def split(self, x: Tensor) -> Tensor:
        """(..., rows) -> (N, rows), or (R, N, k) when there are several row-slices."""
        flat = x.reshape(-1, x.shape[-1])
        return flat if self.parts == 1 else pad_slices(flat, self.partition.rows).transpose(0, 1)

    def product(self, v: Tensor, weight: Tensor) -> Tensor:
        """(N, columns), or (R, N, columns)."""
        if self.parts == 1:
            return F.linear(v, weight)
        tiles = pad_slices(weight, self.partition.rows).transpose(0, 1)  # (R, columns, k)
        return v @ tiles.transpose(1, 2)

    def sums(self, v: Tensor) -> Tensor:
        """(..., 1)."""
        if self.parts == 1:
            return v.sum(-1, keepdim=True)
        return sum_slices(v.transpose(0, 1), self.partition.rows).transpose(0, 1)

    def inputs_of(self, x: Tensor) -> list[Tensor]:
        """R tensors."""
        pieces = x.reshape(-1, x.shape[-1]).split(list(self.partition.rows), dim=-1)
        return [piece.flatten() for piece in pieces]

    def column_peaks(self, y: Tensor) -> Tensor:
        """(R, columns)."""
        return y.abs().amax(self.vector_axis).reshape(self.parts, -1)

    def on_rows(self, values: Tensor) -> Tensor:
        """(R, 1, 1), or a scalar."""
        return values[0] if self.parts == 1 else values[:, None, None]

    def on_columns(self, values: Tensor) -> Tensor:
        """(R, 1, columns), or (columns,)."""
        return values[0] if self.parts == 1 else values[:, None, :]

    def on_outputs(self, values: Tensor) -> Tensor:
        """(out,)."""
        return values

    def by_output(self, y: Tensor) -> Tensor:
        """(..., out) -> (N, out)."""
        return y.reshape(-1, self.out)

    def by_column(self, y: Tensor) -> Tensor:
        """(N, columns), or (R, N, columns) -> (N, R, columns)."""
        return y[:, None] if self.parts == 1 else y.transpose(0, 1)

    def vectors_of(self, x: Tensor) -> Tensor:
        """(..., rows) -> (N, 1, rows)."""
        return x.reshape(-1, 1, self.rows)

    def combine(self, y: Tensor, like: Tensor) -> Tensor:
        """(..., out)."""
        if self.parts > 1:
            y = y.sum(0)
        if self.slices > 1:
            y = y.unflatten(-1, (self.slices, self.out)).sum(-2)
        return y.reshape(*like.shape[:-1], self.out)

    def column_slices(self) -> list[ColumnSlice]:
        """The column-slices; all get the whole input."""
        found, start = [], 0
        for size in self.partition.columns:
            own = replace(self, out=size, partition=replace(self.partition, columns=(size,)))
            found.append(ColumnSlice(own, slice(start, start + size), lambda v: v))
            start += size
        return found

    @property
    def vector_axis(self) -> int:
        """0, or 1 after the row-slices."""
        return 0 if self.parts == 1 else 1

    @property
    def vectors(self) -> Geometry:
        """Itself: every row of the input is a vector."""
        return self
