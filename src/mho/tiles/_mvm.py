"""The analog matrix product: DAC, array, noise, ADC, digital scale, in that order.

    v = levels(clip(x / r, -1, 1))
    y_i = sum_j w_ij v_j + effects
    out_i = levels(clip(y_i)) r s_i

A weight is kept in the units of the model; its scale s is the weight that a conductance of g_max
stands for, so the relative weight of the formulas is weight / s. No second matrix is written to
normalize: relative signals are made on the (smaller) side of the outputs.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..circuits import Fixed, Learned, Phase
from ..errors import LifecycleError
from ..ops import differentiable, plus, sign_codes, times, to_codes
from ._column import Signal, column_signal, driven
from ._digital import digital_output, shifts
from ._geometry import ColumnSlice, Geometry
from ._hardware import Hardware
from ._operand import Operand, Setting
from ._range import drive, largest_drive, largest_input
from ._read_out import any_saturated, converted, digital_factor, gain_on_columns, learns_gain


class _Input(NamedTuple):
    """A split input relative to its range, and where the range comes back after the array."""

    v: Tensor
    """x / r, not yet limited to [-1, 1], or the codes of it."""
    on_columns: Tensor | float
    """r as (R, 1) or a number: joins the digital scale."""
    on_vectors: Tensor | None
    """r broadcastable to split inputs and to products, where it differs from vector to vector."""
    coded: bool = False
    """Whether v has its levels already."""
    laid: Callable[[], Tensor] | None = None
    """Lays the input on the rows, for further reads of one that has its levels already."""


def mvm(
    x: Tensor,
    operand: Operand,
    hardware: Hardware,
    geometry: Geometry,
    hits: list[Tensor] | None = None,
) -> Tensor:
    """Return the analog product of a batch of inputs with one weight matrix, without bias.

    Args:
        x: inputs, as the layer gets them.
        operand: the weights and the state of the converters.
        hardware: the effects; each that is off is exactly the identity.
        geometry: how the product lies on the arrays.
        hits: takes, if given, which signals of each conversion were at the ADC's bound.

    Raises:
        LifecycleError: the rule of the input range needs a stored range, and the operand has none.
    """
    products = [
        _product(given, x, setting)
        for given, setting in _pieces(x, operand, hardware, geometry, hits)
    ]
    axis = geometry.vectors.out_axis if hardware.vectors_apart else geometry.out_axis
    return (products[0] if len(products) == 1 else torch.cat(products, axis)).to(x.dtype)


def column_outputs(
    x: Tensor, operand: Operand, hardware: Hardware, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Return what the converters of every physical column say, and where they are inside.

    Both are (vectors, row-slices, columns): the partial products in the model's units, and whether
    no conversion was at the ADC's bound. Repeated reads and half the input undo a saturation.

    Args:
        x: inputs, as the layer gets them.
        operand: the weights and the state of the converters, without a digital unit.
        hardware: the effects.
        geometry: how the product lies on the arrays.
    """
    slices, found = len(operand.significance), []
    for given, setting in _pieces(x, operand, hardware, geometry, None):
        hits: list[Tensor] = []
        y = _outputs(given, replace(setting, hits=hits))
        own = setting.geometry
        inside = torch.ones_like(y, dtype=torch.bool)
        if hardware.adc.overflow == "saturate":
            for hit in hits:
                inside &= ~hit
        found.append([own.by_column(t).unflatten(-1, (slices, -1)) for t in (y, inside)])
    y, inside = (torch.cat(parts, -1).flatten(-2) for parts in zip(*found, strict=True))
    return y, inside


def read_peaks(
    x: Tensor, weight: Tensor, input_range: Tensor | None, hardware: Hardware, geometry: Geometry
) -> Tensor:
    """Return the largest |signal| of every column over the reads of an input, (R, columns).

    In units of weight x full scale; drivers and arrays are without errors. A read of some bits, or
    of one polarity, may have a larger signal than the product that they add up to.

    Args:
        x: inputs, as the layer gets them.
        weight: (columns, rows).
        input_range: r of each row-slice (R,), or None where the rule is not a stored one.
        hardware: its DAC.
        geometry: how the product lies on the arrays.
    """
    full = float(hardware.dac.half_steps or 1)
    operand = Operand(weight, torch.ones((), device=x.device), input_range=input_range)
    setting = Setting(operand, hardware, geometry, full)
    codes = _codes(_relative(x, operand, hardware, geometry), setting)
    reads = hardware.dac.scheme.phases(codes, full, lambda drive: drive)
    peaks = [geometry.column_peaks(geometry.product(read.drive, weight)) for read in reads]
    return torch.stack(peaks).amax(0) / full


