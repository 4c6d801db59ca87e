"""How the cells of an array add up: the family of combination rules."""

from abc import abstractmethod
from typing import Literal

from torch import Tensor

from ..spec import Variant
from ._wires import Wires


class Combine(Variant):
    """A rule by which the cells of a column make its signal.

    Every rule here is linear in the drives, so that it is told by the conductances of an ideal
    array, with neither wires nor load, which gives the same signals.
    """

    @property
    def plain(self) -> bool:
        """Whether cells of an array without wires add up as they are."""
        return False

    @abstractmethod
    def effective(self, g: Tensor, wires: Wires | None) -> Tensor:
        """Return the conductances of the ideal array with the same signals.

        Args:
            g: conductances (..., planes, columns, rows) of whole arrays [S].
            wires: their resistance.
        """


class CurrentSum(Combine):
    """Currents add at the virtual ground at the foot of each column: I_j = sum_i G_ij V_i."""

    kind: Literal["current_sum"] = "current_sum"

    @property
    def plain(self) -> bool:
        """Kirchhoff's law adds currents as they are."""
        return True

    def effective(self, g: Tensor, wires: Wires | None) -> Tensor:
        """See `Combine.effective`."""
        return g if wires is None else wires.effective(g)
