"""Hardware on which everything goes the way of the arrays, but no effect is strong enough to see.

In float64, with effects of 1e-15 of an input range of 64, a product with unit weights is off by
about 1e-13, by 1e-12 with converter levels. The tolerance, relative to the largest output, leaves
three decades for small outputs, sums over arrays and layers that amplify.
"""

import torch
from torch import nn

from mho.circuits import Learned
from mho.nn import sites
from mho.tiles import Hardware

TINY = 1e-15
STEPS = 2**46  # over the whole range: an error of at most 2^-46 = 1.4e-14 of full scale
TOLERANCE = 1e-9

ROWS, COLS = 7, 5  # small and odd, so that layers lie on several arrays with ragged edges
RANGE = {"kind": "fixed", "value": 64.0}  # inputs are standard normal: nothing is clipped
BOUND = 8.0  # a column has 7 rows with |w v| <= 1: nothing saturates


def hardware(array=None, dac=None, **parts):
    """A description with small arrays and a range that clips nothing."""
    array = {"rows": ROWS, "cols": COLS, **(array or {})}
    return Hardware(array=array, dac={"range": RANGE, **(dac or {})}, **parts)


NOISE = {"output": TINY}
LEVELS = {"bound": BOUND, "steps": 2 * STEPS}
SIGNS = {"kind": "positive_negative"}

VANISHING = {
    "range": hardware(),
    "greedy partition": hardware(array={"partition": "greedy"}),
    "one array": hardware(array={"rows": None, "cols": None}, noise=NOISE),
    "range per token": hardware(dac={"range": "per_token"}),
    "range calibrated": hardware(dac={"range": "calibrated"}),
    "range learned": hardware(dac={"range": "learned"}, noise=NOISE),
    "DAC levels": hardware(dac={"steps": STEPS}),
    "DAC levels, stochastic": hardware(dac={"steps": STEPS, "rounding": "stochastic"}),
    "DAC asymmetry": hardware(dac={"asymmetry": TINY}),
    "two polarities": hardware(dac={"scheme": SIGNS}),
    "two polarities, digital": hardware(dac={"scheme": {**SIGNS, "sum": "digital"}}, noise=NOISE),
    "bit-serial": hardware(dac={"steps": STEPS, "scheme": {"kind": "bit_serial", "slice_bits": 8}}),
    "bit-serial per token": hardware(
        dac={
            "steps": STEPS,
            "range": "per_token",
            "scheme": {"kind": "bit_serial", "slice_bits": 6},
        }
    ),
    "input noise": hardware(noise={"input": TINY}),
    "output noise": hardware(noise=NOISE),
    "output noise per token": hardware(dac={"range": "per_token"}, noise=NOISE),
    "read noise": hardware(noise={"read": {"kind": "additive", "sigma": TINY}}),
    "read noise of PCM": hardware(noise={"read": {"kind": "pcm_read", "sigma": TINY}}),
    "wires": hardware(array={"wires": {"kind": "first_order", "scale": TINY}}),
    "line resistance": hardware(
        array={"wires": {"kind": "resistive", "row": 1e-9, "column": 1e-9, "tolerance": 0.0}}
    ),
    "line resistance, both ends": hardware(
        array={"wires": {"kind": "resistive", "row": 1e-9, "column": 1e-9, "drivers": "both_ends"}}
    ),
    "curved cells": hardware(
        array={
            "wires": {
                "kind": "resistive",
                "row": 1e-9,
                "column": 1e-9,
                "cell_voltage": 1e6,
                "read_voltage": 1.0,
            }
        }
    ),
    "ADC bound": hardware(adc={"bound": BOUND}),
    "ADC bound calibrated": hardware(adc={"bound": "calibrated"}),
    "ADC levels": hardware(adc=LEVELS),
    "ADC levels, stochastic": hardware(adc={**LEVELS, "rounding": "stochastic"}),
    "ADC asymmetry": hardware(adc={"asymmetry": TINY}),
    # Without levels, a read repeated at half the drive is the same read.
    "ADC retries": hardware(adc={"bound": 0.02, "overflow": "retry"}),
    "ADC transfer": hardware(
        adc={"bound": BOUND, "transfer": {"kind": "compressive", "nonlinearity": TINY}}
    ),
    "ADC front end": hardware(adc={"front_end": {"series_resistance": TINY}}),
    "scaling by tile": hardware(mapping={"kind": "differential", "scaling": "tile"}, noise=NOISE),
    "scaling fixed": hardware(
        mapping={"kind": "differential", "scaling": "fixed", "w_max": 2.0}, noise=NOISE
    ),
}
"""Each effect alone."""

# The state of a chip instance is float32: a weight is kept to 2^-24 = 6e-8 of itself.
SLIGHT = 1e-10
SINGLE = 1e-5

PROGRAMMED = {
    "nothing else": Hardware(array={"rows": ROWS, "cols": COLS}),
    "DAC gain": hardware(dac={"gain_spread": SLIGHT}),
    "DAC offset": hardware(dac={"offset_spread": SLIGHT}),
    "line resistance": hardware(
        array={"wires": {"kind": "resistive", "row": 1e-3, "column": 1e-3, "tolerance": 0.0}}
    ),
    "polarity": hardware(array={"polarity_spread": SLIGHT}, dac={"scheme": SIGNS}),
    "output noise": hardware(noise={"output": SLIGHT, "output_spread": 0.1}),
    "ADC gain": hardware(adc={"gain_spread": SLIGHT}),
    "ADC offset": hardware(adc={"offset_spread": SLIGHT}),
    "ADC transfer": hardware(
        adc={
            "bound": BOUND,
            "transfer": {"kind": "compressive", "nonlinearity": SLIGHT, "nonlinearity_spread": 0.1},
        }
    ),
    "ADC front end": hardware(adc={"front_end": {"offset_spread": SLIGHT}}),
    "one device per weight": hardware(mapping="single"),
    "several pairs": hardware(mapping={"kind": "pairs", "factors": (3.0, 1.0)}),
    "a table": hardware(mapping="table"),
}
"""Each effect of a chip instance alone, on ideal cells."""


def set_limits(model):
    """Give calibrated and learned limits: a range of its own for every row-slice."""
    for site in sites(model):
        crossbar = site.crossbar
        parts, out = crossbar.geometry.parts, crossbar.geometry.out
        rule = crossbar.hardware.dac.range
        if rule is not None and rule.stored:
            ranges = torch.linspace(64.0, 96.0, parts)
            learned = isinstance(rule, Learned)
            crossbar.input_range = nn.Parameter(ranges) if learned else ranges
        if crossbar.hardware.adc.bound == "calibrated":
            crossbar.output_bound = torch.linspace(8.0, 9.0, parts * out).reshape(parts, out)
