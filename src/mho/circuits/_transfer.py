"""Transfer curves of an ADC's front end, before the levels: the family."""

from abc import abstractmethod

from torch import Tensor

from ..spec import Variant
from ._draws import Draws


class Transfer(Variant):
    """A smooth curve from the ideal to the actual converter input, in units of range x scale."""

    @property
    def spread(self) -> float:
        """Relative spread of the curve's strength over converters; 0 makes them all alike."""
        return 0.0

    def draw(self, draws: Draws) -> Tensor | None:
        """Draw what each converter's curve has of its own, (row-slices, columns).

        A curve with several such numbers puts them on a last axis. None where all are alike. Here
        it is the strength |1 + spread xi|, because a curvature has no sign.
        """
        return (1 + self.spread * draws.normal("transfer")).abs() if self.spread else None

    @abstractmethod
    def apply(self, y: Tensor, bound: float, strength: Tensor | float) -> Tensor:
        """Return the distorted signal.

        Args:
            y: signal in units of range x scale.
            bound: the ADC's bound in the same units.
            strength: relative strength of each converter's curve, 1 for the nominal one. Where
                `draw` gives several numbers, they are on the first axis.
        """
