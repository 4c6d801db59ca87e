"""How strong the disturbances of a training are at each optimizer step."""

from abc import abstractmethod
from typing import Literal

from pydantic import Field

from ..spec import Variant


class Schedule(Variant):
    """A factor on the strength of noise over the optimizer's steps."""

    @abstractmethod
    def strength(self, step: int) -> float:
        """Return the factor while the optimizer is about to make step `step`, counted from 0."""


class Constant(Schedule):
    """Full strength from the first step on."""

    kind: Literal["constant"] = "constant"

    def strength(self, step: int) -> float:
        """Return 1."""
        return 1.0


class Ramp(Schedule):
    """From `start` to full strength, linearly over `steps`, then constant.

    strength = start + (1 - start) min(step / steps, 1)
    """

    kind: Literal["ramp"] = "ramp"
    steps: int = Field(ge=1, strict=True, description="Optimizer steps until full strength.")
    start: float = Field(default=0.0, ge=0, le=1, description="Strength of the first step.")

    def strength(self, step: int) -> float:
        """Return the factor."""
        return self.start + (1 - self.start) * min(step / self.steps, 1.0)
