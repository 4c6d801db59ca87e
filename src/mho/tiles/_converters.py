"""The read-out of each physical column of a chip instance: its draws, and its conversion."""

from typing import Literal, Protocol

import torch
from torch import Tensor

from ..circuits import OwnNumbers
from ..ops import differentiable, plus, standard_normal_like, times, with_gradient_of
from ._geometry import Geometry
from ._hardware import Hardware
from ._operand import Columns, Setting


class Source(Protocol):
    """Named random numbers: a chip's streams, or torch's generator."""

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Return standard normal numbers."""
        ...

    def uniform(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Return numbers in [0, 1)."""
        ...


class ColumnDraws:
    """Draws for the columns of one weight matrix; see `Draws` of the circuits."""

    def __init__(self, source: Source, geometry: Geometry, per: int) -> None:
        self.source, self.geometry, self.per = source, geometry, per

    def normal(self, purpose: str, *size: int, per: int | Literal["array"] | None = None) -> Tensor:
        """See `Draws.normal`."""
        per = self.per if per is None else per
        if per == 1:
            columns = self.geometry.slices * self.geometry.out
            return self.source.normal(purpose, (self.geometry.parts, columns, *size))
        owner, _, count = self._owners(per)
        return self.source.normal(purpose, (self.geometry.parts, count, *size))[:, owner]

    def uniform(self, purpose: str) -> Tensor:
        """See `Draws.uniform`."""
        owner, _, count = self._owners(self.per)
        return self.source.uniform(purpose, (self.geometry.parts, count))[:, owner]

    def position(self) -> Tensor:
        """See `Draws.position`."""
        return self._owners(self.per)[1].expand(self.geometry.parts, -1)

    def _owners(self, per: int | Literal["array"]) -> tuple[Tensor, Tensor, int]:
        """Number of each column's group, among all of a row-slice and within its array."""
        slices, first, owners, places = self.geometry.slices, 0, [], []
        for size in self.geometry.partition.columns:
            place = torch.arange(slices * size) // (slices * size if per == "array" else per)
            places.append(place.unflatten(0, (slices, size)))
            owners.append(places[-1] + first)
            first += int(place[-1]) + 1
        return torch.cat(owners, 1).flatten(), torch.cat(places, 1).flatten(), first


def read_out(
    hardware: Hardware, geometry: Geometry, source: Source, drive: Tensor | None = None
) -> Columns:
    """Draw the read-out of each physical column.

    Args:
        hardware: the value.
        geometry: how the columns lie on the arrays.
        source: streams of a chip instance, or others.
        drive: what the offsets of the row drivers add to each column.
    """
    adc, noise = hardware.adc, hardware.noise
    own = ColumnDraws(source, geometry, 1)
    shared = ColumnDraws(source, geometry, adc.columns_per_converter)
    gain = 1 + adc.gain_spread * shared.normal("adc gain") if adc.gain_spread else None
    offset = adc.offset_spread * shared.normal("adc offset") if adc.offset_spread else None
    spread = 1 + noise.output_spread * own.normal("output noise") if noise.output_spread else None
    front = adc.front_end.offset_spread if adc.front_end else 0.0
    numbers = None
    if adc.converter is not None and adc.half_steps is not None:
        numbers = adc.converter.draw(shared, adc.half_steps)
    return Columns(
        gain=gain,
        offset=offset,
        # A spread is symmetric about the nominal value, but a std has no sign.
        noise=None if spread is None else spread.abs(),
        transfer=None if adc.transfer is None else adc.transfer.draw(shared),
        front_end=(front * own.normal("front end")).clamp(min=0) if front else None,
        drive=drive,
        converter=numbers,
    )


def coded(y: Tensor, limit: float, setting: Setting, after: Tensor | None) -> Tensor:
    """Return the codes that real converters find, times a digital factor (R, columns) if given.

    The codes are those of the architecture with all its errors; the gradient is that of the smooth
    curve up to the thresholds inside the bound, and 0 outside.

    Args:
        y: signals in units of `limit`'s, behind the transfer curve, with their noise.
        limit: the bound.
        setting: the product's setting, with a converter.
        after: see `converted`.
    """
    adc, columns = setting.hardware.adc, setting.operand.columns
    converter, half = adc.converter, adc.half_steps
    if converter is None or half is None:
        raise TypeError("this ADC has no converter")
    z = times(y, half / limit)
    if columns.gain is not None:
        z = times(z, setting.on_columns(columns.gain, z))
    if columns.offset is not None:
        z = plus(z, setting.on_columns(columns.offset, z) * half)
    if converter.noise:
        z = plus(z, standard_normal_like(z), converter.noise)
    signal = z.detach()
    code = converter.codes(signal, half, _own_numbers(setting, z))
    if adc.overflow == "extend":
        code = torch.where(signal.abs() > half, signal.round(), code)
    if differentiable(z):
        smooth = z if adc.overflow == "extend" else z.clamp(-half, half)
        code = with_gradient_of(smooth, code)
    return code if after is None else times(code, setting.on_columns(after, code))


def _own_numbers(setting: Setting, like: Tensor) -> OwnNumbers | None:
    numbers, geometry = setting.operand.columns.converter, setting.geometry
    if numbers is None:
        return None
    converters = numbers.shape[0] * numbers.shape[1]
    index = torch.arange(converters, device=like.device).reshape(numbers.shape[:2])
    values = numbers.to(like.device, like.dtype).flatten(0, 1)
    return OwnNumbers(values, geometry.on_columns(index))
