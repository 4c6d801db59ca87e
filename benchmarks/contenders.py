"""What is timed: a name, and how to make the module to time from a digital model and a batch."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Build = Callable[[nn.Module, Tensor], nn.Module]

# One set of effects for everybody: 8-bit converters, inputs clipped to [-1, 1], an ADC that
# saturates at 10 times the input range times the largest weight of a column, 512 x 512 arrays.
ARRAY = 512
ADC_BOUND = 10.0
OUTPUT_NOISE = 0.04
DAC = {"bits": 8, "range": {"kind": "fixed", "value": 1.0}}
ADC = {"bits": 8, "bound": ADC_BOUND}


@dataclass(frozen=True)
class Contender:
    """A way to run a digital model; `build` may change the model that it is given."""

    name: str
    build: Build

    def ready(self, model: nn.Module, batch: Tensor) -> nn.Module:
        """Build from a copy of `model`, which stays digital."""
        return self.build(copy.deepcopy(model), batch)


PLAIN = Contender("plain torch", lambda model, batch: model)


def with_effects(name: str, side: int | None = ARRAY, **effects: Any) -> Contender:
    """Return mho with the given fields of a Hardware on arrays of `side` rows and columns."""

    def build(model: nn.Module, batch: Tensor) -> nn.Module:
        import mho

        mho.convert(model, mho.Hardware(array={"rows": side, "cols": side}, **effects))
        return model

    return Contender(f"mho, {name}", build)


def preset(name: str) -> Contender:
    """Return mho with a preset, its input ranges calibrated on the batch."""

    def build(model: nn.Module, batch: Tensor) -> nn.Module:
        import mho

        mho.convert(model, mho.load(name))
        mho.calibrate(model, [batch])
        return model

    return Contender(f"mho, {name}", build)


ARRAYS_ONLY = with_effects("all effects off")
DAC_ONLY = with_effects("8-bit DAC", dac=DAC)
ADC_ONLY = with_effects("8-bit ADC", dac={"range": DAC["range"]}, adc=ADC)
QUANTIZED = with_effects("DAC, ADC", dac=DAC, adc=ADC)
ALL = {"dac": DAC, "adc": ADC, "noise": {"output": OUTPUT_NOISE}}
NOISY = with_effects("DAC, ADC, output noise", **ALL)
ONE_ARRAY = with_effects("the same on one array", side=None, **ALL)
STANDARD = preset("standard-hwa-2023")
