"""A generic memory whose errors do not depend on what it stores."""

from typing import Literal

from pydantic import Field

from ..spec import Siemens
from ._cell import Cell
from ._curves import Constant
from ._drift import Drift, PowerLaw
from ._programming import Gaussian, Programming
from ._read import FlickerAbsolute, Read


class StateIndependent(Cell):
    """Programming error of 0.2 uS, drift exponents |0.1 + 0.05 xi|, 1/f noise of 1 uS at g_max.

    The generic model of IBM's aihwkit (Rasch et al., AICAS 2021, arXiv:2104.02184), not a fit to a
    device. Programming error and drift are the same at every conductance; read noise is in
    proportion to the conductance. The conductances are absolute: they do not grow with g_max.
    """

    kind: Literal["state_independent"] = "state_independent"
    g_max: Siemens = Field(
        default=25e-6, gt=0, description="Largest conductance a target may have [S]."
    )
    programming: Programming | None = Field(
        default=Gaussian(std=Constant(value=0.2)), description="Error of programming."
    )
    drift: Drift | None = Field(
        default=PowerLaw(nu_mean=Constant(value=0.1), nu_std=Constant(value=0.05), t0=20.0),
        description="Change of the programmed conductance with time.",
    )
    read: Read | None = Field(
        default=FlickerAbsolute(amplitude=1e-6, t_read=250e-9, t0=20.0),
        description="1/f noise accumulated until the cell is read.",
    )
