"""Counters of an oscillator that the signal controls."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ._converter import Converter, OwnNumbers


class OscillatorCounter(Converter):
    """A current- or voltage-controlled oscillator whose whole cycles are counted for a fixed time.

        code = sign(z) floor(|z| + phase + jitter sqrt(|z|) xi)      (two counters)
        code = floor(z + ...)                                        (offset)

    A cycle that has not ended is lost: floor in place of rounding, half a step too little in the
    mean. An oscillator that is not reset has any phase in [0, 1) at the start, drawn for each
    conversion, which makes the mean count the signal itself. Independent deviations of the periods
    add up, so that the std of a count grows with its square root. Gain and curve of oscillators
    are `adc.gain_spread` and `adc.transfer`.
    """

    kind: Literal["counter"] = "counter"
    phase: Literal["reset", "free"] = Field(
        default="reset", description="Whether each conversion begins at the start of a cycle."
    )
    polarity: Literal["two_counters", "offset"] = Field(
        default="two_counters",
        description="One counter for each sign, or one that counts up from the lowest code.",
    )
    jitter: float = Field(default=0.0, ge=0, description="Std of a period, relative to its mean.")

    def nominal(self, half: int) -> Tensor:
        """A counter keeps no numbers."""
        return torch.empty(0)

    def search(self, z: Tensor, half: int, own: OwnNumbers) -> Tensor:
        """See `Converter.search`."""
        offset = self.polarity == "offset"
        cycles = (z + half).clamp(min=0) if offset else z.abs()
        count = cycles
        if self.jitter:
            count = count + self.jitter * cycles.sqrt() * torch.randn_like(cycles)
        if self.phase == "free":
            count = count + torch.rand_like(cycles)
        count = count.floor().clamp(min=0)
        return count - half if offset else torch.sign(z) * count
