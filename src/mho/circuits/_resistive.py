"""Line resistance as it is measured or simulated: ohms per cell."""

from typing import Literal

from pydantic import Field

from ..spec import Ohms
from ._line_resistance import LineResistance


class Resistive(LineResistance):
    """Lines of given resistance between neighboring cells. See `LineResistance`."""

    kind: Literal["resistive"] = "resistive"
    row: Ohms = Field(
        default=1.0, ge=0,
        description="Between neighboring cells of a row, or of a gated column's source line [ohm].",
    )  # fmt: skip
    column: Ohms = Field(
        default=1.0, ge=0,
        description="Between neighboring cells of a column [ohm].",
    )  # fmt: skip

    @property
    def segments(self) -> tuple[float, float]:
        """As given."""
        return self.row, self.column
