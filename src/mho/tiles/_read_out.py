"""From a column's signal to its digital output: noise, ADC, and the digital scale."""

import math

import torch
from torch import Tensor

from ..ops import (
    converted_codes,
    differentiable,
    plus,
    row_peaks,
    standard_normal_like,
    times,
)
from ._column import Signal
from ._converters import coded
from ._operand import Setting


def converted(signal: Signal, setting: Setting, after: Tensor | None = None) -> Tensor:
    """Return the ADC's output, times a digital factor (R, columns) if one is given.

    Without it, the output is in ADC steps where there are levels, otherwise in the units of the
    input; `digital_factor` knows which.
    """
    hardware, columns = setting.hardware, setting.operand.columns
    adc, y, unit = hardware.adc, signal.y, signal.unit
    if not hardware.column_effects:
        return y if after is None else times(y, setting.on_columns(after, y))
    if adc.converter is not None:
        y = coded(_curved(signal, setting), _limit(setting) or 1.0, setting, after)
        if setting.hits is not None:
            setting.hits.append(saturated(y, setting))
        return y
    std = _noise_std(y, signal.variance, hardware.noise.output, setting)
    if adc.asymmetry or adc.transfer is not None:
        y, unit, std = _curved(signal, setting), None, None
    elif setting.operand.bound is not None:  # each column's signal relative to its own bound
        own = setting.on_columns(setting.operand.bound, y).reciprocal()
        unit = own if unit is None else unit * own
        std = None if std is None else std * own
    half, limit = adc.half_steps, _limit(setting)
    gain = y.new_full((), half / (limit or 1.0) if half else 1.0)
    offset = None
    if columns.offset is not None:
        offset = setting.on_columns(columns.offset, y) * (gain * (limit or 1.0))
    if columns.gain is not None:
        gain = gain * setting.on_columns(columns.gain, y)
    y = converted_codes(
        y,
        gain if unit is None else gain * unit,
        spread=None if std is None else std * gain,
        offset=offset,
        after=y.new_ones(()) if after is None else setting.on_columns(after, y),
        limit=math.inf if limit is None or adc.overflow == "extend" else float(half or limit),
        rounding=adc.rounding if half else None,
        spare=signal.unit is not None,
    )
    if setting.hits is not None and limit is not None:
        setting.hits.append(saturated(y, setting))
    return y


def _noise_std(
    y: Tensor, variance: Tensor | None, output: float, setting: Setting
) -> Tensor | None:
    """Std of one Gaussian: the cells' noise of some variance, and the read-out's of `output`."""
    spread = setting.operand.columns.noise
    if variance is None and not output:
        return None
    std = y.new_full((), output)
    if output and spread is not None:
        std = setting.on_columns(spread, y) * output
    if variance is None:
        return std
    # A variance is a sum of squares; where rounding made it negative it is 0.
    return (variance + std.square()).clamp_(min=0).sqrt_()


def _noisy(y: Tensor, std: Tensor | None) -> Tensor:
    return y if std is None else plus(y, standard_normal_like(y).mul_(std))


def _curved(signal: Signal, setting: Setting) -> Tensor:
    """Return signals behind what is not linear, with all noise, relative to their own bound."""
    hardware, operand = setting.hardware, setting.operand
    adc, y, variance = hardware.adc, signal.y, signal.variance
    if signal.unit is not None:
        y = times(y, signal.unit)
    if adc.asymmetry:
        y, variance = _noisy(y, _noise_std(y, variance, 0.0, setting)), None
        y = torch.where(y < 0, (1 - adc.asymmetry) * y, y)
    y = _noisy(y, _noise_std(y, variance, hardware.noise.output, setting))
    if operand.bound is not None:
        y = y / setting.on_columns(operand.bound, y)
    limit, strength = _limit(setting), operand.columns.transfer
    if adc.transfer is None or limit is None:
        return y
    each = 1.0
    if strength is not None and strength.dim() == 2:
        each = setting.on_columns(strength, y)
    elif strength is not None:
        each = torch.stack([setting.on_columns(part, y) for part in strength.unbind(-1)])
    return adc.transfer.apply(y, limit, each)


def saturated(y: Tensor, setting: Setting) -> Tensor:
    """Tell which outputs of `converted` are at the ADC's bound."""
    return y.abs() >= _bound(setting)


def any_saturated(y: Tensor, setting: Setting) -> Tensor:
    """Tell for which arrays and vectors any column is at the ADC's bound, (..., 1)."""
    return row_peaks(y)[..., None] >= _bound(setting)


def _bound(setting: Setting) -> float:
    """What outputs of `converted` are limited to."""
    return setting.hardware.adc.half_steps or _limit(setting) or math.inf


def digital_factor(input_range: Tensor | float, setting: Setting) -> Tensor | None:
    """Return what makes the model's units of `converted`'s: scale, range, gain, significance.

    A gain that is learned is left out, because the factor has no gradient.

    Args:
        input_range: (R, 1) or a number; ranges that differ by vector are multiplied elsewhere.
        setting: the product's setting.

    Returns:
        A factor for each column, (R, columns); None where all are 1.
    """
    hardware, operand = setting.hardware, setting.operand
    scales = hardware.column_effects or setting.full != 1 or operand.significance != (1.0,)
    corrects = operand.gain is not None and not learns_gain(setting)
    corrects = corrects or operand.column_gain is not None
    if not scales and not corrects and isinstance(input_range, float) and input_range == 1.0:
        return None
    factor, half = setting.scale, hardware.adc.half_steps
    if not hardware.column_effects:
        factor = torch.full_like(factor, 1 / setting.full)
    elif half is not None:
        factor = factor * ((_limit(setting) or 1.0) / half)
    if operand.bound is not None:
        factor = factor * operand.bound.to(factor.dtype)
    if operand.gain is not None and not learns_gain(setting):
        factor = factor * gain_on_columns(setting).to(factor.dtype)
    if operand.column_gain is not None:
        factor = factor * operand.column_gain.to(factor.dtype)
    if operand.significance != (1.0,):
        each = torch.tensor(operand.significance, dtype=factor.dtype, device=factor.device)
        factor = factor * each.repeat_interleave(factor.shape[1] // len(each))
    return factor * input_range


def learns_gain(setting: Setting) -> bool:
    """Whether the digital gain is a Parameter being trained."""
    gain = setting.operand.gain
    return gain is not None and differentiable(gain)


def gain_on_columns(setting: Setting) -> Tensor:
    """Return the digital gain of each output for each column, (R, columns)."""
    operand = setting.operand
    gain = operand.scale.new_ones(()) if operand.gain is None else operand.gain
    return gain.repeat(len(operand.significance)).expand(setting.geometry.parts, -1)


def _limit(setting: Setting) -> float | None:
    """The ADC's bound in the units of its input: 1 where each column has its own."""
    bound = setting.hardware.adc.bound
    return 1.0 if isinstance(bound, str) else bound
