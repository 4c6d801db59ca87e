"""What arrives at the foot of each column: the array, its wires, and the noise of its cells."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..circuits import ColumnDrop, Phase
from ..ops import plus, standard_normal_like, times
from ._effective import rule_noise
from ._operand import Setting
from ._per_vector import network_drop

HALF = (torch.float16, torch.bfloat16)


class Signal(NamedTuple):
    """What arrives at the foot of the columns."""

    y: Tensor
    """Drive steps times the model's units of weight, times `unit`: range x scale."""
    unit: Tensor | None
    """None where y is in range x scale already, or where nothing acts on the columns. Otherwise y
    is what products and sums made, which their backward passes do without."""
    variance: Tensor | None
    """Variance of the noise of the cells, or of the rule by which they add up, in range x scale.
    It is not drawn yet: the variances of several phases, and of the output noise, add up to that of
    a single Gaussian."""


def column_signal(phase: Phase, setting: Setting) -> Signal:
    """Return the signal of each column for one phase of an input."""
    hardware, operand = setting.hardware, setting.operand
    drive = phase.drive
    swapped = phase.negative and operand.negative is not None
    weight = operand.negative if swapped and operand.negative is not None else operand.weight
    weight = weight.to(drive.dtype)
    y = _product(drive, weight, setting)
    if operand.columns.drive is not None:
        y = y + setting.on_columns(operand.columns.drive, y) * setting.full
    if not hardware.column_effects:
        return Signal(y, None, None)
    unit = setting.on_columns((setting.full * setting.scale).reciprocal(), y)
    variance = _read_variance(drive, weight, unit, setting)
    dropping = isinstance(hardware.array.wires, ColumnDrop)
    if hardware.wires_per_product and not dropping:
        y = plus(times(y, unit), network_drop(drive, setting), -1)
        return Signal(_front_end(y, drive, setting), None, variance)
    if not dropping and hardware.adc.front_end is None:
        return Signal(y, unit, variance)
    y = _wire_drop(times(y, unit), drive, weight, unit, setting)
    return Signal(_front_end(y, drive, setting), None, variance)


def driven(drive: Tensor, setting: Setting) -> Tensor:
    """Return the drive as it reaches the rows: with input noise, then the drivers' asymmetry."""
    dac, noise = setting.hardware.dac, setting.hardware.noise
    if noise.input:
        drive = drive + standard_normal_like(drive) * (noise.input * setting.full)
    if dac.asymmetry:
        drive = torch.where(drive < 0, (1 - dac.asymmetry) * drive, drive)
    return drive


def _product(v: Tensor, weight: Tensor, setting: Setting) -> Tensor:
    """The geometry's product in single precision or better: ADC levels need its digits.

    Sums of half-precision products could overflow in units of drive steps, so those are halved
    exactly until full scale is at most 1.
    """
    autocast = not v.is_meta and torch.is_autocast_enabled(v.device.type)
    if v.dtype not in HALF and not autocast:
        return setting.geometry.product(v, weight)
    unit = 2.0 ** math.ceil(math.log2(setting.full))
    y = setting.geometry.product(v / unit, weight)
    return (y.float() if y.dtype in HALF else y) * unit


def _wire_drop(
    y: Tensor, drive: Tensor, weight: Tensor, inverse: Tensor, setting: Setting
) -> Tensor:
    wires, geometry = setting.hardware.array.wires, setting.geometry
    if not isinstance(wires, ColumnDrop):
        return y
    sizes = torch.tensor(geometry.partition.rows, device=y.device)
    pairs = zip(sizes, geometry.partition.rows, strict=True)
    used = torch.cat([size.expand(n) for size, n in pairs])
    # In the precision of y: dividing integers would give torch's default.
    profile = wires.profile(geometry.row_position(y.device).to(y.dtype), used).to(weight.dtype)
    load = times(_product(drive.abs(), weight.abs(), setting), inverse)
    weighted = times(_product(drive, weight * profile, setting), inverse)
    rows = setting.on_columns(sizes[:, None].expand_as(setting.operand.scale), y)
    return plus(y, wires.drop(load, weighted, rows), -1)


def _front_end(y: Tensor, drive: Tensor, setting: Setting) -> Tensor:
    front, offset = setting.hardware.adc.front_end, setting.operand.columns.front_end
    if front is None:
        return y
    drive_sum = setting.geometry.sums(drive / setting.full).to(y.dtype)
    return front.apply(y, drive_sum, 0.0 if offset is None else setting.on_columns(offset, y))


def _read_variance(
    drive: Tensor, weight: Tensor, inverse: Tensor, setting: Setting
) -> Tensor | None:
    """Variance of the noise of the cells or of their rule on each column; it has no gradient."""
    read = setting.hardware.noise.read
    if read is None or not read.sigma:
        own = rule_noise(setting.hardware, setting.geometry, inverse)
        return None if own is None else setting.on_columns(own.square(), inverse)
    squares = (drive.detach() / setting.full).square()
    if not read.per_weight:
        return setting.geometry.sums(squares).to(inverse.dtype) * read.sigma**2
    variance = _product(squares, weight.detach().abs(), setting)
    return times(variance, inverse.detach() * (setting.full * read.sigma**2))
