"""The magnetic tunnel junction: a binary cell of two resistances."""

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..ops import Stream
from ._cell import Cell, CellState
from ._faults import Sites


class MagneticJunction(Cell):
    """A junction that is parallel, R_P = 1 / g_max, or antiparallel, R_AP = 1 / g_min.

    The tunnel magnetoresistance is TMR = (R_AP - R_P) / R_P = g_max / g_min - 1. Resistances spread
    from junction to junction, R = R_state (1 + spread xi) with one xi for life, as the thickness of
    the barrier does for both states; a write fails with the probability `write_error` and leaves
    the other state. Magnetic states neither drift nor fluctuate over times of interest.

    Source: S. Jung et al., Nature 601:211-216 (2022), doi:10.1038/s41586-021-04196-6 (the cell);
    the spread as a relative one of both states is a model, to be given with one's own numbers.
    It ends where a resistance would be less than 1 % of the nominal one.
    """

    mappings: ClassVar[tuple[str, ...] | None] = ("binary", "ternary")

    kind: Literal["magnetic_junction"] = "magnetic_junction"
    resistance_spread: float = Field(
        default=0.0, ge=0, le=0.25, description="Relative spread of the resistances."
    )
    write_error: float = Field(
        default=0.0, ge=0, le=0.5, description="Probability that a write leaves the other state."
    )

    @model_validator(mode="after")
    def _binary(self) -> "MagneticJunction":
        if self.g_min <= 0:
            raise ValueError("an antiparallel junction conducts too: give g_min, such as `20 uS`")
        for law in ("programming", "drift", "read", "device"):
            if getattr(self, law) is not None:
                raise ValueError(f"a junction has two states that last: leave out {law}")
        if self.signed:
            raise ValueError("a junction has no sign: leave out signed")
        return self

    def program(self, target: Tensor, stream: Stream) -> CellState:
        """Write the nearer state of each junction; see `Cell.program`."""
        parallel = super().program(target, stream).programmed > (self.g_min + self.g_max) / 2
        if self.write_error:
            failed = stream.uniform("write error", tuple(target.shape)) < self.write_error
            parallel = parallel ^ failed
        states = torch.where(parallel, self.g_max, self.g_min)
        return CellState(states, None)

    def found(self, conductance: Tensor, stream: Stream, sites: Sites | None = None) -> Tensor:
        """Return the conductances of junctions with their spread; see `Cell.found`."""
        g = conductance
        if self.resistance_spread:
            xi = stream.normal("resistance", tuple(g.shape))
            g = g / (1 + self.resistance_spread * xi).clamp(min=0.01)
        return super().found(g, stream, sites)
