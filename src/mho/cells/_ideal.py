"""The ideal cell: it holds what it is told, for ever."""

from typing import Literal

from pydantic import Field

from ..spec import Siemens
from ._cell import Cell


class Ideal(Cell):
    """A cell without laws; g_max only sets the scale of the currents."""

    kind: Literal["ideal"] = "ideal"
    g_max: Siemens = Field(
        default=25e-6, gt=0, description="Largest conductance a target may have [S]."
    )
