"""What an analog-to-digital converter costs, by a regression over published ones."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..errors import RangeError

LEAST_BITS = 4
"""The regression's own evaluations begin here (CiMLoop, ISPASS 2024)."""


@cache
def _coefficients() -> dict[str, Any]:
    return yaml.safe_load((Path(__file__).parent / "adc_survey.yaml").read_text(encoding="utf8"))


def conversion_energy(bits: int, node: float, rate: float) -> float:
    """Return the energy [J] of one conversion on the survey's efficiency frontier.

    With the Schreier figure of merit F(b, f), S = 6.02 b + 1.76 dB and node L,

        E = 1/2 10^((S - F) / 10) exp(c0 + c1 ln(L / nm) + c2 ln b + c3) pJ

    Source: see `adc_survey.yaml`. Valid from 4 bits on: below, the fit would rise again.

    Args:
        bits: resolution b.
        node: technology node L [m].
        rate: conversions per second f.

    Raises:
        RangeError: fewer bits than the regression is valid for.
    """
    _check(bits, "core.converters.energy with core.converters.bits of that resolution")
    figure, energy = _coefficients()["figure_of_merit"], _coefficients()["energy"]
    merit = min(
        figure["fast"] - figure["slope"] * math.log(rate),
        figure["base"] + figure["per_bit"] * math.ceil(bits),
    )
    exponent = energy["offset"] + energy["rest"]
    exponent += energy["node"] * math.log(node * 1e9) + energy["bits"] * math.log(bits)
    return 0.5 * 10 ** ((6.02 * bits + 1.76 - merit) / 10) * math.exp(exponent) * 1e-12


def converter_area(bits: int, node: float, rate: float) -> float:
    """Return the area [m^2] of one converter of the survey.

    A = exp(c0 + c1 ln(L / nm) + c2 ln f + c3 ln(E / pJ)) um^2.

    Raises:
        RangeError: fewer bits than the regression is valid for.
    """
    _check(bits, "core.converters.area or core.area")
    area = _coefficients()["area"]
    exponent = area["offset"] + area["node"] * math.log(node * 1e9) + area["rate"] * math.log(rate)
    exponent += area["energy"] * math.log(conversion_energy(bits, node, rate) * 1e12)
    return math.exp(exponent) * 1e-12


def _check(bits: int, instead: str) -> None:
    if bits < LEAST_BITS:
        raise RangeError(
            f"the ADC survey says nothing about {bits} bits, only about {LEAST_BITS} or more: give "
            f"{instead}."
        )
