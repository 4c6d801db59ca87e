"""How long one product of an array takes: the family of ways to apply an input."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

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


class Timing(Variant):
    """The rule for the time of one matrix-vector product of one array."""

    @abstractmethod
    def duration(self, number: Number, hardware: Hardware, in_turn: int) -> float:
        """Return the time [s] of one product.

        Args:
            number: the timing's constants in SI units.
            hardware: bits and scheme of the converters.
            in_turn: columns that each ADC converts in turn, ceil(N_columns / N_ADC).
        """

    @abstractmethod
    def conversions(self, hardware: Hardware) -> int:
        """Return the conversions of each column in one product."""


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

    def conversions(self, hardware: Hardware) -> int:
        """One for each phase."""
        return self.phases


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
        return self.conversions(hardware) * (number("pulse") + number("conversion") * in_turn)

    def conversions(self, hardware: Hardware) -> int:
        """One for each slice."""
        scheme = hardware.dac.scheme
        return -(-drive_levels(hardware).bit_length() // scheme.slice_bits)  # pyright: ignore


class Amplitude(Timing):
    """The input is a voltage, applied at once: t = t_settle + t_ADC in_turn."""

    kind: Literal["amplitude"] = "amplitude"
    settle: Time = Field(description="Time of one product, its first conversion included or not.")
    conversion: Time | None = Field(
        default=None, description="Time of one conversion, where it is not part of `settle`."
    )

    def duration(self, number: Number, hardware: Hardware, in_turn: int) -> float:
        """See `Timing.duration`."""
        if not number("conversion"):
            return number("settle") * in_turn
        return number("settle") + number("conversion") * in_turn

    def conversions(self, hardware: Hardware) -> int:
        """One."""
        return 1
