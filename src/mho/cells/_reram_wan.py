"""Filamentary ReRAM of the NeuRRAM chip."""

from typing import Literal

from pydantic import Field

from ..spec import Siemens
from ._cell import Cell
from ._curves import Polynomial
from ._drift import Drift, MeasuredTimes
from ._programming import Gaussian, Programming

_SECOND = Polynomial(coefficients=(0.348, 16.030, -43.853, 45.393, -16.815))
_DAY = Polynomial(coefficients=(0.701, 22.086, -50.773, 47.095, -16.458))
_TWO_DAYS = Polynomial(coefficients=(0.782, 20.274, -43.507, 37.062, -11.934))


class ReramWan(Cell):
    """Filamentary ReRAM, deviation from the target after 1 s, 1 day and 2 days.

    Measured by Wan et al., Nature 608:504, 2022 (doi:10.1038/s41586-022-04992-8); quartic fits in
    r = g_T/g_max to the published figures, in uS at 40 uS, as in IBM's aihwkit, here scaled to the
    cell's g_max as they should be. The error at 1 s is the programming error.
    No 1/f noise was published; about 1 % of noise per read belongs to the matrix product.
    """

    kind: Literal["reram_wan"] = "reram_wan"
    g_max: Siemens = Field(
        default=40e-6, gt=0, description="Largest conductance a target may have [S]."
    )
    programming: Programming | None = Field(
        default=Gaussian(std=_SECOND, full_scale=40.0), description="Error of programming."
    )
    drift: Drift | None = Field(
        default=MeasuredTimes(
            times=(1.0, 86400.0, 172800.0), std=(_SECOND, _DAY, _TWO_DAYS), full_scale=40.0
        ),
        description="Deviation from the target at the measured times.",
    )
