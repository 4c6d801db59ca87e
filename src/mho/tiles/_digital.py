"""The digital unit of a layer: from the converters' outputs on every column to the layer's."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..circuits import Constants, Fixed, Float
from ..errors import RangeError
from ._geometry import Geometry
from ._hardware import Hardware
from ._operand import Operand, Setting
from ._read_out import digital_factor, gain_on_columns, learns_gain


class Watch(Protocol):
    """Looks at what a digital unit computes."""

    def __call__(self, y: Tensor, exact: Tensor, beyond: list[Tensor], setting: Setting) -> None:
        """Take in one product.

        Args:
            y: the unit's outputs.
            exact: what floating point makes of the same inputs and parameters.
            beyond: which outputs were above, and which below, what the unit can hold.
            setting: the product's setting, of those outputs that share their drivers.
        """


@dataclass(frozen=True)
class Unit:
    """What a layer's digital unit adds, and the step of its outputs.

    Attributes:
        name: of the layer, for errors.
        step: one output code in the model's units, where outputs are codes.
        offset: constant of each output, (out,): bias and corrections.
        watch: looks at what the unit computes, if given.
    """

    name: str
    step: Tensor | None
    offset: Tensor
    watch: Watch | None = None

    def outputs(self, which: slice) -> "Unit":
        """Return the unit of some of the outputs."""
        return replace(self, offset=self.offset[which])


@dataclass(frozen=True)
class _Layout:
    """The sums of one product; see `Sums`."""

    setting: Setting
    like: Tensor

    @property
    def geometry(self) -> Geometry:
        return self.setting.geometry

    @property
    def arrays(self) -> int:
        return self.geometry.parts * self.geometry.slices

    @property
    def largest(self) -> float:
        """ADC steps, times the shifts of an input's phases."""
        adc = self.setting.hardware.adc
        if adc.half_steps is None or adc.overflow != "saturate":
            return torch.inf
        return float(adc.half_steps * sum(abs(shift) for shift in shifts(self.setting)[1]))

    def on_columns(self, values: Tensor) -> Tensor:
        return self.geometry.on_columns(values)

    def on_outputs(self, values: Tensor) -> Tensor:
        return self.geometry.on_outputs(values)

    def total(self, y: Tensor) -> Tensor:
        return self.geometry.combine(y, self.like)


def shifts(setting: Setting) -> tuple[float, tuple[int, ...]]:
    """Return the factors of an input's phases as a common one, and whole numbers.

    Codes that are shifted and added stay whole; the common factor is a part of the scale.
    """
    scheme = setting.hardware.dac.scheme
    if not scheme.digital_sum:
        return 1.0, (1,)
    phases = scheme.phases(torch.zeros(1), setting.full, lambda drive: drive)
    common = min(abs(phase.factor) for phase in phases)
    return common, tuple(round(phase.factor / common) for phase in phases)


def digital_output(
    y: Tensor,
    like: Tensor,
    input_range: Tensor | float,
    on_vectors: Tensor | None,
    setting: Setting,
) -> Tensor:
    """Return a layer's output from the outputs of its converters.

    Args:
        y: a product in ADC steps (without levels, in the units of the input), used by nobody else.
        like: the layer's input.
        input_range: r as (R, 1) or a number.
        on_vectors: r where it differs from vector to vector; it multiplies y.
        setting: the product's setting.

    Raises:
        RangeError: the unit cannot hold a scale or an offset.
    """
    unit, spec = setting.operand.unit, setting.hardware.digital
    assert unit is not None
    scale, step = _scales(input_range, setting).to(y.dtype), unit.step
    step = None if step is None else step.to(y.dtype)
    y = y if on_vectors is None else y * on_vectors.to(y.dtype)
    sums = _Layout(setting, like)
    constants = _held(Constants(scale, unit.offset.to(y.dtype), step), sums)
    if unit.watch is None:
        return spec.affine(y, constants, sums)
    wide, beyond = y.detach().double(), []
    precise = Constants(constants.scale.double(), constants.offset.double(), step)
    exact = Float().affine(wide, precise, sums)
    out = spec.affine(y, constants, sums, beyond)
    unit.watch(out.detach(), exact.detach(), beyond, setting)
    return out


def column_scales(operand: Operand, hardware: Hardware, geometry: Geometry) -> Tensor:
    """Return what one ADC step of each column is in the model's units, (row-slices, columns).

    The input range must not differ from vector to vector.
    """
    rule, r = hardware.dac.range, 1.0
    if isinstance(rule, Fixed):
        r = rule.value
    elif operand.input_range is not None:
        r = operand.input_range.detach()[:, None]
    full = float(hardware.dac.half_steps or 1)
    return _scales(r, Setting(operand, hardware, geometry, full))


def _scales(input_range: Tensor | float, setting: Setting) -> Tensor:
    scale = digital_factor(input_range, setting)
    scale = torch.ones_like(setting.operand.scale) if scale is None else scale
    if learns_gain(setting):
        scale = scale * gain_on_columns(setting)
    return scale * shifts(setting)[0]


def _held(constants: Constants, sums: _Layout) -> Constants:
    """Refuse parameters that the unit cannot hold; where nothing can be raised, make them nan."""
    with torch.no_grad():
        fit = sums.setting.hardware.digital.fits(constants, sums.arrays)
    try:
        known = not torch.compiler.is_compiling() and all(bool(each.all()) for each in fit)
    except RuntimeError:  # under vmap, and with fake tensors, values are not known
        known = False
    else:
        if not known and not torch.compiler.is_compiling():
            raise RangeError(_misfit(constants, sums, fit))
    if known:
        return constants
    scale, offset = (
        torch.where(ok, v, torch.nan) for ok, v in zip(fit, constants[:2], strict=True)
    )
    return constants._replace(scale=scale, offset=offset)


def _misfit(constants: Constants, sums: _Layout, fit: tuple[Tensor, Tensor]) -> str:
    """Say how many parameters do not fit, and what they are."""
    unit = sums.setting.operand.unit
    problems = []
    for what, values, ok in zip(("scales", "offsets"), constants[:2], fit, strict=True):
        out = values.detach()[~ok]
        if out.numel():
            span = f"{float(out.min()):.4g} to {float(out.max()):.4g}"
            problems.append(f"{out.numel()} of {values.numel()} {what} ({span})")
    name = unit.name if unit else ""
    return (
        f"{name}: the digital unit cannot hold {' and '.join(problems)}; "
        f"{sums.setting.hardware.digital.holds(constants.step, sums.arrays)}."
    )
