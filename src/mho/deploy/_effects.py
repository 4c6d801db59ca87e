"""The effects of a hardware value, and the same hardware without one of them or with it only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..circuits import DAC, Float
from ..tiles import Hardware

CLIPPING, DAC_LEVELS, WEIGHT_LEVELS = "input clipping", "DAC levels", "weight levels"
ADC_LEVELS, DIGITAL = "ADC levels", "digital precision"


@dataclass(frozen=True)
class Effect:
    """One effect of the hardware.

    Attributes:
        name: in the field's words.
        off: the values without it, by part and field of `Hardware`. Empty for what happens before
            the arrays compute, which is told apart by what the arrays are asked for instead.
        remedy: what helps against it.
        of_chip: whether it belongs to a chip instance and is absent before `mho.program`.
    """

    name: str
    off: Mapping[str, Mapping[str, Any]]
    remedy: str
    of_chip: bool = False

    def without(self, hardware: Hardware) -> Hardware:
        """Return the hardware without this effect."""
        parts = {part: getattr(hardware, part).with_fields(**f) for part, f in self.off.items()}
        if self.name == DIGITAL or (self.name == ADC_LEVELS and hardware.digital.integers):
            parts["digital"] = Float()  # codes are what integers are computed from
        return hardware.with_fields(**parts)

    def is_on(self, hardware: Hardware) -> bool:
        """Whether the hardware has this effect."""
        if self.name in _CONDITIONS:
            return _CONDITIONS[self.name](hardware)
        fields = ((getattr(hardware, part), f) for part, f in self.off.items())
        return any(getattr(spec, name) != value for spec, f in fields for name, value in f.items())


_CONDITIONS = {
    WEIGHT_LEVELS: lambda h: not h.mapping.exact,
    CLIPPING: lambda h: h.dac.range is not None and not h.dac.range.dynamic,
    DAC_LEVELS: lambda h: h.dac.half_steps is not None,
    DIGITAL: lambda h: not h.digital.native,
    "ADC saturation": lambda h: h.adc.bound is not None and h.adc.overflow != "extend",
}

_BITS = {"bits": None, "steps": None}
_NOISE = {"output": 0.0, "output_spread": 0.0}
_TRAIN = "train with noise on the weights"
_GAINS = "call mho.compensate after mho.at, and against what that leaves " + _TRAIN
_CELLS = "program more precisely or with more devices per weight, or " + _TRAIN

EFFECTS = (
    Effect(WEIGHT_LEVELS, {}, "more bits in the mapping"),
    Effect("programming error", {"cell": {"programming": None}}, _CELLS, of_chip=True),
    Effect("drift", {"cell": {"drift": None}}, _GAINS, of_chip=True),
    Effect("1/f noise", {"cell": {"read": None}}, _TRAIN, of_chip=True),
    Effect("cell variability", {"cell": {"variability": None}}, _TRAIN, of_chip=True),
    Effect("stuck cells", {"cell": {"faults": None}}, "drop connections in training", of_chip=True),
    Effect(CLIPPING, {}, "calibrate a wider input range"),
    Effect(DAC_LEVELS, {}, "more bits in the DAC, or a narrower input range"),
    Effect("DAC gain spread", {"dac": {"gain_spread": 0.0}}, "trim the row drivers", of_chip=True),
    Effect(
        "DAC offset spread", {"dac": {"offset_spread": 0.0}}, "trim the row drivers", of_chip=True
    ),
    Effect("DAC asymmetry", {"dac": {"asymmetry": 0.0}}, "trim the row drivers"),
    Effect("input noise", {"noise": {"input": 0.0}}, "quieter row drivers"),
    Effect("wire resistance", {"array": {"wires": None}}, "fewer rows in use, or wider wires"),
    Effect(
        "polarity spread", {"array": {"polarity_spread": 0.0}}, "read one polarity", of_chip=True
    ),
    Effect("front end", {"adc": {"front_end": None}}, "trim the read-out of the columns"),
    Effect("read noise", {"noise": {"read": None}}, "average over reads, or longer reads"),
    Effect("output noise", {"noise": _NOISE}, "larger signals: column scaling, more rows in use"),
    Effect("ADC asymmetry", {"adc": {"asymmetry": 0.0}}, "trim the ADCs"),
    Effect("ADC transfer curve", {"adc": {"transfer": None}}, "straighten the curve digitally"),
    Effect("ADC gain spread", {"adc": {"gain_spread": 0.0}}, "trim the ADCs", of_chip=True),
    Effect("ADC offset spread", {"adc": {"offset_spread": 0.0}}, "trim the ADCs", of_chip=True),
    Effect("ADC saturation", {"adc": {"overflow": "extend"}}, "a larger bound of the ADC"),
    # An architecture's errors are those of its levels, without which it has no meaning.
    Effect(
        ADC_LEVELS,
        {"adc": {**_BITS, "converter": None}},
        "more bits in the ADC, a smaller bound, or training with its converters",
    ),
    Effect(DIGITAL, {}, "more bits in the digital unit, or `digital: float`"),
)  # in the order of the signal


def effects(hardware: Hardware, *, programmed: bool = True) -> dict[str, Effect]:
    """Return the effects that hardware has, by name, in the order of the signal.

    Args:
        hardware: the value.
        programmed: whether those of a chip instance count.
    """
    on = (e for e in EFFECTS if e.is_on(hardware) and (programmed or not e.of_chip))
    return {effect.name: effect for effect in on}


def only(hardware: Hardware, name: str | None = None) -> Hardware:
    """Return the hardware with the named effect only, or with none.

    Input range, DAC levels and the encoding of weights stay: the units of noise and the phases of
    an input depend on them; and so do the ADC levels for the effect of a digital unit in integers.
    """
    kept = {name, ADC_LEVELS} if name == DIGITAL and hardware.digital.integers else {name}
    for effect in effects(hardware).values():
        if effect.name not in kept:
            hardware = effect.without(hardware)
    return hardware


def driven_inputs(
    hardware: Hardware, *, levels: bool, rounding: Literal["nearest", "stochastic"] = "nearest"
) -> Hardware:
    """Return ideal arrays behind this hardware's input ranges, and its DAC levels if asked for."""
    dac = hardware.dac
    if dac.range is None or not levels:
        return Hardware(dac=DAC(range=dac.range))
    return Hardware(dac=DAC(range=dac.range, bits=dac.bits, steps=dac.steps, rounding=rounding))