def _pieces(
    x: Tensor,
    operand: Operand,
    hardware: Hardware,
    geometry: Geometry,
    hits: list[Tensor] | None,
) -> Iterator[tuple[_Input, Setting]]:
    """Yield the arrays that share their drivers, each with what drives them."""
    if hardware.vectors_apart:
        geometry = geometry.vectors
    full = float(hardware.dac.half_steps or 1)
    given = _relative(x, operand, hardware, geometry)
    if not hardware.arrays_apart or len(geometry.partition.columns) == 1:
        yield given, Setting(operand, hardware, geometry, full, hits)
        return
    for piece in geometry.column_slices():
        part = operand.outputs(piece.outputs)
        setting = Setting(part, hardware, piece.geometry, full, hits)
        vectors = None if given.on_vectors is None else piece.inputs(given.on_vectors)
        own = given._replace(v=piece.inputs(given.v), on_vectors=vectors)
        if given.laid is not None:
            own = own._replace(laid=partial(_part, given.laid, piece))
        yield own, setting


def _part(laid: Callable[[], Tensor], piece: ColumnSlice) -> Tensor:
    return piece.inputs(laid())


def _outputs(given: _Input, setting: Setting) -> Tensor:
    """The outputs per physical column, saturated ones read again where they are to be."""
    retry = setting.hardware.adc.overflow == "retry"
    return _with_retries(given, setting) if retry else _read(given, setting)[0]


def _product(given: _Input, x: Tensor, setting: Setting) -> Tensor:
    """The output of arrays that share their drivers, for an input x laid on the rows."""
    y = _outputs(given, setting)
    if setting.operand.unit is not None:
        return digital_output(y, x, given.on_columns, given.on_vectors, setting)
    return setting.geometry.combine(y, x)


def _relative(x: Tensor, operand: Operand, hardware: Hardware, geometry: Geometry) -> _Input:
    """Lay an input on the rows, find the range r, and divide by it.

    Division makes x = r exactly 1, inside the limits.
    """
    rule, dac, stored = hardware.dac.range, hardware.dac, operand.input_range
    steps = None if dac.half_steps is None or dac.bits == 1 else float(dac.half_steps)
    if rule is not None and rule.dynamic and steps is not None and dac.rounding == "nearest":
        return _with_levels(x, steps, geometry)
    v = geometry.split(x)
    if rule is None:
        return _Input(v, 1.0, None)
    if rule.dynamic:
        largest = largest_input(v)
        return _Input(v / largest, 1.0, largest)
    # Nobody needs the input as it was before its levels.
    whole = not hardware.arrays_apart and dac.bits != 1
    if isinstance(rule, Fixed):
        r, on_columns = v.new_full((), rule.value), rule.value
    elif stored is None:
        raise LifecycleError(f"the input range is {rule.kind}: calibrate it before a product.")  # pyright: ignore
    else:
        r, on_columns = geometry.on_rows(stored.detach().to(v.dtype)), stored.detach()[:, None]
    if isinstance(rule, Learned):
        return _Input(
            _learned(v, operand, geometry, steps if whole else None), on_columns, None, whole
        )
    if whole and differentiable(v):
        return _Input(drive(v, r, steps), on_columns, None, whole)
    # A stored range is a digital limit: halving the drive does not let more of the input through.
    stays = rule.stored and hardware.adc.overflow == "retry"
    return _Input((v / r).clamp(-1.0, 1.0) if stays else v / r, on_columns, None)


def _with_levels(x: Tensor, steps: float, geometry: Geometry) -> _Input:
    """Divide each vector by its largest, and round."""
    rows = geometry.unbuilt_vectors(x) if geometry.parts == 1 else None
    if rows is None:
        v = geometry.split(x)
        codes, largest = largest_drive(v, steps)
        return _Input(codes, 1.0, largest, coded=True, laid=lambda: v)
    codes, largest = (t[:, None, None] for t in rows.driven_by_largest(steps))
    return _Input(codes, 1.0, largest, coded=True, laid=lambda: geometry.split(x))


def _learned(v: Tensor, operand: Operand, geometry: Geometry, steps: float | None) -> Tensor:
    """Limit inputs to learned ranges, whose gradient has a rule of its own."""
    stored, clipped = operand.input_range, operand.clipped
    assert stored is not None
    r, share = (geometry.on_slices(t) for t in (stored.to(v.dtype), geometry.occupied(v)))
    if clipped is not None:
        clipped = clipped.to(v.dtype).reshape(2, *r.shape)
    return drive(geometry.sliced(v), r, steps, share, clipped).reshape(v.shape)


