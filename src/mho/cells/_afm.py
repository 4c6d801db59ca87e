"""The programming error of a weight, as used to evaluate analog foundation models."""

from typing import Literal

from pydantic import Field

from ..spec import Siemens
from ._cell import Cell
from ._curves import Piecewise, Polynomial
from ._programming import Gaussian, Programming


class Afm(Cell):
    """Programming error of the HERMES Project Chip as a fit to the signed weight.

    Buechel et al., "Analog Foundation Models", NeurIPS 2025 (arXiv:2505.09663), noise model of the
    published code: in units in which the largest weight of a column is 180, the error's standard
    deviation is a cubic in |w|, one for pairs of one device up to 52.5, one for two devices above,
    and weights with |w| < 0.6 are RESET to exactly 0. The model has no drift and no read noise: at
    every time a cell is as it was programmed. g_max is only a scale, that of phase-change memory.
    """

    kind: Literal["afm"] = "afm"
    g_max: Siemens = Field(
        default=25e-6, gt=0, description="Conductance that stands for 180 units [S]."
    )
    signed: bool = Field(
        default=True, description="Whether a cell's conductance carries the weight's sign."
    )
    programming: Programming | None = Field(
        default=Gaussian(
            std=Piecewise(
                split=52.5 / 180,
                below=Polynomial(
                    coefficients=(
                        2.5797410660159494,
                        0.22419685954327148,
                        -0.00371581208142707,
                        2.939751381126213e-05,
                    ),
                    argument_scale=180.0,
                ),
                above=Polynomial(
                    coefficients=(
                        2.110295720240385,
                        0.2453487119885723,
                        -0.003054993405157235,
                        1.2329755395573392e-05,
                    ),
                    argument_scale=180.0,
                ),
            ),
            full_scale=180.0,
            reset_below=0.6 / 180,
        ),
        description="Error of programming.",
    )
