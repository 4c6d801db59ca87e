"""Analog to digital: bounds, levels, transfer curve, and the spread over converters."""

from typing import Literal

from pydantic import Field, model_validator

from ..spec import Spec
from ._dac import half_steps
from ._front_end import FrontEnd
from ._transfer import Transfer


class ADC(Spec):
    """The converters that read the columns. Signals are in units of input range x weight scale."""

    bits: int | None = Field(
        default=None, ge=2, le=16, strict=True,
        description="Resolution; 2^bits - 2 steps with a level at zero. None is ideal.",
    )  # fmt: skip
    steps: int | None = Field(
        default=None, ge=2, multiple_of=2, strict=True,
        description="Steps over the whole range, instead of bits.",
    )  # fmt: skip
    bound: float | Literal["calibrated"] | None = Field(
        default=None,
        description="Largest signal, in units of input range x weight scale, or `calibrated` "
        "for the largest one seen by mho.calibrate on each column. None does not saturate.",
    )
    rounding: Literal["nearest", "stochastic"] = Field(
        default="nearest", description="Rounding to levels."
    )
    overflow: Literal["saturate", "retry", "extend"] = Field(
        default="saturate",
        description="What a vector does that hits the bound: saturate, or be read again with half "
        "the input on the array that hit it (iterative bound management), or extend: levels go on "
        "beyond the bound, which no converter can do, but which tells what saturation costs.",
    )
    transfer: Transfer | None = Field(
        default=None, description="Curve before the levels. None is straight."
    )
    front_end: FrontEnd | None = Field(
        default=None, description="Voltage offset and series resistance."
    )
    gain_spread: float = Field(
        default=0.0, ge=0, description="Relative spread of the gain over converters."
    )
    offset_spread: float = Field(
        default=0.0,
        ge=0,
        description="Spread of the offset over converters, relative to the bound (or to 1).",
    )
    asymmetry: float = Field(
        default=0.0, ge=0, lt=1, description="Negative signals read weaker by this share."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ADC":
        if self.bits is not None and self.steps is not None:
            raise ValueError("give bits or steps, not both")
        if isinstance(self.bound, float) and self.bound <= 0:
            raise ValueError("bound must be above 0")
        for name, needs in {
            "levels": self.half_steps is not None,
            f"overflow: {self.overflow}": self.overflow != "saturate",
            "a transfer curve": self.transfer is not None,
        }.items():
            if needs and self.bound is None:
                raise ValueError(f"{name} need a bound, such as `bound: 10`")
        return self

    @property
    def half_steps(self) -> int | None:
        """Steps on each side of zero, or None for an ideal converter."""
        return half_steps(self.bits, self.steps)
