"""Programming as the law of the cell describes it."""

from typing import Any, Literal

from torch import Tensor

from ..nn import Crossbar
from ..ops import Stream
from ..tiles import Programmed
from ..tiles import program as program_cells
from ._programming_method import ProgrammingMethod


class Direct(ProgrammingMethod):
    """Every cell gets its target and the error of the cell's programming law, once."""

    kind: Literal["direct"] = "direct"

    def write(self, weight: Tensor, crossbar: Crossbar, stream: Stream) -> tuple[Programmed, Any]:
        """See `ProgrammingMethod.write`."""
        return program_cells(weight, crossbar.hardware, crossbar.geometry, stream), None
