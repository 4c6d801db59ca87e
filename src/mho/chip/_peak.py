"""What a chip does at most: every core busy with products of whole arrays."""

from dataclasses import dataclass

from ._figures import Figures


@dataclass(frozen=True)
class Peak:
    """Peak figures; an operation is a multiplication or an addition.

    Attributes:
        time: of one product of a whole array [s].
        energy: of one product by component [J], with its scales, offsets and sums of codes.
        operations: per second.
        area: of the chip by component [m^2].
    """

    time: float
    energy: dict[str, float]
    operations: float
    area: dict[str, float]
    cores: int

    @property
    def power(self) -> float:
        """Power [W] of all cores."""
        return self.cores * sum(self.energy.values()) / self.time

    @property
    def tops(self) -> float:
        """10^12 operations per second."""
        return self.operations * 1e-12

    @property
    def tops_per_watt(self) -> float:
        """10^12 operations per joule."""
        return self.tops / self.power

    @property
    def tops_per_mm2(self) -> float:
        """10^12 operations per second and square millimeter."""
        return self.tops / (sum(self.area.values()) * 1e6)


def peak(figures: Figures) -> Peak:
    """Return the peak of a chip."""
    from ._product import Product, area

    chip = figures.chip
    product = Product(figures, chip.rows, chip.cols)
    affine = chip.cols * product.correction
    energy = {name: joule for name, joule in product.energy.items() if joule}
    return Peak(
        product.time,
        energy | ({"local digital": affine} if affine else {}),
        2 * chip.rows * chip.cols * chip.core.count / product.time,
        area(figures),
        chip.core.count,
    )
