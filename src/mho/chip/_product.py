"""One matrix-vector product of one block on one array: its time, and its energy by component."""

from functools import cached_property

from ._figures import Figures
from ._survey import conversion_energy, converter_area
from ._timing import converter_bits


class Product:
    """A product of `rows` x `cols` used cells of an array.

    Energy, with time t, use u = rows cols / (all rows x all columns) and idle share eta:

        E = P_core t (eta + (1 - eta) u) + rows (drives E_row + P_row t) + rows cols reads E_cell
            + cols conversions E_ADC + E_other
    """

    def __init__(self, figures: Figures, rows: int, cols: int) -> None:
        self.figures, self.rows, self.cols = figures, rows, cols
        self.hardware, self.core = figures.chip.hardware, figures.chip.core
        self.in_turn = figures.chip.in_turn(cols)
        self.counts = self.core.timing.counts(self.hardware, self.in_turn)

    @cached_property
    def time(self) -> float:
        """Seconds."""
        number = self.figures

        def own(name: str) -> float:
            return number(f"core.timing.{name}")

        return self.core.timing.duration(own, self.hardware, self.in_turn)

    @property
    def rate(self) -> float:
        """Conversions per second of one converter, all columns that are its own in turn."""
        return self.counts.conversions * self.in_turn / self.time

    @cached_property
    def conversion(self) -> float:
        """Energy [J] of one conversion."""
        chip, number = self.figures.chip, self.figures
        bits, known, rate = converter_bits(self.hardware), self.core.converters.bits, self.rate
        if self.core.converters.energy is None:
            return number("core.converters.survey") * conversion_energy(bits, chip.node, rate)
        energy = number("core.converters.energy")
        if bits == known:
            return energy
        there, here = (conversion_energy(b, chip.node, rate) for b in (known, bits))
        return energy * here / there

    @property
    def codes(self) -> int:
        """Codes of a column that are added digitally: those of its slices or polarities."""
        return self.counts.conversions if self.hardware.dac.scheme.digital_sum else 1

    @property
    def correction(self) -> float:
        """Energy [J] of a column's scale and offset, and of the sum of its codes."""
        number = self.figures
        return number("core.local.multiply") + self.codes * number("core.local.add")

    @cached_property
    def energy(self) -> dict[str, float]:
        """Energy [J] by component of a core."""
        number, chip = self.figures, self.figures.chip
        used = self.rows * self.cols / (chip.rows * chip.cols)
        idle = number("core.idle_share")
        reads, drives, conversions = self.counts
        rows = drives * number("core.row_energy") + number("core.row_power") * self.time
        return {
            "core": number("core.power") * self.time * (idle + (1 - idle) * used),
            "drivers": self.rows * rows,
            "cells": self.rows * self.cols * reads * number("core.cell"),
            "converters": self.cols * conversions * self.conversion,
            "other": number("core.other"),
        }


def area(figures: Figures) -> dict[str, float]:
    """Return the chip's area [m^2] by component; what has no constant is not in it."""
    chip, number = figures.chip, figures
    cores, converters = chip.core.count, chip.converters
    each = number("core.converters.area")
    if chip.core.area is None and chip.core.converters.area is None:
        rate = Product(figures, chip.rows, chip.cols).rate
        each = converter_area(converter_bits(chip.hardware), chip.node, rate)
    parts = {
        "core": cores * number("core.area"),
        "drivers": cores * chip.rows * number("core.row_area"),
        "cells": chip.arrays * chip.rows * chip.cols * number("core.cell_area"),
        "converters": cores * converters * each,
        "local digital": cores * chip.core.local.count * number("core.local.area"),
        "digital": chip.digital.count * number("digital.area"),
        "memory": number("memory.area"),
    }
    return {name: value for name, value in parts.items() if value}
