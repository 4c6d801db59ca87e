"""Digital to analog: ranges, levels, and the spread over converters."""

from typing import Literal

from pydantic import Field, model_validator

from ..spec import Spec
from ._range import Range
from ._scheme import OnePass, Scheme


def half_steps(bits: int | None, steps: int | None) -> int | None:
    """Steps on each side of zero: 2^(bits-1) - 1, or half of `steps`; None without levels.

    The two levels of 1 bit, none of which is zero, are 1 on each side.
    """
    if steps is not None:
        return steps // 2
    if bits == 1:
        return 1
    return None if bits is None else 2 ** (bits - 1) - 1


class DAC(Spec):
    """The converters that drive the rows."""

    bits: int | None = Field(
        default=None, ge=1, le=16, strict=True,
        description="Resolution; 2^bits - 2 steps with a level at zero, or the two levels of the "
        "sign for 1 (plus for 0, also in the padding of convolutions). None is ideal.",
    )  # fmt: skip
    steps: int | None = Field(
        default=None, ge=2, multiple_of=2, strict=True,
        description="Steps over the whole range, instead of bits.",
    )  # fmt: skip
    range: Range | None = Field(
        default=None,
        description="Rule for the input driven at full scale. None neither clips nor scales.",
    )
    rounding: Literal["nearest", "stochastic"] = Field(
        default="nearest", description="Rounding to levels."
    )
    scheme: Scheme = Field(default=OnePass(), description="Phases in which an input is applied.")
    gain_spread: float = Field(
        default=0.0, ge=0, description="Relative spread of the gain over row drivers."
    )
    offset_spread: float = Field(
        default=0.0,
        ge=0,
        description="Spread of the offset over row drivers, relative to full scale.",
    )
    asymmetry: float = Field(
        default=0.0, ge=0, lt=1, description="Negative inputs are driven weaker by this share."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "DAC":
        if self.bits is not None and self.steps is not None:
            raise ValueError("give bits or steps, not both")
        if self.half_steps is not None and self.range is None:
            raise ValueError(
                "levels need a range, such as `range: calibrated` or {kind: fixed, value: 1}"
            )
        if self.bits == 1 and self.rounding != "nearest":
            raise ValueError("the sign of an input is not rounded: leave out rounding")
        name = self.scheme.kind.replace("_", "-")  # pyright: ignore[reportAttributeAccessIssue]
        if self.scheme.needs_levels and self.half_steps is None:
            raise ValueError(f"a {name} input needs bits or steps")
        if self.scheme.kind == "pulse_width" and self.offset_spread:  # pyright: ignore
            raise ValueError("pulses of one amplitude have no offset: leave out offset_spread")
        return self

    @property
    def half_steps(self) -> int | None:
        """Steps on each side of zero, or None for an ideal converter."""
        return half_steps(self.bits, self.steps)
