"""A cell put together from laws of one's own choice, or from one's own measurements."""

from typing import Literal

from ._cell import Cell


class Composed(Cell):
    """Any combination of laws, each given explicitly; what is left out is off."""

    kind: Literal["composed"] = "composed"
