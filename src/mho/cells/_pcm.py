"""Phase-change memory as characterized on IBM's million-device array."""

from typing import Literal

from pydantic import Field

from ..spec import Siemens
from ._cell import Cell
from ._curves import ClippedLog, Polynomial, Power
from ._drift import Drift, PowerLaw
from ._programming import Gaussian, Programming
from ._read import Flicker, Read


class Pcm(Cell):
    """Mushroom-type phase-change memory, g_max = 25 uS.

    Fits of Nandakumar et al., ICECS 2019 (doi:10.1109/ICECS46596.2019.8964852) and Joshi et al.,
    Nat. Commun. 11:2473, 2020 (doi:10.1038/s41467-020-16108-9), with r the relative conductance:

    * programming: std = 0.26348 + 1.9650 r - 1.1731 r^2 uS at 25 uS, scaled with g_max; cells at
      zero get it too, and end up half-normal because a conductance is never negative;
    * drift: nu = |mean + std xi|, mean = clip(0.0244 - 0.0155 ln r, 0.049, 0.1),
      std = clip(-0.0059 - 0.0125 ln r, 0.008, 0.045), r of the target and at least 1e-7, t0 = 20 s;
    * 1/f noise: Q = min(0.0088/r^0.65, 0.2), r of the programmed conductance, t_read = 250 ns.
    """

    kind: Literal["pcm"] = "pcm"
    g_max: Siemens = Field(
        default=25e-6, gt=0, description="Largest conductance a target may have [S]."
    )
    programming: Programming | None = Field(
        default=Gaussian(std=Polynomial(coefficients=(0.26348, 1.9650, -1.1731)), full_scale=25.0),
        description="Error of programming.",
    )
    drift: Drift | None = Field(
        default=PowerLaw(
            nu_mean=ClippedLog(slope=-0.0155, intercept=0.0244, low=0.049, high=0.1),
            nu_std=ClippedLog(slope=-0.0125, intercept=-0.0059, low=0.008, high=0.045),
            t0=20.0,
        ),
        description="Change of the programmed conductance with time.",
    )
    read: Read | None = Field(
        default=Flicker(
            q=Power(scale=0.0088, exponent=0.65, cap=0.2, floor=1e-3), t_read=250e-9, t0=20.0
        ),
        description="1/f noise accumulated until the cell is read.",
    )
