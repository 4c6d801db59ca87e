"""What the writing of cells costs in time and energy."""

from pydantic import Field

from ..spec import Joules, Seconds, Spec


class ProgrammingCost(Spec):
    """What a pulse and a read cost. Nothing is assumed: without a number, a sum is not known.

        time = slots pulse_width + reads read_time
        energy = pulses pulse_energy + reads arrays read_energy

    The arrays of a matrix work at the same time. `rows_at_once` rows of each are pulsed together;
    they take as many slots as the cell among them that gets most pulses, its devices one after
    another. A read shows all columns of each array at once: one row of cells, or a product.
    """

    pulse_width: Seconds | None = Field(
        default=None, gt=0, description="Time that one pulse takes, with its pause [s]."
    )
    pulse_energy: Joules | None = Field(
        default=None, ge=0, description="Energy of one pulse on one device [J]."
    )
    read_time: Seconds | None = Field(
        default=None, gt=0, description="Time that one read of an array takes [s]."
    )
    read_energy: Joules | None = Field(
        default=None, ge=0, description="Energy of one read of one array [J]."
    )
    rows_at_once: int | None = Field(
        default=None, ge=1, strict=True, description="Rows of an array that are pulsed together."
    )
