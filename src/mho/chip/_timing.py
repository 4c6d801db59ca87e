"""How long one product of an array takes: the family of ways to apply an input."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

from pydantic import Field

from ..errors import SpecError
from ..spec import Variant
from ..tiles import Hardware
from ._constant import Frequency, Time

Number = Callable[[str], float]
"""The number of a constant of the timing, by its field's name; 0 where it is None."""


def drive_levels(hardware: Hardware) -> int:
    """Return the magnitude levels of a row's drive, 2^(b-1) - 1; needs DAC levels."""
    half = hardware.dac.half_steps
    if half is None:
        raise SpecError(
            "the time of a product depends on the levels of the DAC: give hardware.dac.bits."
        )
    return half


def converter_bits(hardware: Hardware) -> int:
    """Return the bits of the ADC; those of `steps` rounded up."""
    adc = hardware.adc
    if adc.half_steps is None:
        raise SpecError("the cost of a conversion depends on its levels: give hardware.adc.bits.")
    return adc.bits or (2 * adc.half_steps).bit_length()


class Counts(NamedTuple):
    """How often things happen in one product."""

    reads: int
    """Each cell is read."""
    drives: int
    """Each row is driven."""
    conversions: int
    """Each column is converted."""


class Timing(Variant):
    """The rule for the time of one matrix-vector product of one array."""

    @abstractmethod
    def duration(self, number: Number, hardware: Hardware, in_turn: int) -> float:
        """Return the time [s] of one product.

        Args:
            number: the timing's constants in SI units.
            hardware: bits and scheme of the converters.
            in_turn: columns that an ADC converts in turn.
        """

    @abstractmethod
    def counts(self, hardware: Hardware, in_turn: int) -> Counts:
        """Return how often rows are driven, cells read and columns converted in one product."""

    @abstractmethod
    def misfit(self, hardware: Hardware) -> str | None:
        """Return why an input of this hardware's scheme cannot take this time, or None.

        The same reads make the time and the result.
        """


class PulseWidth(Timing):
    """The input is the width of a pulse; the ADC integrates meanwhile.

        t = phases (max((2^(b_in - 1) - 1) / f, 2^b_out t_count) in_turn + t_gap) + t_fixed

    with t_count the time of one count of an ADC that counts, if it does. Source: the pulse-width
    scheme of R. Khaddam-Aljameh et al., IEEE JSSC 57:1027 (2022).
    """

    kind: Literal["pulse_width"] = "pulse_width"
    clock: Frequency = Field(description="Clock of the pulses: one level is one period.")
    phases: int = Field(
        default=1, ge=1, le=8, strict=True, description="Reads of the array for one product."
    )
    gap: Time | None = Field(default=None, description="Dead time of each phase.")
    fixed: Time | None = Field(default=None, description="Dead time of each product.")
    count: Time | None = Field(default=None, description="Time of one count of the ADC.")

    def duration(self, number: Number, hardware: Hardware, in_turn: int) -> float:
        """See `Timing.duration`."""
        drive = drive_levels(hardware) / number("clock")
        counting = 2 ** converter_bits(hardware) * number("count")
        return self.phases * (max(drive, counting) * in_turn + number("gap")) + number("fixed")

    def counts(self, hardware: Hardware, in_turn: int) -> Counts:
        """One of each for every phase; rows are pulsed anew for columns that are in turn."""
        return Counts(self.phases, self.phases * in_turn, self.phases)

    def misfit(self, hardware: Hardware) -> str | None:
        """Slices have another time, and two polarities are two reads."""
        scheme = _scheme(hardware)
        if scheme == "bit_serial":
            return _SERIAL
        if scheme == "positive_negative" and self.phases < 2:
            return (
                "`hardware.dac.scheme: positive_negative` reads the array once for each polarity: "
                "give `core.timing.phases` of at least 2"
            )
        return None


class BitSerial(Timing):
    """The input is applied in slices of bits, each converted on its own.

        t = slices (t_pulse + t_ADC in_turn)

    with slices = ceil((b_in - 1) / slice_bits) of `hardware.dac.scheme: bit_serial`. Source:
    A. Shafiee et al., ISCA 2016 (ISAAC), section IV.
    """

    kind: Literal["bit_serial"] = "bit_serial"
    pulse: Time = Field(description="Time of one slice's read before conversion.")
    conversion: Time = Field(description="Time of one conversion.")

    def duration(self, number: Number, hardware: Hardware, in_turn: int) -> float:
        """See `Timing.duration`."""
        slices = self.counts(hardware, in_turn).reads
        return slices * (number("pulse") + number("conversion") * in_turn)

    def counts(self, hardware: Hardware, in_turn: int) -> Counts:
        """One of each for every slice."""
        bits = hardware.dac.scheme.slice_bits  # pyright: ignore[reportAttributeAccessIssue]
        slices = -(-drive_levels(hardware).bit_length() // bits)
        return Counts(slices, slices, slices)

    def misfit(self, hardware: Hardware) -> str | None:
        """Only slices are applied in slices."""
        return None if _scheme(hardware) == "bit_serial" else _SERIAL


class Amplitude(Timing):
    """The input is a voltage, applied at once or, by `positive_negative`, one polarity at a time.

        t = reads t_settle + conversions t_ADC in_turn,   t = reads t_settle in_turn without t_ADC

    with 1 read and 1 conversion, or 2 reads for both polarities, with 2 conversions where their
    codes are subtracted digitally and 1 where their signals are.
    """

    kind: Literal["amplitude"] = "amplitude"
    settle: Time = Field(
        description="Time of one read, with its conversion unless `conversion` is given."
    )
    conversion: Time | None = Field(
        default=None, description="Time of one conversion, where it is not part of `settle`."
    )

    def duration(self, number: Number, hardware: Hardware, in_turn: int) -> float:
        """See `Timing.duration`."""
        reads, _, conversions = self.counts(hardware, in_turn)
        if self.conversion is None:
            return reads * number("settle") * in_turn
        return reads * number("settle") + conversions * number("conversion") * in_turn

    def counts(self, hardware: Hardware, in_turn: int) -> Counts:
        """One of each, or two for both polarities; a driven row waits for columns in turn."""
        reads = 2 if _scheme(hardware) == "positive_negative" else 1
        return Counts(reads, reads, reads if hardware.dac.scheme.digital_sum else 1)

    def misfit(self, hardware: Hardware) -> str | None:
        """Slices and pulses have other times."""
        scheme = _scheme(hardware)
        if scheme == "bit_serial":
            return _SERIAL
        if scheme == "pulse_width":
            return (
                "`hardware.dac.scheme: pulse_width` takes as long as its pulses: give "
                "`core.timing: {kind: pulse_width, ...}`"
            )
        return None


_SERIAL = (
    "`core.timing: {kind: bit_serial}` goes with `hardware.dac.scheme: {kind: bit_serial}`: the "
    "same slices make the time and the result"
)


def _scheme(hardware: Hardware) -> str:
    return hardware.dac.scheme.kind  # pyright: ignore[reportAttributeAccessIssue]
