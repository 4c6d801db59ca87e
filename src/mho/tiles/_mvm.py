"""The analog matrix product: DAC, array, noise, ADC, digital scale, in that order.

    v = levels(clip(x / r, -1, 1)),   y_i = sum_j w_ij v_j + effects,   out_i = levels(clip(y_i)) r s_i

A weight is kept in the units of the model; its scale s is the weight that a conductance of g_max
stands for, so the relative weight of the formulas is weight / s. No second matrix is written to
normalize: relative signals are made on the (smaller) side of the outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..circuits import Fixed, Learned
from ..ops import to_codes
from ._column import column_signal
from ._geometry import Geometry
from ._hardware import Hardware
from ._operand import Operand, Setting
from ._range import clip_learned
from ._read_out import converted, digital, saturated


class _Ranges(NamedTuple):
    """The input range r as the three places that need it want it."""

    on_rows: Tensor | float
    """Broadcastable to a split input."""
    on_columns: Tensor | float
    """(R, 1) or a number: joins the digital scale."""
    on_vectors: Tensor | None
    """Broadcastable to split inputs and to products: what differs from vector to vector."""


def mvm(x: Tensor, operand: Operand, hardware: Hardware, geometry: Geometry) -> Tensor:
    """Return the analog product of a batch of inputs with one weight matrix, without bias.

    Args:
        x: inputs, as the layer gets them.
        operand: the weights and the state of the converters.
        hardware: the effects; each that is off is exactly the identity.
        geometry: how the product lies on the arrays.
    """
    dynamic = hardware.dac.range is not None and hardware.dac.range.dynamic
    retry = hardware.adc.overflow == "retry"
    if dynamic or retry:
        geometry = geometry.vectors
    setting = Setting(operand, hardware, geometry, float(hardware.dac.half_steps or 1))
    v = geometry.split(x)
    y = _with_retries(v, setting) if retry else _read(v, _ranges(v, setting), setting)[0]
    return geometry.combine(y, x).to(x.dtype)


def _ranges(v: Tensor, setting: Setting, attenuation: Tensor | None = None) -> _Ranges:
    """Find r for a split input; `attenuation` per vector multiplies it."""
    rule, stored = setting.hardware.dac.range, setting.operand.input_range
    if rule is None:
        ranges = _Ranges(1.0, 1.0, None)
    elif rule.dynamic:
        # A vector of zeros has any range; the smallest normal number keeps 0 / r at 0.
        largest = setting.geometry.largest(v.detach()).clamp(min=torch.finfo(v.dtype).tiny)
        ranges = _Ranges(largest, 1.0, largest)
    elif isinstance(rule, Fixed) or stored is None:
        value = rule.value if isinstance(rule, Fixed) else 1.0
        ranges = _Ranges(value, value, None)
    else:
        rows = setting.geometry.on_rows(stored.to(v.dtype))
        ranges = _Ranges(rows, stored.detach()[:, None], None)
    if attenuation is None:
        return ranges
    vectors = attenuation if ranges.on_vectors is None else ranges.on_vectors * attenuation
    return ranges._replace(on_rows=ranges.on_rows * attenuation, on_vectors=vectors)


def _codes(v: Tensor, r: Tensor | float, setting: Setting) -> Tensor:
    """The DAC: drives in units of one step, or of full scale without levels."""
    dac = setting.hardware.dac
    if dac.range is None:
        return v
    if isinstance(dac.range, Learned) and isinstance(r, Tensor):
        v, r = clip_learned(v, r, dac.range.decay, dac.range.keep), r.detach()
    v = v * (setting.full / r)
    if dac.half_steps is None:
        return v.clamp(-1.0, 1.0)
    return to_codes(v, setting.full, stochastic=dac.rounding == "stochastic")


def _read(v: Tensor, ranges: _Ranges, setting: Setting) -> tuple[Tensor, Tensor | None]:
    """One read of split inputs: outputs per physical column, and which hit the ADC's bound."""
    scheme, hit = setting.hardware.dac.scheme, None
    retry = setting.hardware.adc.overflow == "retry"
    total: Tensor | None = None
    for phase in scheme.phases(_codes(v, ranges.on_rows, setting), setting.full):
        y = column_signal(phase, setting)
        if scheme.digital_sum:
            y = converted(y, setting)
            if retry:
                hit = saturated(y, setting) if hit is None else hit | saturated(y, setting)
        if phase.factor != 1:
            y = phase.factor * y
        total = y if total is None else total + y
    if total is None:
        raise TypeError(f"the scheme {scheme!r} has no phase")
    if not scheme.digital_sum:
        total = converted(total, setting)
        hit = saturated(total, setting) if retry else None
    y = digital(total, ranges.on_columns, setting)
    return (y if ranges.on_vectors is None else y * ranges.on_vectors.to(y.dtype)), hit


def _with_retries(v: Tensor, setting: Setting) -> Tensor:
    """Read again, each time with half the drive, the vectors whose outputs hit the bound.

    Ends when no vector saturates, or when a quarter of the DAC's steps would be the whole drive
    (Gokmen et al., Front. Neurosci. 11:538, 2017, bound management; here vector by vector).
    """
    axis = setting.geometry.vector_axis
    y, hit = _read(v, _ranges(v, setting), setting)
    again = _per_vector(hit, axis).nonzero().flatten()
    limit = min(1000.0, 0.5 * setting.full) if setting.hardware.dac.half_steps else 1000.0
    factor = 1.0
    while again.numel() and factor < limit:
        factor *= 2
        part = v.index_select(axis, again)
        attenuation = part.new_full((1,) * part.dim(), factor)
        y_part, hit = _read(part, _ranges(part, setting, attenuation), setting)
        y = y.index_copy(axis, again, y_part)
        again = again[_per_vector(hit, axis)]
    return y


def _per_vector(hit: Tensor | None, axis: int) -> Tensor:
    if hit is None:
        raise TypeError("no phase reached the ADC")
    return hit.movedim(axis, 0).flatten(1).any(1)
