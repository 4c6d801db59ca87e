"""The strength of each effect: which fields of the hardware to scale, and how far they go."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..deploy import CLIPPING, DAC_LEVELS, EFFECTS, WEIGHT_LEVELS, only
from ..spec import override
from ..tiles import Hardware

_INSIDE = 1 - 1e-6


@dataclass(frozen=True)
class Strength:
    """How an effect becomes m times as strong.

    Attributes:
        fields: dotted fields, of which a hardware may lack some.
        law: the fields are multiplied by m; or, for the `levels` of a converter, its steps become m
            times as wide, in whole numbers of steps on each side of zero; or its `bound` is divided
            by m, with steps as wide as before.
        most: what the fields together may not exceed.
    """

    fields: tuple[str, ...]
    law: Literal["times", "levels", "bound"] = "times"
    most: float = math.inf

    def present(self, hardware: Hardware) -> dict[str, float]:
        """Return the fields that this hardware has, with numbers other than 0."""
        values = {path: _value(hardware, path) for path in self.fields}
        return {path: float(v) for path, v in values.items() if isinstance(v, int | float) and v}

    def limit(self, hardware: Hardware) -> float:
        """Return the largest m that has a meaning."""
        if self.law == "levels":
            return max(self.present(hardware).values())
        if self.law == "bound":
            return float(hardware.adc.half_steps or math.inf)
        return self.most / sum(self.present(hardware).values())

    def settings(self, hardware: Hardware, m: float) -> dict[str, Any]:
        """Return the fields with which the effect is m times as strong."""
        now = self.present(hardware)
        if self.law == "times":
            return {path: value * m for path, value in now.items()}
        if self.law == "levels":
            (path,) = now
            return _levels(path.removesuffix(".half_steps"), now[path] / m)
        half = hardware.adc.half_steps
        levels = {} if half is None else _levels("adc", half / m)
        return {path: value / m for path, value in now.items()} | levels

    def scaled(self, hardware: Hardware, m: float) -> Hardware:
        """Return the hardware with the effect m times as strong."""
        return hardware if m == 1 else override(hardware, self.settings(hardware, m))


def _levels(part: str, half_steps: float) -> dict[str, Any]:
    return {f"{part}.bits": None, f"{part}.steps": 2 * max(1, round(half_steps))}


def _value(hardware: Hardware, path: str) -> Any:
    value: Any = hardware
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


STRENGTHS: Mapping[str, Strength] = {
    "programming error": Strength(("cell.programming.scale",)),
    "drift": Strength(("cell.drift.scale",)),
    "1/f noise": Strength(("cell.read.scale", "cell.read.amplitude")),
    "cell variability": Strength(("cell.variability.gain",)),
    "stuck cells": Strength(
        ("cell.faults.at_zero", "cell.faults.at_max", "cell.faults.random"), most=1.0
    ),
    DAC_LEVELS: Strength(("dac.half_steps",), "levels"),
    "DAC gain spread": Strength(("dac.gain_spread",)),
    "DAC offset spread": Strength(("dac.offset_spread",)),
    "DAC asymmetry": Strength(("dac.asymmetry",), most=_INSIDE),
    "input noise": Strength(("noise.input",)),
    "wire resistance": Strength(("array.wires.scale",)),
    "polarity spread": Strength(("array.polarity_spread",)),
    "front end": Strength(("adc.front_end.offset_spread", "adc.front_end.series_resistance")),
    "read noise": Strength(("noise.read.sigma",)),
    "output noise": Strength(("noise.output",)),
    "ADC asymmetry": Strength(("adc.asymmetry",), most=_INSIDE),
    "ADC transfer curve": Strength(("adc.transfer.nonlinearity",)),
    "ADC gain spread": Strength(("adc.gain_spread",)),
    "ADC offset spread": Strength(("adc.offset_spread",)),
    "ADC saturation": Strength(("adc.bound",), "bound"),
    "ADC levels": Strength(("adc.half_steps",), "levels"),
}

NO_STRENGTH: Mapping[str, str] = {
    WEIGHT_LEVELS: "weights have whole bits, which set how many arrays there are",
    "digital precision": "formats have whole bits: give the unit others",
    CLIPPING: "input ranges come from data: calibrate narrower or wider ones",
}


def strength(hardware: Hardware, name: str) -> Strength | str:
    """Return the strength of an effect that hardware has, or why it has none to scale."""
    if name in NO_STRENGTH:
        return NO_STRENGTH[name]
    if name == DAC_LEVELS and hardware.dac.bits == 1:
        return "one bit is how the rule of these arrays takes its inputs"
    found = STRENGTHS[name]
    if found.fields[0] in ("adc.bound", "adc.half_steps") and hardware.adc.converter is not None:
        return "the converter's errors are in steps, and its architecture sets how many there are"
    if not found.present(hardware):
        return "this kind of it has no number to scale: " + ", ".join(found.fields)
    return found


def alone(hardware: Hardware, name: str) -> Hardware:
    """Return the hardware with the named effect only; ranges and the encoding of weights stay.

    Unlike in `only`, the levels of the DAC go too, but where the phases of an input are its bits,
    and where an input has one.
    """
    found = only(hardware, name)
    stay = found.dac.bits == 1 or found.dac.scheme.kind == "bit_serial"  # pyright: ignore[reportAttributeAccessIssue]
    if stay or name == DAC_LEVELS:
        return found
    return found.with_fields(dac=found.dac.with_fields(bits=None, steps=None))


def in_words(settings: Mapping[str, Any]) -> str:
    """Return settings as text, such as `noise.output = 0.12`."""
    shown = {path: value for path, value in settings.items() if value is not None}
    return ", ".join(f"{path} = {value:.4g}" for path, value in shown.items())


ORDER = tuple(effect.name for effect in EFFECTS)
"""Names of all effects, in the order of the signal."""
