"""Analog to digital: bounds, levels, transfer curve, and the spread over converters."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..spec import Spec
from ._converter import Converter
from ._converter_ramp import SharedRamp
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
    bound: float | Literal["calibrated", "maximum", "granular"] | None = Field(
        default=None,
        description="Largest signal, in units of input range x weight scale, or for each column: "
        "`calibrated`, the largest one seen by mho.calibrate; `granular`, that one rounded up to "
        "the next of a few ranges; `maximum`, the largest one that its weights can make, "
        "sum_j |w_j|. None does not saturate.",
    )
    granule: float = Field(
        default=1.0, gt=0, description="Unit of `granular` bounds, in range x scale."
    )
    granules: Literal["powers_of_two", "multiples"] = Field(
        default="powers_of_two",
        description="`granular` bounds are 2^k granules for any whole k, or 1, 2, 3... of them.",
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
    converter: Converter | None = Field(
        default=None,
        description="Architecture of the converters with its errors. None: ideal thresholds.",
    )
    columns_per_converter: int = Field(
        default=1,
        ge=1,
        strict=True,
        description="Neighboring columns of an array that share a converter, and so its curve, "
        "gain, offset and thresholds.",
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
        if self.converter is not None:
            self._check_converter(self.converter)
        return self

    def _check_converter(self, converter: Converter) -> None:
        kind = converter.kind
        if self.half_steps is None:
            raise ValueError(f"a {kind} converter needs levels: give bits or steps, and a bound")
        if self.rounding != "nearest":
            raise ValueError(f"a {kind} converter has its own way to a code: leave out rounding")
        converter.check(self.half_steps)
        ramps = converter.columns_per_ramp if isinstance(converter, SharedRamp) else None
        if ramps is not None and ramps % self.columns_per_converter:
            raise ValueError(
                f"columns_per_ramp {ramps} must be a multiple of columns_per_converter "
                f"{self.columns_per_converter}: a converter watches one ramp"
            )

    @property
    def half_steps(self) -> int | None:
        """Steps on each side of zero, or None for an ideal converter."""
        return half_steps(self.bits, self.steps)

    @property
    def bound_from_data(self) -> bool:
        """Whether only data can tell the bound of each column."""
        return self.bound in ("calibrated", "granular")

    @property
    def bound_per_column(self) -> bool:
        """Whether each column has a bound of its own."""
        return isinstance(self.bound, str)

    def on_granules(self, peaks: Tensor) -> Tensor:
        """Return the bounds for the largest signals seen: themselves, unless they are granular.

        The smallest granular bound that covers the signal, granule 2^k or granule k.
        """
        if self.bound != "granular":
            return peaks
        counts = peaks / self.granule
        if self.granules == "multiples":
            return self.granule * counts.ceil().clamp(min=1)
        return self.granule * torch.exp2(counts.log2().ceil())
