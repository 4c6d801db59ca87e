"""Variability: what differs from device to device and stays."""

from pydantic import Field
from torch import Tensor

from ..ops import Stream
from ..spec import Spec


class Variability(Spec):
    """Each cell conducts max(1 + gain xi, 0) times what it should, with one xi for life."""

    gain: float = Field(
        ge=0, description="Relative spread of the cells' conductance over the array."
    )

    def apply(self, conductance: Tensor, stream: Stream) -> Tensor:
        """Return conductances in S times each cell's own gain."""
        xi = stream.normal("variability", tuple(conductance.shape))
        return conductance * (1 + self.gain * xi).clamp(min=0.0)
