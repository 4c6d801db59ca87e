"""The device of few visible levels, between which pulses make hidden progress."""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ..ops._words import floor, minimum, where
from ._pulsed_device import PulsedDevice, mean_steps


def hidden_step(w, up, size, shape, low, high, cycle, last, span):
    """Step = size * (own range) / (mean range); spread = cycle * step."""
    step = size * (high - low) / span
    return step, cycle * step


def to_level(w, low, high, cycle, last, span):
    """Return the level that is visible: the nearest one."""
    spacing = where(high > low, high - low, 1.0) / last
    return minimum(low + spacing * floor((w - low) / spacing + 0.5), high)


def next_level(before, after, low, high, cycle, last, span):
    """Return where a cell comes to rest: at another level once it is halfway there.

    Sums of equal steps that are halfway but for their rounding count as there (1e-4 of a spacing).
    """
    spacing = where(high > low, high - low, 1.0) / last
    level, at = floor((before - low) / spacing + 0.5), (after - low) / spacing
    above, below = floor(at + 0.5001), -floor(0.5001 - at)
    new = where(above > level, above, where(below < level, below, level))
    return where(new == level, after, minimum(low + spacing * new, high))


class HiddenStep(PulsedDevice):
    """Few visible levels; pulses make hidden progress, and a cell switches when there is enough.

        h <- h +- s (1 + cycle_noise xi);  where |h| >= 1: one level further, and h = 0

    The weight is one of `levels` values, equally spaced between a cell's own bounds; two of them
    are a binary device. The state is v = level + h (spacing / 2): the level is the one next to v,
    and the hidden progress h, between -1 and 1, is how far v is off it. A switch needs

        n = (high - low) / ((levels - 1) step)

    pulses of the mean cell, so that `step` is the movement of the weight per pulse, on average over
    many switches, however many pulses cancel each other before one (Wald's identity), but for what
    a pulse goes beyond the switch, which is lost. Spreads of
    the step, its asymmetry and the noise of a pulse are those of the hidden progress; levels spread
    with the bounds. Write noise is drawn at switches. Written and reset cells are at the level next
    to the weight asked for, without progress; exact changes, decay and diffusion move v.

    The order of pulses matters, so all fidelities take them one by one: `pulse` in the order of
    samples, `batch` and `moments` in random order, which is the same thing as long as a sample has
    seldom more than one pulse on a cell. Source: IBM's aihwkit, HiddenStep (n is its
    hs_hidden_states), where the progress also goes on beyond the outermost level, and where the
    weight keeps no levels if its steps up and down differ. The idea: S. Fusi, P. Drew, L. Abbott,
    Neuron 45:599, 2005 (synapses of few visible and many hidden states).
    """

    kind: Literal["hidden_step"] = "hidden_step"
    step: float = Field(
        default=1.0, gt=0,
        description="Mean movement of the weight per pulse, over many switches, in units of "
        "weight; at most the spacing of levels.",
    )  # fmt: skip
    levels: int = Field(default=2, ge=2, le=4096, description="Number of visible levels.")

    formula: ClassVar[Any] = staticmethod(hidden_step)
    visible: ClassVar[Any] = staticmethod(to_level)
    landing: ClassVar[Any] = staticmethod(next_level)

    @model_validator(mode="after")
    def _switches_take_pulses(self) -> "HiddenStep":
        spacing = (self.high - self.low) / (self.levels - 1)
        if self.step > spacing * (1 + 1e-6):
            raise ValueError(
                f"step={self.step:g} exceeds the spacing {spacing:g} of {self.levels} levels from "
                f"{self.low:g} to {self.high:g}: a pulse moves a cell by one level at most; lower "
                "step, or take fewer levels"
            )
        return self

    @property
    def mean_sizes(self) -> tuple[float, float]:
        """Half of the step, which a switch doubles."""
        return self.step / 2, self.step / 2

    @property
    def write_std(self) -> float:
        """See `PulsedDevice.write_std`."""
        return self.write_noise * self.step

    @property
    def granularity(self) -> float:
        """Mean movement of the weight per pulse, over both directions, of the mean cell."""
        return sum(mean_steps(self))  # pyright: ignore[reportArgumentType]

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The noise of a pulse, the number of the last level, and the mean range."""
        return (self.cycle_noise, float(self.levels - 1), self.high - self.low)
