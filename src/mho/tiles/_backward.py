"""The transposed product: errors go back through the same cells, by converters of their own."""

import itertools
from collections.abc import Iterator
from functools import lru_cache

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..circuits import ADC, DAC, CurrentSum, Noise, PerToken
from ..errors import SpecError
from ..mapping import Partition
from ..spec import Spec
from ._convolution import Convolution
from ._geometry import Dense, Geometry
from ._hardware import Hardware
from ._mvm import mvm
from ._operand import Operand

LIMIT = 1 << 22
"""Numbers in one piece of vectors: 16 MiB of float32."""


class Backward(Spec):
    """How arrays are read backward, from their columns to their rows.

    For each vector d of errors on each array, with the steps of `tiles.mvm`,

        v = levels(clip(d / r, -1, 1)),   y_j = sum_i w_ij v_i + noise,   levels(clip(y_j)) r scale

    and the digital sum over the arrays of a row is its gradient. `dac` drives the columns, `adc`
    reads the rows, and signals are in units of range x weight scale, as forward. The range r is
    each vector's largest |d| (`per_token`), since the size of errors changes as training goes on.
    Wires that act as a matrix do so backward too (a passive network is reciprocal); those that are
    found for every vector act forward only.
    Source: M. Rasch et al., AICAS 2021, arXiv 2104.02184 (`backward` IOParameters of IBM's aihwkit,
    whose default is `dac: {steps: 126, range: per_token}, adc: {steps: 510, bound: 12}, noise:
    {output: 0.06}`); T. Gokmen, O. M. Onen, W. Haensch, Front. Neurosci. 11:538, 2017.
    """

    dac: DAC = Field(default=DAC(), description="Converters that drive the columns with errors.")
    adc: ADC = Field(default=ADC(), description="Converters that read the rows.")
    noise: Noise = Field(default=Noise(), description="Noise of every backward product.")

    @model_validator(mode="after")
    def _meant(self) -> "Backward":
        if self.dac.range is not None and self.dac.range.stored:
            raise ValueError(
                f"dac.range: {self.dac.range.kind}: errors have no calibrated range; use per_token "  # pyright: ignore
                "or {kind: fixed, value: ...}"
            )
        if self.adc.bound_per_column:
            raise ValueError(
                f"adc.bound: {self.adc.bound!r}: rows have no bounds of their own; give a number"
            )
        if self.adc.converter is not None or self.adc.front_end is not None:
            raise ValueError("adc.converter and adc.front_end are not part of a backward read")
        for part in (self.dac, self.adc, self.noise, self.adc.transfer):
            for name in () if part is None else type(part).model_fields:
                if name.endswith("spread") and getattr(part, name):
                    raise ValueError(
                        f"{name}: converters differ on a programmed chip only; arrays that are "
                        "being trained have nominal ones"
                    )
        if self.dac.range is None and self._acts:
            raise ValueError(
                "noise and bounds are in units of range x weight scale: give dac.range, per_token "
                "or {kind: fixed, value: ...}"
            )
        return self

    @property
    def _acts(self) -> bool:
        """Whether anything is relative to the range of the errors."""
        ranged = Hardware(dac=DAC(range=PerToken()), adc=self.adc, noise=self.noise)
        return ranged.column_effects or self.noise.input > 0

    @classmethod
    def of(cls, hardware: Hardware) -> "Backward":
        """Return a backward read by converters and noise as a hardware has them forward.

        Inputs with levels or a range are scaled by each vector's largest one, and there are no
        retries, as in IBM's aihwkit.

        Raises:
            SpecError: the ADC's bounds are found from data or weights, or its converters differ.
        """
        dac, adc = hardware.dac, hardware.adc
        if dac.range is not None:
            dac = dac.with_fields(range=PerToken())
        if adc.overflow == "retry":
            adc = adc.with_fields(overflow="saturate")
        return cls(dac=dac, adc=adc, noise=hardware.noise)


