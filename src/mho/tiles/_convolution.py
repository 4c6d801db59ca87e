"""Convolutions on arrays, without building patches unless an effect needs them."""

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..ops import UnbuiltRows, patches_in_one_pass, unbuilt_rows
from ._geometry import ColumnSlice, Geometry, pad_slices, sum_slices

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@dataclass(frozen=True)
class Convolution(Geometry):
    """A convolution in 1 to 3 dimensions, or its transpose.

    The weight matrix has a row for every (input channel of the group, kernel position). Row-slices
    hold whole channels where a channel's kernel fits an array. A transposed convolution is the
    convolution of the zero-stuffed input with the flipped kernel; its matrix keeps the unflipped
    order of kernel positions.

    Attributes:
        kernel: kernel size per dimension.
        padding: zeros before and after each dimension, first dimension first.
        mode: padding mode, as in torch.
    """

    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    mode: str = "zeros"
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def positions(self) -> int:
        """Kernel positions K of one channel."""
        return prod(self.kernel)

    def _pad(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Apply padding that the convolution itself cannot; return the padding left for it."""
        if self.mode == "zeros" and all(a == b for a, b in self.padding):
            return x, tuple(a for a, _ in self.padding)
        flat = [n for pair in reversed(self.padding) for n in pair]
        mode = "constant" if self.mode == "zeros" else self.mode
        return F.pad(x, flat, mode=mode), (0,) * len(self.kernel)

    def _channel_slices(self) -> tuple[tuple[int, int, int], ...]:
        """(first channel, end channel, first row) of each row-slice."""
        spans, start = [], 0
        for size in self.partition.rows:
            spans.append((start // self.positions, -(-(start + size) // self.positions), start))
            start += size
        return tuple(spans)

    def misfit(self, x: Tensor) -> str | None:
        """The number of axes counts, and that of channels."""
        channels, n = self.rows // self.positions * self.groups, len(self.kernel)
        if x.dim() == n + 2 and x.shape[1] == channels:
            return None
        return f"the input must have {channels} channels and {n} spatial axes, got {tuple(x.shape)}"

    def split(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, G R c, ...): the channels of each group's row-slices, side by side."""
        if not self.transposed and self.mode != "zeros":
            x, _ = self._pad(x)
        if self.parts == 1:
            return x
        x = x.unflatten(1, (self.groups, -1))
        spans = self._channel_slices()
        longest = max(stop - start for start, stop, _ in spans)
        after = [0, 0] * (x.dim() - 3)
        pieces = [
            F.pad(x[:, :, start:stop], (*after, 0, longest - stop + start))
            for start, stop, _ in spans
        ]
        return torch.stack(pieces, dim=2).flatten(1, 3)

    def _tiles(self, weight: Tensor) -> Tensor:
        """(columns, rows) -> (G R columns/G, c, *kernel) with zeros where a slice has no row."""
        groups, parts, per_group = self.groups, self.parts, self.out // self.groups
        w = weight.reshape(self.slices, groups, per_group, -1).transpose(0, 1)  # (G, S, o, rows)
        if parts == 1:
            return w.reshape(groups * self.slices * per_group, -1, *self.kernel)
        spans = self._channel_slices()
        longest = max(stop - start for start, stop, _ in spans)
        pieces = []
        for (start, _, row), size in zip(spans, self.partition.rows, strict=True):
            before = row - start * self.positions
            after = longest * self.positions - before - size
            pieces.append(F.pad(w[..., row : row + size], (before, after)))
        tiles = torch.stack(pieces, dim=1)  # (G, R, S, o, c K)
        return tiles.reshape(groups * parts * self.slices * per_group, longest, *self.kernel)

    def product(self, v: Tensor, weight: Tensor) -> Tensor:
        """(B, G R S o, ...)."""
        groups, tiles = self.groups * self.parts, self._tiles(weight)
        if self.transposed:
            # torch wants (in, out per group): swap within each group.
            tiles = tiles.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
            padding = tuple(a for a, _ in self.padding)
            return _CONV_TRANSPOSE[len(self.kernel)](
                v, tiles, None, self.stride, padding, self.output_padding, groups, self.dilation
            )
        v, padding = (v, (0,) * len(self.kernel)) if self.mode != "zeros" else self._pad(v)
        return _CONV[len(self.kernel)](v, tiles, None, self.stride, padding, self.dilation, groups)

    def sums(self, v: Tensor) -> Tensor:
        """(B, G R S o, ...): the same sum for all columns of an array."""
        ones = torch.ones(self.groups, self.rows, dtype=v.dtype, device=v.device)
        single = type(self)(**{**_fields(self), "out": self.groups, "slices": 1})
        return single.product(v, ones).repeat_interleave(self.slices * self.out // self.groups, 1)

    def on_rows(self, values: Tensor) -> Tensor:
        """(G R c, 1, ...), or a scalar."""
        if self.parts == 1:
            return values[0]
        longest = max(stop - start for start, stop, _ in self._channel_slices())
        per_channel = values.repeat_interleave(longest).repeat(self.groups)
        return per_channel.reshape(-1, *[1] * len(self.kernel))

    def on_columns(self, values: Tensor) -> Tensor:
        """(G R S o, 1, ...)."""
        per = values.reshape(self.parts, self.slices, self.groups, -1).permute(2, 0, 1, 3)
        return per.reshape(-1, *[1] * len(self.kernel))

    def sliced(self, v: Tensor) -> Tensor:
        """(B, G R c, ...) -> (B, G, R, c, ...)."""
        return v if self.parts == 1 else v.unflatten(1, (self.groups, self.parts, -1))

    def on_slices(self, values: Tensor) -> Tensor:
        """(R, 1, 1, ...), or a scalar."""
        return values[0] if self.parts == 1 else values.reshape(-1, 1, *[1] * len(self.kernel))

    def occupied(self, like: Tensor) -> Tensor:
        """(R,)."""
        channels = [stop - start for start, stop, _ in self._channel_slices()]
        return torch.tensor(channels, dtype=like.dtype, device=like.device) / max(channels)

    def column_slices(self) -> list[ColumnSlice]:
        """Not defined here: a pixel is driven once for each vector; see `vectors`."""
        raise TypeError("the drivers of each array need the geometry `vectors`")

    @property
    def out_axis(self) -> int:
        """1, before the pixels."""
        return 1

    def on_outputs(self, values: Tensor) -> Tensor:
        """(out, 1, ...)."""
        return values.reshape(-1, *[1] * len(self.kernel))

    def by_output(self, y: Tensor) -> Tensor:
        """(B, out, ...) -> (N, out)."""
        return y.movedim(1, -1).reshape(-1, self.out)

    def by_column(self, y: Tensor) -> Tensor:
        """(B, G R S o, ...) -> (N, R, S G o)."""
        y = y.movedim(1, -1).reshape(-1, self.groups, self.parts * self.slices * self.per_group)
        return self._by_column(y)

    @property
    def per_group(self) -> int:
        """Outputs of one group of channels."""
        return self.out // self.groups

    def _by_column(self, y: Tensor) -> Tensor:
        """(N, G, R S o) -> (N, R, S G o)."""
        y = y.unflatten(-1, (self.parts, self.slices, self.per_group))
        return y.permute(0, 2, 3, 1, 4).flatten(2)

    def vectors_of(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (N, G, rows)."""
        return Patches(**_fields(self)).vectors_of(x)

    def unbuilt_vectors(self, x: Tensor) -> UnbuiltRows | None:
        """(B, C, ...) -> (N, rows)."""
        return Patches(**_fields(self)).unbuilt_vectors(x)

    def combine(self, y: Tensor, like: Tensor) -> Tensor:
        """(B, out, ...)."""
        if self.parts * self.slices > 1:
            y = y.unflatten(1, (self.groups, self.parts * self.slices, -1)).sum(2).flatten(1, 2)
        return y

    def inputs_of(self, x: Tensor) -> list[Tensor]:
        """R tensors; padding does not count as input."""
        grouped = x.unflatten(1, (self.groups, -1))
        return [grouped[:, :, start:stop].flatten() for start, stop, _ in self._channel_slices()]

    def column_peaks(self, y: Tensor) -> Tensor:
        """(R, columns)."""
        peaks = y.abs().amax((0, *range(2, y.dim())))  # (G R S o,)
        peaks = peaks.reshape(self.groups, self.parts, self.slices, -1)
        return peaks.permute(1, 2, 0, 3).reshape(self.parts, -1)

    @property
    def vectors(self) -> Geometry:
        """The product over explicit patches."""
        return Patches(**_fields(self))

    def spatial(self, x: Tensor) -> tuple[int, ...]:
        """Spatial shape of the output for an input (B, C, ...)."""
        sizes = []
        for d, n in enumerate(x.shape[2:]):
            reach = self.dilation[d] * (self.kernel[d] - 1)
            if self.transposed:
                extra = self.output_padding[d] - sum(self.padding[d])
                sizes.append((n - 1) * self.stride[d] + reach + extra + 1)
            else:
                sizes.append((n + sum(self.padding[d]) - reach - 1) // self.stride[d] + 1)
        return tuple(sizes)


@dataclass(frozen=True)
class Patches(Convolution):
    """A convolution as a matrix product over explicit patches: memory times K, vectors apart."""

    def _padded(self, x: Tensor) -> Tensor:
        flat = [n for pair in reversed(self.padding) for n in pair]
        if not any(flat):
            return x
        return F.pad(x, flat, mode="constant" if self.mode == "zeros" else self.mode)

    def unbuilt_vectors(self, x: Tensor) -> UnbuiltRows | None:
        """(B, C, ...) -> (N, rows)."""
        if self.transposed or self.groups > 1:
            return None
        return unbuilt_rows(self._padded(x), self.kernel, self.stride, self.dilation)

    def _patches(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, *spatial, C, K)."""
        stride = self.stride
        if self.transposed:
            x, stride = self._stuffed(x), (1,) * len(self.kernel)
        else:
            x = self._padded(x)
        rows = patches_in_one_pass(x, self.kernel, stride, self.dilation)
        if rows is not None:
            return rows.flip(-1) if self.transposed else rows
        for d, size in enumerate(self.kernel):
            reach = self.dilation[d] * (size - 1) + 1
            x = x.unfold(2 + d, reach, stride[d])[..., :: self.dilation[d]]
        n = len(self.kernel)
        if self.transposed:
            x = x.flip(tuple(range(2 + n, 2 + 2 * n)))
        order = (0, *range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n))
        return x.permute(order).flatten(-n)

    def _stuffed(self, x: Tensor) -> Tensor:
        """Insert stride - 1 zeros between pixels and pad for the flipped kernel."""
        sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], self.stride, strict=True)]
        stuffed = x.new_zeros(*x.shape[:2], *sizes)
        stuffed[(..., *[slice(None, None, s) for s in self.stride])] = x
        pads: list[int] = []
        for d in reversed(range(len(self.kernel))):
            reach = self.dilation[d] * (self.kernel[d] - 1)
            pads += [
                reach - self.padding[d][0],
                reach - self.padding[d][1] + self.output_padding[d],
            ]
        return F.pad(stuffed, pads)

    def split(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (N, G, R, k) with N = B * pixels."""
        return pad_slices(self.vectors_of(x), self.partition.rows)

    def by_column(self, y: Tensor) -> Tensor:
        """(N, G, R, S o) -> (N, R, S G o)."""
        return self._by_column(y.flatten(2))

    def vectors_of(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (N, G, rows)."""
        patches = self._patches(x).unflatten(-2, (self.groups, -1)).flatten(-2)  # (B, ..., G, rows)
        return patches.flatten(0, -3)

    def product(self, v: Tensor, weight: Tensor) -> Tensor:
        """(N, G, R, S o)."""
        w = (
            weight.reshape(self.slices, self.groups, -1, weight.shape[-1])
            .transpose(0, 1)
            .flatten(1, 2)
        )
        tiles = pad_slices(w, self.partition.rows).transpose(1, 2)  # (G, R, S o, k)
        return torch.einsum("ngrk,grok->ngro", v, tiles)

    def sums(self, v: Tensor) -> Tensor:
        """(N, G, R, 1)."""
        return sum_slices(v, self.partition.rows)

    def sliced(self, v: Tensor) -> Tensor:
        """(N, G, R, k)."""
        return v

    def on_slices(self, values: Tensor) -> Tensor:
        """(R, 1)."""
        return self.on_rows(values)

    def occupied(self, like: Tensor) -> Tensor:
        """(R,)."""
        return Geometry.occupied(self, like)

    def column_slices(self) -> list[ColumnSlice]:
        """The column-slices, cut also between groups where an array holds parts of groups."""
        per_group = self.out // self.groups
        found = []
        for start, stop in self._column_spans(per_group):
            groups = max(1, (stop - start) // per_group)
            first = start // per_group
            own = replace(
                self,
                out=stop - start,
                groups=groups,
                partition=replace(self.partition, columns=(stop - start,)),
            )

            def inputs(v: Tensor, first: int = first, groups: int = groups) -> Tensor:
                return v[:, first : first + groups]

            found.append(ColumnSlice(own, slice(start, stop), inputs))
        return found

    def _column_spans(self, per_group: int) -> list[tuple[int, int]]:
        spans, start = [], 0
        for size in self.partition.columns:
            edges = [start, start + size]
            if self.groups > 1 and any(edge % per_group for edge in edges):
                inside = range(start - start % per_group + per_group, start + size, per_group)
                edges = [start, *inside, start + size]
            spans += pairwise(edges)
            start += size
        return spans

    def on_rows(self, values: Tensor) -> Tensor:
        """(R, 1)."""
        return values[:, None]

    def on_columns(self, values: Tensor) -> Tensor:
        """(G, R, S o)."""
        per = values.reshape(self.parts, self.slices, self.groups, -1).permute(2, 0, 1, 3)
        return per.flatten(2)

    def column_peaks(self, y: Tensor) -> Tensor:
        """(R, columns)."""
        peaks = y.abs().amax(0).unflatten(-1, (self.slices, -1))  # (G, R, S, o)
        return peaks.permute(1, 2, 0, 3).reshape(self.parts, -1)

    def combine(self, y: Tensor, like: Tensor) -> Tensor:
        """(B, out, ...)."""
        if self.parts * self.slices > 1:
            y = y.unflatten(-1, (self.slices, -1)).sum((2, 3))
        y = y.flatten(1)  # (N, out)
        return y.reshape(like.shape[0], *self.spatial(like), self.out).movedim(-1, 1)

    @property
    def vectors(self) -> Geometry:
        """Itself."""
        return self


def _fields(geometry: Convolution) -> dict[str, Any]:
    return {field.name: getattr(geometry, field.name) for field in fields(geometry)}
