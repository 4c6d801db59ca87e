"""The device whose step is a measured table over its state."""

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ..ops._words import lut, where
from ._pulsed_device import PulsedDevice


def piecewise_step(w, up, size, shape, low, high, table_up, table_down, noise_up, noise_down, last):
    """Step = size * table; spread = size * noise; nodes are equally spaced from low to high."""
    position = last * (w - low) / where(high > low, high - low, 1.0)
    step = size * where(up, lut(table_up, position), lut(table_down, position))
    return step, size * where(up, lut(noise_up, position), lut(noise_down, position))


class PiecewiseStep(PulsedDevice):
    """Steps by tables over the state: nodes equally spaced between a cell's own bounds.

        up: s+ up[k] at v = low + k (high - low) / (nodes - 1), joined by straight lines; down alike

    The noise of a pulse is cycle_noise times its step, or measured: noise_up and noise_down are
    standard deviations in units of the size s. Source: IBM's aihwkit, PiecewiseStepDevice (there
    without tables of noise).
    """

    kind: Literal["piecewise_step"] = "piecewise_step"
    up: tuple[float, ...] = Field(
        default=(1.0, 1.0), min_length=2, description="Step up at each node, in units of step."
    )
    down: tuple[float, ...] = Field(
        default=(1.0, 1.0), min_length=2, description="Step down at each node, in units of step."
    )
    noise_up: tuple[float, ...] | None = Field(
        default=None, description="Noise of a pulse up at each node, in units of step."
    )
    noise_down: tuple[float, ...] | None = Field(
        default=None, description="Noise of a pulse down at each node, in units of step."
    )

    formula: ClassVar[Any] = staticmethod(piecewise_step)

    @property
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """The tables of steps and of their noise, float32, and the index of the last node."""
        up, down = np.array(self.up, np.float32), np.array(self.down, np.float32)
        noises = ((self.noise_up, up), (self.noise_down, down))
        noise = (
            np.float32(self.cycle_noise) * steps if table is None else np.array(table, np.float32)
            for table, steps in noises
        )
        return (up, down, *noise, float(len(up) - 1))

    @model_validator(mode="after")
    def _tables_fit(self) -> "PiecewiseStep":
        tables = {name: getattr(self, name) for name in ("up", "down", "noise_up", "noise_down")}
        given = {name: table for name, table in tables.items() if table is not None}
        lengths = {name: len(table) for name, table in given.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"tables need one value per node each, got {lengths}")
        for name, table in given.items():
            if min(table) < 0:
                raise ValueError(f"{name} must not be negative, got {min(table):g}")
        if (self.noise_up is None) != (self.noise_down is None):
            raise ValueError("noise_up and noise_down go together")
        if self.noise_up is not None and self.cycle_noise:
            raise ValueError("noise_up and noise_down replace cycle_noise; give one of them")
        return self
