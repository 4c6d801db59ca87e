"""What arrives at the foot of each column: the array, its wires, and the noise of its cells."""

import torch
from torch import Tensor

from ..circuits import Phase
from ..ops import differentiable
from ._operand import Setting


def column_signal(phase: Phase, setting: Setting) -> Tensor:
    """Return the signal of each column for one phase of an input.

    In units of range x scale if anything acts on the columns (`Hardware.column_effects`), otherwise
    in drive steps times the model's units of weight.
    """
    hardware, operand = setting.hardware, setting.operand
    drive = _driven(phase, setting)
    swapped = phase.negative and operand.negative is not None
    weight = operand.negative if swapped and operand.negative is not None else operand.weight
    weight = weight.to(drive.dtype)
    y = setting.geometry.product(drive, weight)
    if y.dtype in (torch.float16, torch.bfloat16):
        y = y.float()  # converter levels need more digits than these have
    if operand.columns.drive is not None:
        y = y + setting.on_columns(operand.columns.drive, y) * setting.full
    if not hardware.column_effects:
        return y
    inverse = setting.on_columns(1 / (setting.full * operand.scale), y)
    y = y * inverse if differentiable(y) else y.mul_(inverse)
    y = _wire_drop(y, drive, weight, inverse, setting)
    y = _front_end(y, drive, setting)
    return _read_noise(y, drive, weight, inverse, setting)


def _driven(phase: Phase, setting: Setting) -> Tensor:
    """The drive as it reaches the rows: asymmetry of the drivers, then input noise."""
    drive, dac, noise = phase.drive, setting.hardware.dac, setting.hardware.noise
    if dac.asymmetry:
        weak = (1 - dac.asymmetry) * drive
        drive = weak if phase.negative else torch.where(drive < 0, weak, drive)
    if noise.input:
        drive = drive + torch.randn_like(drive) * (noise.input * setting.full)
    return drive


def _wire_drop(y: Tensor, drive: Tensor, weight: Tensor, inverse: Tensor, setting: Setting) -> Tensor:
    wires, geometry = setting.hardware.array.wires, setting.geometry
    if wires is None:
        return y
    sizes = torch.tensor(geometry.partition.rows, device=y.device)
    position = torch.tensor(geometry.row_position, device=y.device, dtype=weight.dtype)
    profile = wires.profile(position, torch.repeat_interleave(sizes, sizes).to(weight.dtype))
    load = geometry.product(drive.abs(), weight.abs()).to(y.dtype) * inverse
    weighted = geometry.product(drive, weight * profile).to(y.dtype) * inverse
    rows = setting.on_columns(sizes[:, None].expand_as(setting.operand.scale), y)
    return y - wires.drop(load, weighted, rows)


def _front_end(y: Tensor, drive: Tensor, setting: Setting) -> Tensor:
    front, offset = setting.hardware.adc.front_end, setting.operand.columns.front_end
    if front is None:
        return y
    drive_sum = setting.geometry.sums(drive).to(y.dtype) / setting.full
    return front.apply(y, drive_sum, 0.0 if offset is None else setting.on_columns(offset, y))


def _read_noise(y: Tensor, drive: Tensor, weight: Tensor, inverse: Tensor, setting: Setting) -> Tensor:
    read = setting.hardware.noise.read
    if read is None or not read.sigma:
        return y
    squares = (drive.detach() / setting.full).square()
    if read.per_weight:
        variance = setting.geometry.product(squares, weight.detach().abs()).to(y.dtype)
        variance = variance * (inverse.detach() * setting.full)
    else:
        variance = setting.geometry.sums(squares).to(y.dtype)
    return y + torch.randn_like(y) * (read.sigma * variance.clamp(min=0).sqrt())
