"""What a chip is made of besides its arrays: converters, digital units, links, memory."""

from typing import Literal

from pydantic import Field, model_validator

from ..spec import Spec, Volts
from ._constant import Bandwidth, Energy, EnergyPerBit, Frequency, Potential, Power, Ratio, Time
from ._constant import Surface as Area
from ._timing import Timing


class Supply(Spec):
    """The supply voltage and how fast gates are at it.

    Delay: s(V) = V / (V - V_t)^alpha, the alpha-power law of T. Sakurai and A. R. Newton, IEEE
    JSSC 25:584 (1990). Valid well above V_t: from 5 % on at least.
    """

    voltage: Volts = Field(gt=0, le=10, description="The supply V [V].")
    reference: Volts = Field(gt=0, le=10, description="Supply at which the constants hold [V].")
    threshold: Potential = Field(description="Threshold voltage V_t.")
    exponent: Ratio = Field(description="Exponent alpha, 2 without velocity saturation.")

    @model_validator(mode="after")
    def _above_threshold(self) -> "Supply":
        lowest, threshold = min(self.voltage, self.reference), self.threshold.number("pessimistic")
        if lowest < 1.05 * threshold:
            raise ValueError(
                f"a supply of {lowest:g} V is not well above the threshold of {threshold:g} V: the "
                "law of the gates' delay does not hold there; raise the voltage"
            )
        return self


class Converters(Spec):
    """The analog-to-digital converters of one core.

    The energy of a conversion of b bits is E(b) = energy R(b) / R(bits), with R the regression over
    the ADC survey; without `energy`, it is `survey` times R(b).
    """

    count: int | None = Field(
        default=None,
        ge=1,
        strict=True,
        description="Converters of a core; None: one for `hardware.adc.columns_per_converter`.",
    )
    bits: int = Field(
        default=8, ge=2, le=16, strict=True, description="Resolution that `energy` was found at."
    )
    energy: Energy | None = Field(default=None, description="Energy of one conversion.")
    survey: Ratio | None = Field(default=None, description="Multiple of the survey's regression.")
    area: Area | None = Field(default=None, description="Area of one converter, if known apart.")

    @model_validator(mode="after")
    def _one_energy(self) -> "Converters":
        if (self.energy is None) == (self.survey is None):
            raise ValueError("give `energy` (measured) or `survey` (the regression), not both")
        return self


class DigitalUnit(Spec):
    """Lanes that each multiply and add once per cycle."""

    count: int = Field(default=1, ge=1, strict=True, description="Units that work in parallel.")
    lanes: int = Field(ge=1, strict=True, description="Multiply-adds of one unit per cycle.")
    clock: Frequency = Field(description="Clock.")
    multiply: Energy = Field(description="Energy of one multiplication.")
    add: Energy = Field(description="Energy of one addition or comparison.")
    area: Area | None = Field(default=None, description="Area of one unit.")


class Core(Spec):
    """One core: arrays that take turns on one set of drivers and converters."""

    count: int = Field(ge=1, strict=True, description="Cores of the chip.")
    arrays: int = Field(
        default=1, ge=1, strict=True, description="Arrays of a core; one works at a time."
    )
    timing: Timing = Field(description="How an input is applied, and how long a product takes.")
    power: Power | None = Field(
        default=None, description="Power of a whole core while a product runs, at full use."
    )
    idle_share: Ratio | None = Field(
        default=None, description="Share of `power` that unused rows and columns take as well."
    )
    row_energy: Energy | None = Field(default=None, description="Energy to drive one row once.")
    row_power: Power | None = Field(default=None, description="Power of a driven row meanwhile.")
    cell: Energy | None = Field(default=None, description="Energy of one cell in one read.")
    other: Energy | None = Field(default=None, description="Other energy of one product.")
    converters: Converters = Field(description="Analog-to-digital converters.")
    local: DigitalUnit = Field(description="Digital unit of a core: scales, offsets, sums, ReLU.")
    area: Area | None = Field(default=None, description="Area of a core without parts below.")
    cell_area: Area | None = Field(default=None, description="Area of one cell of an array.")
    row_area: Area | None = Field(default=None, description="Area of one row's driver.")

    @model_validator(mode="after")
    def _idle_share_of_a_power(self) -> "Core":
        if (self.power is None) != (self.idle_share is None):
            raise ValueError("`power` and `idle_share` go together")
        if self.idle_share is not None and self.idle_share.number("pessimistic") > 1:
            raise ValueError("`idle_share` is at most 1")
        return self


class Links(Spec):
    """The network between cores, digital units and memory."""

    channels: int = Field(ge=1, strict=True, description="Transfers that may run at once.")
    topology: Literal["bus", "mesh"] = Field(
        default="bus",
        description="Bus: every transfer is one hop. Mesh: as many as between the cores' places in "
        "a square grid, numbered row by row.",
    )
    bandwidth: Bandwidth = Field(description="Of one channel.")
    energy: EnergyPerBit = Field(description="Of one bit over one hop.")
    latency: Time = Field(description="Of one hop.")


class Memory(Spec):
    """A memory for activations, caches and weights that are on no array."""

    capacity: int = Field(ge=1, strict=True, description="Bytes.")
    ports: int = Field(default=1, ge=1, strict=True, description="Accesses that may run at once.")
    bandwidth: Bandwidth = Field(description="Of one port.")
    read: EnergyPerBit = Field(description="Of one bit read.")
    write: EnergyPerBit = Field(description="Of one bit written.")
    idle: Power | None = Field(default=None, description="Power of the memory, used or not.")
    area: Area | None = Field(default=None, description="Area of the memory.")
