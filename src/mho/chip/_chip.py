"""The chip value: how many cores there are, and what everything on them costs."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ..errors import PresetError, SpecError
from ..spec import Meters, Spec, document, format_quantity, render_table
from ..tiles import Hardware
from ..tiles import load as load_hardware
from ._constant import SCENARIOS, Scenario
from ._figures import Figures, constants
from ._parts import Core, DigitalUnit, Links, Memory, Supply
from ._peak import Peak, peak
from ._timing import converter_bits, drive_levels


class Chip(Spec):
    """Cores, digital units, links and memory around arrays of one `Hardware`.

    The hardware is the value that `mho.convert` takes: what says how accurate a model is says what
    it costs. Every constant carries its source and its range.
    """

    hardware: Hardware = Field(description="The arrays: a value, or the name of a preset.")
    node: Meters = Field(gt=0, le=1e-6, description="Technology node [m], such as 14 nm.")
    supply: Supply | None = Field(
        default=None, description="Supply voltage; None leaves all constants as they are."
    )
    core: Core = Field(description="The cores.")
    digital: DigitalUnit = Field(description="Digital units that all cores share.")
    links: Links = Field(description="The network.")
    memory: Memory = Field(description="Memory on the chip.")
    dram: Memory | None = Field(default=None, description="Memory beside the chip.")

    @model_validator(mode="before")
    @classmethod
    def _hardware_of_preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("hardware"), str):
            try:
                return {**data, "hardware": load_hardware(data["hardware"])}
            except PresetError as error:
                raise ValueError(f"hardware: {error}") from None
        return data

    @model_validator(mode="after")
    def _consistent(self) -> "Chip":
        array, timing = self.hardware.array, self.core.timing
        if array.rows is None or array.cols is None:
            raise ValueError(
                "the arrays of a chip have a size: give hardware.array.rows and hardware.array.cols"
            )
        problem = timing.misfit(self.hardware)
        if problem is not None:
            raise ValueError(problem)
        converter_bits(self.hardware)
        drive_levels(self.hardware)
        shared, count = self.hardware.adc.columns_per_converter, self.core.converters.count
        if shared > 1 and count is not None and count != -(-array.cols // shared):
            raise ValueError(
                f"`core.converters.count: {count}` and `hardware.adc.columns_per_converter: "
                f"{shared}` say different things of {array.cols} columns: leave out the count"
            )
        if not all(self.product_time(scenario) > 0 for scenario in SCENARIOS):
            raise ValueError("a product takes no time: give `core.timing` durations above 0")
        needs = [p for p, c in constants(self) if c.supply != "none"] if not self.supply else []
        if needs:
            raise ValueError(f"{needs[0]} follows the supply voltage: give `supply`")
        return self

    @property
    def rows(self) -> int:
        """Rows of an array."""
        return self.hardware.array.rows or 0

    @property
    def cols(self) -> int:
        """Columns of an array."""
        return self.hardware.array.cols or 0

    @property
    def converters(self) -> int:
        """Converters of a core."""
        shared = self.hardware.adc.columns_per_converter
        return self.core.converters.count or -(-self.cols // shared)

    def in_turn(self, columns: int) -> int:
        """Return how many of so many columns the busiest converter converts one after another."""
        if self.core.converters.count is not None:
            return -(-columns // self.core.converters.count)
        return min(columns, self.hardware.adc.columns_per_converter)

    @property
    def arrays(self) -> int:
        """Arrays of the chip."""
        return self.core.count * self.core.arrays

    def figures(self, scenario: Scenario = "nominal") -> Figures:
        """Return all constants as plain numbers in SI units."""
        return Figures(self, scenario)

    def product_time(self, scenario: Scenario = "nominal") -> float:
        """Return the time [s] of one matrix-vector product of a whole array."""
        from ._product import Product

        return Product(self.figures(scenario), self.rows, self.cols).time

    def peak(self, scenario: Scenario = "nominal") -> Peak:
        """Return throughput, efficiency and density with every core busy on a whole array."""
        return peak(self.figures(scenario))

    def table(self) -> str:
        """Return every constant at this chip's node and supply, with its range and its source."""
        sides = [self.figures(scenario) for scenario in SCENARIOS]
        rows = []
        for path, constant in constants(self):
            cells = [_written(side(path), constant.dimension) for side in sides]
            rows.append((path, *cells, constant.source))
        return render_table(
            f"{self.core.count} cores of {self.rows} x {self.cols}",
            ("constant", *SCENARIOS, "source"),
            rows,
            150,
        )


def _written(number: float, dimension: str) -> str:
    if dimension == "m^2":
        return f"{number * 1e6:.4g} mm^2" if number >= 1e-9 else f"{number * 1e12:.4g} um^2"
    return f"{number:.4g}" if dimension == "1" else format_quantity(number, dimension)


def load(source: str | Path) -> Any:
    """Return the `Hardware` or the `Chip` of a preset's name or of a YAML file's path.

    A file with a field `core` is a chip, any other is hardware.

    Raises:
        PresetError: no such preset or file, or it is corrupt.
    """
    found = document(source)
    if "core" not in found.fields:
        return load_hardware(source)
    try:
        return Chip(**found.fields)
    except SpecError as error:
        raise PresetError(f"{source}: {error}") from None


def as_chip(chip: Chip | str | Path) -> Chip:
    """Return a chip that was given as a value, a preset's name or a path."""
    found = load(chip) if isinstance(chip, str | Path) else chip
    if not isinstance(found, Chip):
        raise SpecError(
            f"expected a Chip, got {type(found).__name__}: hardware has no cores, links or clock; "
            f"use mho.load with one of {', '.join(chips())}, or a chip file of your own."
        )
    return found


def chips() -> list[str]:
    """Return the names of the chip presets that `mho.load` knows."""
    from ..spec import presets

    return presets("chips")