def _codes(given: _Input, setting: Setting) -> Tensor:
    """The DAC: drives in units of one step, or of full scale without levels."""
    dac, v = setting.hardware.dac, given.v
    if dac.range is None or given.coded:
        return v
    if dac.half_steps is None:
        return v.clamp(-1.0, 1.0)
    if dac.bits == 1:
        return sign_codes(v)
    shared = setting.hardware.arrays_apart  # other reads need v as it is
    v = v * setting.full if shared else times(v, setting.full)
    return to_codes(v, setting.full, stochastic=dac.rounding == "stochastic")


def _read(given: _Input, setting: Setting) -> tuple[Tensor, Tensor | None]:
    """One read of split inputs: outputs per physical column, and which arrays hit the ADC's bound.

    For a digital unit of its own arithmetic, the outputs are the converters' as they are.
    """
    scheme, hits = setting.hardware.dac.scheme, None
    retry, apart = setting.hardware.adc.overflow == "retry", setting.operand.unit is not None
    factor = None if apart else digital_factor(given.on_columns, setting)
    merged = None if retry or scheme.digital_sum or setting.hits is not None else factor
    total: Tensor | None = None
    whole: Signal | None = None

    def drivers(drive: Tensor) -> Tensor:
        return driven(drive, setting)

    phases = scheme.phases(_codes(given, setting), setting.full, drivers)
    if apart and scheme.digital_sum:  # codes are shifted; the rest of the factor is a scale
        pairs = zip(phases, shifts(setting)[1], strict=True)
        phases = [phase._replace(factor=float(shift)) for phase, shift in pairs]
    for phase in phases:
        signal = column_signal(phase, setting)
        if not scheme.digital_sum:
            whole = _scaled(signal, phase, whole)
            continue
        y = converted(signal, setting)
        if retry:
            hit = any_saturated(y, setting)
            hits = hit if hits is None else hits | hit
        y = y if phase.factor == 1 else times(y, phase.factor)
        total = y if total is None else plus(total, y)
    if whole is not None:
        total = converted(whole, setting, merged)
        hits = any_saturated(total, setting) if retry else None
    if total is None:
        raise TypeError(f"the scheme {scheme!r} has no phase")
    if merged is None and factor is not None:
        total = times(total, setting.on_columns(factor, total))
    if apart:
        return total, hits
    if learns_gain(setting):
        total = times(total, setting.on_columns(gain_on_columns(setting), total))
    vectors = given.on_vectors
    return (total if vectors is None else total * vectors.to(total.dtype)), hits


def _scaled(signal: Signal, phase: Phase, whole: Signal | None) -> Signal:
    """Add the signal of a phase to that of the phases before it; variances add up."""
    y, variance, factor = signal.y, signal.variance, phase.factor
    if factor != 1:
        y = times(y, factor)
        squared = factor**2 if phase.variance is None else phase.variance
        variance = None if variance is None else times(variance, squared)
    if whole is None:
        return signal._replace(y=y, variance=variance)
    if variance is not None and whole.variance is not None:
        variance = plus(whole.variance, variance)
    return whole._replace(y=plus(whole.y, y), variance=variance)


def _with_retries(given: _Input, setting: Setting) -> Tensor:
    """Read again, each time with half the drive, the arrays and vectors that hit the bound.

    Nothing else changes. Ends when nothing saturates, or when one step of the DAC is more than a
    quarter of the largest drive, or after ten rounds (Gokmen et al., Front. Neurosci. 11:538, 2017,
    bound management; limits as in IBM's aihwkit).
    """
    axis = setting.geometry.vector_axis
    y, hit = _read(given, setting)
    assert hit is not None
    limit = min(1000.0, 0.25 * setting.full) if setting.hardware.dac.half_steps else 1000.0
    factor, again = 1.0, _vectors_with(hit, axis)
    hit = hit.index_select(axis, again)
    while again.numel() and factor <= limit:
        factor *= 2
        read, saturates = _read(_halved(given, factor, axis, again), setting)
        kept = y.index_select(axis, again)
        y = y.index_copy(axis, again, torch.where(hit, factor * read, kept))
        assert saturates is not None
        hit = hit & saturates
        left = _vectors_with(hit, axis)
        again, hit = again[left], hit.index_select(axis, left)
    return y


def _halved(given: _Input, factor: float, axis: int, which: Tensor) -> _Input:
    """Return some vectors of an input, each drive divided by a power of 2."""
    v, vectors = (given.v if given.laid is None else given.laid()), given.on_vectors
    v, vectors = (None if t is None else t.index_select(axis, which) for t in (v, vectors))
    assert v is not None
    if given.laid is not None:
        assert vectors is not None
        v = v / vectors
    return _Input(v / factor, given.on_columns, vectors)


def _vectors_with(hit: Tensor, axis: int) -> Tensor:
    return hit.movedim(axis, 0).flatten(1).any(1).nonzero().flatten()