@torch.no_grad()
def mvm_t(
    d: Tensor,
    x: Tensor,
    weight: Tensor,
    scale: float,
    backward: Backward,
    geometry: Geometry,
    limit: Tensor | None = None,
) -> Tensor:
    """Return the gradient with respect to the input of a product, as arrays give it.

    Where nothing is on, it is the exact one, up to rounding. Groups of channels have their own
    arrays; patches of a convolution are read vector by vector and added up digitally.

    Args:
        d: gradient with respect to the product, of the shape of the layer's output.
        x: the layer's input.
        weight: (out, rows), as the arrays have it.
        scale: weight that a cell at g_max stands for.
        backward: converters and noise.
        geometry: of the product.
        limit: largest input of each row, (rows,); those beyond it were clipped, and get nothing.

    Returns:
        A tensor like x.
    """
    parts = [
        _part(part_d, part_x, weight, scale, backward, geometry, limit)
        for part_x, part_d in _pieces(x, d, geometry)
    ]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).reshape(x.shape).to(x.dtype)


def _pieces(x: Tensor, d: Tensor, geometry: Geometry) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and errors of a bounded number of vectors: images of a convolution, or rows."""
    if not isinstance(geometry, Convolution):
        x, d = x.reshape(-1, geometry.rows), d.reshape(-1, geometry.out)
    vectors = d.numel() // geometry.out * geometry.groups
    width = geometry.rows + geometry.out
    each = max(1, LIMIT * len(x) // max(1, vectors * width))
    return zip(x.split(each), d.split(each), strict=True)


def _part(
    d: Tensor,
    x: Tensor,
    weight: Tensor,
    scale: float,
    backward: Backward,
    geometry: Geometry,
    limit: Tensor | None,
) -> Tensor:
    read = read_rows(d, x, weight, scale, backward, geometry, limit)
    with torch.enable_grad():
        leaf = x.detach().to(read).requires_grad_()
        vectors = geometry.vectors_of(leaf)
    return torch.autograd.grad(vectors, leaf, read)[0]


@torch.no_grad()
def read_rows(
    d: Tensor,
    x: Tensor,
    weight: Tensor,
    scale: float,
    backward: Backward,
    geometry: Geometry,
    limit: Tensor | None = None,
) -> Tensor:
    """Return what `mvm_t` adds up: the gradients of `geometry.vectors_of(x)`, of its shape."""
    errors = geometry.by_output(d.to(weight.dtype))
    hardware = _hardware(backward)  # pyright: ignore[reportArgumentType]
    read = torch.stack(
        [
            _read(errors[:, mine], weight[mine], scale, hardware, turned)
            for mine, turned in _arrays(geometry)
        ],
        1,
    )
    if limit is None:
        return read
    clipped = geometry.vectors_of(x.detach()).abs() > limit.to(x)
    return read.masked_fill(clipped, 0.0)


def _read(
    errors: Tensor, weight: Tensor, scale: float, hardware: Hardware, geometry: Dense
) -> Tensor:
    scales = weight.new_full((geometry.parts, geometry.out), scale)
    return mvm(errors, Operand(weight.T, scales), hardware, geometry)


@lru_cache(maxsize=64)
def _hardware(backward: Backward) -> Hardware:
    return Hardware(dac=backward.dac, adc=backward.adc, noise=backward.noise)


@lru_cache(maxsize=1024)
def _arrays(geometry: Geometry) -> list[tuple[slice, Dense]]:
    """The outputs of each group of channels, and how its arrays lie when they are read backward."""
    partition, per_group = geometry.partition, geometry.out // geometry.groups
    edges = [0]
    for size in partition.columns:
        edges.append(edges[-1] + size)
    found = []
    for start in range(0, geometry.out, per_group):
        stop = start + per_group
        inside = [start, *(edge for edge in edges if start < edge < stop), stop]
        sizes = tuple(b - a for a, b in itertools.pairwise(inside))
        turned = Partition(sizes, partition.rows, partition.array_columns, partition.array_rows)
        found.append((slice(start, stop), Dense(geometry.rows, turned)))
    return found


def check_backward(backward: Backward | None, hardware: Hardware) -> None:
    """Raise SpecError if something else was given, or if arrays cannot be read backward."""
    if backward is None:
        return
    if not isinstance(backward, Backward):
        raise SpecError(
            f"backward must be mho.Backward(dac=..., adc=..., noise=...) or None for an exact "
            f"backward pass, got {backward!r}."
        )
    rule = hardware.array.combine
    if not isinstance(rule, CurrentSum):
        raise SpecError(
            f"backward: arrays of array.combine: {rule.kind} have no product in the other "  # pyright: ignore
            "direction, as sums of currents have: leave backward out, which makes the backward "
            "pass exact, or use current_sum."
        )
