"""What happens between the array and the ADC: voltage offsets and series resistance."""

from pydantic import Field
from torch import Tensor

from ..spec import Spec


class FrontEnd(Spec):
    """Voltage offset and series resistance of the read-out of each column.

    With the column's relative current y, the reference current R = w_reference sum_j v_j that the
    offset also acts on, the offset V >= 0 of the column and its series resistance r,

        y' = (1 - V) (y + R) / (1 + r |y + R|) - (1 + V) R / (1 + r |R|)

    which is y (1 - V) - 2 V R without resistance and y (1 - V) / (1 + r |y|) without reference.
    Source: Rasch et al., Nat. Commun. 14:5282 (2023), Methods, ADC and array imperfections.
    """

    offset_spread: float = Field(
        default=0.0,
        ge=0,
        description="Spread s of a column's relative voltage offset, V = max(s xi, 0).",
    )
    reference_weight: float = Field(
        default=1.0,
        ge=0,
        description="Relative conductance of the reference that the offset acts on.",
    )
    series_resistance: float = Field(
        default=0.0,
        ge=0,
        description="Voltage lost in series at a relative current of 1, relative to read voltage.",
    )

    def apply(self, y: Tensor, drive_sum: Tensor, offset: Tensor | float) -> Tensor:
        """Return the current that reaches the ADC, in units of range x scale.

        Args:
            y: relative column current.
            drive_sum: sum_j v_j of the relative drives of the same read, broadcastable to y.
            offset: V of each column.
        """
        reference = self.reference_weight * drive_sum
        r = self.series_resistance
        signal = (1 - offset) * (y + reference) / (1 + r * (y + reference).abs())
        return signal - (1 + offset) * reference / (1 + r * reference.abs())
