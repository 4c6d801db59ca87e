"""Chips whose cells hold their weights already."""

from typing import Any, Literal

from torch import Tensor

from ..nn import Crossbar
from ..ops import Stream
from ..tiles import Programmed, hold, relative_weight
from ._programming_method import ProgrammingMethod


class AsTrained(ProgrammingMethod):
    """The cells hold what the weights say: nothing is written, so there is no programming error.

    For arrays that were trained in memory, or written by whatever means. From here on they age and
    are read as those of any chip instance. While a training is attached, the weight of g_max is
    the training's scale, as in its own products; otherwise it is what the mapping says.
    """

    kind: Literal["as_trained"] = "as_trained"

    def write(self, weight: Tensor, crossbar: Crossbar, stream: Stream) -> tuple[Programmed, Any]:
        """See `ProgrammingMethod.write`."""
        hardware, geometry = crossbar.hardware, crossbar.geometry
        training = None if crossbar.recorder is None else crossbar.recorder.scale
        if training is None:
            relative, scale = relative_weight(weight, hardware, geometry, stream.tile)
        else:
            scale = weight.new_full((geometry.parts, geometry.out), training)
            relative = weight.float() / training  # beyond 1 where the cells' bounds are
        return hold(relative, scale, hardware, geometry, stream), None
