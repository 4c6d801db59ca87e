"""Analog ReRAM of conductive metal oxide on hafnium oxide."""

from typing import Literal

from pydantic import Field

from ..spec import Siemens
from ._cell import Cell
from ._drift import Drift, LogRelaxation
from ._programming import Acceptance, Programming
from ._read import FlickerLogarithmic, Read


class CmoHfox(Cell):
    """CMO/HfOx ReRAM, 9 to 88.2 uS, programmed to within 0.2 % of the target.

    Programming and relaxation: Falcone et al., 2025 (arXiv:2502.04524). 1/f noise: Lombardo et al.,
    DRC 2024 (doi:10.1109/DRC61706.2024.10643760). Fits as in IBM's aihwkit; as there, relaxation
    and noise end at g_min and g_max, while a freshly programmed cell may lie a little outside.
    """

    kind: Literal["cmo_hfox"] = "cmo_hfox"
    g_min: Siemens = Field(
        default=9.0e-6, ge=0, description="Smallest conductance a target may have [S]."
    )
    g_max: Siemens = Field(
        default=88.199997e-6, gt=0, description="Largest conductance a target may have [S]."
    )
    bounded: bool = Field(
        default=True,
        description="Whether drift and read noise end at g_min and g_max instead of only at 0.",
    )
    programming: Programming | None = Field(
        default=Acceptance(acceptance_range=0.2), description="Error of programming."
    )
    drift: Drift | None = Field(
        default=LogRelaxation(), description="Change of the conductance with time."
    )
    read: Read | None = Field(
        default=FlickerLogarithmic(), description="1/f noise accumulated until the cell is read."
    )
