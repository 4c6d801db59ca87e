"""Resistance of the wires of an array."""

from abc import abstractmethod
from typing import Literal

from pydantic import Field
from torch import Tensor

from ..ops import plus, times
from ..spec import Variant


class Wires(Variant):
    """A model of what wire resistance does to a product.

    It is the circuit itself (`WireNetwork`), which is a matrix where it is linear in the drives,
    and else is solved for every vector; or a formula for the signals of columns (`ColumnDrop`).
    """

    @property
    def gated(self) -> bool:
        """Whether rows only open cells, so that they are on or off."""
        return False

    @property
    def per_vector(self) -> bool:
        """Whether the network depends on the input, so that it is solved for every one."""
        return False

    @abstractmethod
    def effective(self, g: Tensor) -> Tensor:
        """Return conductances whose currents, without wires, are those of `g` with them.

        Args:
            g: conductances (..., planes, columns, rows) of whole arrays [S].
        """


class WireNetwork(Wires):
    """Wires and cells as a circuit, which can be solved for any read-out and any input."""

    @abstractmethod
    def voltages(self, g: Tensor, load: float) -> Tensor:
        """Return the voltage at the foot of each column per volt on each row, as `g`.

        Args:
            g: conductances (..., planes, columns, rows) of whole arrays [S].
            load: conductance from the foot of each column to ground [S], behind its read-out.
        """

    @abstractmethod
    def currents(self, g: Tensor, drive: Tensor) -> Tensor:
        """Return the currents of an array for every vector, per volt, (n, planes, columns) [S].

        Args:
            g: conductances (planes, columns, rows) [S].
            drive: relative drives of the rows, (n, rows) in [-1, 1].
        """


class ColumnDrop(Wires):
    """A model that takes a drop off each column's signal, and so depends on the input."""

    def effective(self, g: Tensor) -> Tensor:
        """The cells as they are: the drop is found for every product."""
        return g

    @abstractmethod
    def profile(self, position: Tensor, rows: Tensor) -> Tensor:
        """Return the relative voltage that rows at `position` lose, of `rows` used ones."""

    @abstractmethod
    def drop(self, load: Tensor, weighted: Tensor, rows: Tensor) -> Tensor:
        """Return what to subtract from the relative signal y of each column; takes over `load`.

        Args:
            load: sum_j |w_ij v_j|, relative.
            weighted: sum_j w_ij v_j profile_j, relative.
            rows: used rows n of each column's array.
        """


class FirstOrder(ColumnDrop):
    """The first-order drop along a column, a cubic in the column's load.

    With relative weights w and drives v, n rows and the ratio `conductance_ratio` of a wire
    segment's conductance to g_max, and row 0 farthest from the ADC,

        a_i = n sum_j |w_ij v_j| / conductance_ratio,   c_i = a (a (0.05 a - 0.2) + 0.5)
        y_i <- y_i - scale c_i sum_j w_ij v_j (1 - (1 - j/n)^2)

    Source: Rasch et al., arXiv 1906.02698 (2019) and Nat. Commun. 14:5282 (2023), Methods.
    Valid for a below about 1: the cubic is an expansion around no load.
    """

    kind: Literal["first_order"] = "first_order"
    scale: float = Field(default=1.0, ge=0, description="Multiple of the modelled drop.")
    conductance_ratio: float = Field(
        default=1 / 0.35 / 5e-6, gt=0, description="Wire segment over g_max: 1 / (0.35 ohm x 5 uS)."
    )

    def profile(self, position: Tensor, rows: Tensor) -> Tensor:
        """Return 1 - (1 - j/n)^2 for rows at `position` j on arrays with `rows` n used rows."""
        return 1 - (1 - position / rows) ** 2

    def drop(self, load: Tensor, weighted: Tensor, rows: Tensor) -> Tensor:
        """See `ColumnDrop.drop`."""
        a = times(load, rows / self.conductance_ratio)
        cubic = times(plus(times(plus(0.05 * a, -0.2), a), 0.5), a)
        return times(times(cubic, self.scale), weighted)
