"""How the cells of an array add up: the family of combination rules."""

from abc import abstractmethod
from typing import Literal, NamedTuple

from torch import Tensor

from ..spec import Variant
from ._adc import ADC
from ._dac import DAC
from ._noise import Noise
from ._wires import Wires


class Column(NamedTuple):
    """What a rule has to know of a column of an array."""

    rows: int
    """Cells in use; those that are not are disconnected."""
    low: float
    """Smallest conductance of a cell [S]."""
    high: float
    """Largest conductance of a cell [S], that of a relative weight of 1."""
    parts: int
    """Row-slices of the layer, whose partial sums belong together."""


class Combine(Variant):
    """A rule by which the cells of a column make its signal.

    Every rule here is linear in the drives v of a product. It is told by the conductances G' of an
    ideal array, with neither wires nor load, in which currents add, and by the sum that makes a
    signal of 1:

        signal = (sum_j w'_j v_j + offset) / full_scale,   w' = decode(G')

    The signal is in the rule's own unit, such as volts over the full drive. Noise and converters
    act on it, and the digital side multiplies by full_scale again.
    """

    @property
    def plain(self) -> bool:
        """Whether cells of an array without wires add up as they are, so that G' = G."""
        return False

    @property
    def analog_sum(self) -> bool:
        """Whether the partial sums of row-slices meet before any converter."""
        return False

    @abstractmethod
    def effective(self, g: Tensor, wires: Wires | None, column: Column) -> Tensor:
        """Return the conductances G' of the ideal array with the same signals.

        Args:
            g: conductances (..., planes, columns, rows) of whole arrays [S].
            wires: their resistance.
            column: what all their columns share.
        """

    def full_scale(self, column: Column) -> float:
        """Return the sum of relative weight times relative drive that is a signal of 1."""
        return 1.0

    def noise(self, column: Column) -> float:
        """Return the std of the noise that the rule itself adds to a signal, for every product."""
        return 0.0

    def offset(self, effective: Tensor, column: Column) -> Tensor | None:
        """Return what is added to the sums of relative weights, (..., columns), if anything is.

        Args:
            effective: conductances G' (..., planes, columns, rows) [S].
            column: what all columns share.
        """
        return None

    def misfit(self, wires: Wires | None, dac: DAC, adc: ADC, noise: Noise) -> str | None:
        """Return why the rule cannot work with the circuits around it, or None."""
        return None

    def cells_misfit(self, low: float, complementary: bool) -> str | None:
        """Return why the rule cannot work with some cells, or None.

        Args:
            low: their smallest conductance [S].
            complementary: whether two of opposite states hold each weight.
        """
        return None


class CurrentSum(Combine):
    """Currents add at the virtual ground at the foot of each column: I_j = sum_i G_ij V_i."""

    kind: Literal["current_sum"] = "current_sum"

    @property
    def plain(self) -> bool:
        """Kirchhoff's law adds currents as they are."""
        return True

    def effective(self, g: Tensor, wires: Wires | None, column: Column) -> Tensor:
        """See `Combine.effective`."""
        return g if wires is None else wires.effective(g)


def currents_only(noise: Noise, adc: ADC) -> str | None:
    """Return which effect is a formula for added currents and is asked of another rule, or None."""
    if noise.read is not None:
        return (
            "noise.read is a law of added currents; leave it out, or give the noise of the whole "
            "column as noise.output"
        )
    if adc.front_end is not None:
        return "adc.front_end is a circuit that takes in currents; leave it out"
    return None
