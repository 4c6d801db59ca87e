"""From a column's signal to its digital output: noise, ADC, and the digital scale."""

import math

import torch
from torch import Tensor

from ..ops import plus, times, to_codes
from ._operand import Setting


def converted(y: Tensor, variance: Tensor | None, setting: Setting) -> Tensor:
    """Return the ADC's output for signals in units of range x scale with noise of some variance.

    The output is in ADC steps where there are levels, otherwise in the units of the input;
    `digital` knows which.
    """
    hardware, columns = setting.hardware, setting.operand.columns
    adc = hardware.adc
    if not hardware.column_effects:
        return y
    if adc.asymmetry:
        y, variance = _noisy(y, variance, None, setting), None
        y = torch.where(y < 0, (1 - adc.asymmetry) * y, y)
    y = _noisy(y, variance, hardware.noise.output, setting)
    if adc.bound is None:
        return _spread(y, 1.0, setting)
    bound = _limit(setting)
    if setting.operand.bound is not None:  # each column's signal relative to its own bound
        y = y / setting.on_columns(setting.operand.bound, y)
    if adc.transfer is not None:
        strength = columns.transfer
        y = adc.transfer.apply(
            y, bound, 1.0 if strength is None else setting.on_columns(strength, y)
        )
    y = _levels(_spread(y, bound, setting), bound, setting)
    if setting.hits is not None:
        setting.hits.append(saturated(y, setting))
    return y


def _noisy(y: Tensor, variance: Tensor | None, output: float | None, setting: Setting) -> Tensor:
    """Add one Gaussian: the cells' noise of some variance, and the read-out's of std `output`."""
    if variance is None and not output:
        return y
    noise, spread = torch.randn_like(y), setting.operand.columns.noise
    if output and spread is not None:
        output_std = setting.on_columns(spread, y) * output
    else:
        output_std = output or 0.0
    if variance is None:
        return plus(y, noise.mul_(output_std))
    alike = isinstance(output_std, float)
    whole = plus(variance, output_std**2) if alike else variance + output_std**2
    # A variance is a sum of squares; where rounding made it negative it is 0.
    return plus(y, noise.mul_(whole.clamp_(min=0).sqrt_()))


def _levels(y: Tensor, bound: float, setting: Setting) -> Tensor:
    """Limit a signal to the bound and round it to codes, whatever the converter has of the two."""
    adc = setting.hardware.adc
    extend = adc.overflow == "extend"
    if adc.half_steps is None:
        return y if extend else y.clamp(-bound, bound)
    y = times(y, adc.half_steps / bound)
    limit = math.inf if extend else adc.half_steps
    return to_codes(y, limit, stochastic=adc.rounding == "stochastic")


def saturated(y: Tensor, setting: Setting) -> Tensor:
    """Tell which outputs of `converted` are at the ADC's bound."""
    return y.abs() >= (setting.hardware.adc.half_steps or _limit(setting))


def digital(y: Tensor, input_range: Tensor | float, setting: Setting) -> Tensor:
    """Return outputs in the model's units: each column's scale, range and significance.

    Args:
        y: what `converted` returned.
        input_range: (R, 1) or a number; ranges that differ by vector are multiplied elsewhere.
        setting: the product's setting.
    """
    hardware, operand = setting.hardware, setting.operand
    factor = operand.scale
    if not hardware.column_effects:
        factor = torch.full_like(factor, 1 / setting.full)
    elif hardware.adc.half_steps is not None:
        factor = factor * (_limit(setting) / hardware.adc.half_steps)
    if operand.bound is not None:
        factor = factor * operand.bound.to(factor.dtype)
    if operand.gain is not None:
        factor = factor * operand.gain.to(factor.dtype).repeat(len(operand.significance))
    if operand.significance != (1.0,):
        each = torch.tensor(operand.significance, dtype=factor.dtype, device=factor.device)
        factor = factor * each.repeat_interleave(factor.shape[1] // len(each))
    return times(y, setting.on_columns(factor * input_range, y))


def _limit(setting: Setting) -> float:
    """The ADC's bound in the units of its input: 1 where it is calibrated per column."""
    bound = setting.hardware.adc.bound
    return bound if isinstance(bound, float) else 1.0


def _spread(y: Tensor, bound: float, setting: Setting) -> Tensor:
    """Gain and offset of each converter of a chip instance."""
    columns = setting.operand.columns
    if columns.gain is not None:
        y = y * setting.on_columns(columns.gain, y)
    if columns.offset is not None:
        y = y + setting.on_columns(columns.offset, y) * bound
    return y
