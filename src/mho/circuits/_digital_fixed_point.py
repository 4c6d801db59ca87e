"""The near-memory digital unit: an affine function of each column in integers."""

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..ops import differentiable, straight_through, times
from ._digital import Constants, Digital, Sums
from ._digital_format import FixedFormat

SINGLE = 2**23
"""Half of what single precision counts to, which leaves a bit for the half of rounding."""


class FixedPoint(Digital):
    """The near-memory digital unit: per column an affine function in integers.

        a = (O << (f - f_o)) + sum_k x_k S_k << (f - f_s),    f = max(f_s, f_o)
        y = step * saturate(relu(cut(round(cut(a)))))

    with codes x of the ADC, S = round(2^f_s s / step) unsigned, O = round(2^f_o o / step) signed,
    and one step for all outputs of a layer, which `mho.calibrate` finds from data as that with
    which the outputs of the digital model just fill the unit's output range. The accumulator is as
    wide as its sums need. Of its f fractional bits, `cut_before` are cut off, then all but
    `cut_after` are rounded away, and those are cut off as well, where cutting rounds down.

    The offset holds the bias, and what was calibrated for each column. Several arrays share that
    of an output: the sum is rounded once and dealt out evenly, O_k = floor((O + k) / K), which
    adds up to O again (Hermite's identity), so that each of the K units has a K-th to hold.

    With no cut, |y / step - clip(s x + o)| <= |x| / 2^(f_s+1) + 1 / 2^(f_o+1) + 1/2.

    Source: Ferro et al., 2024, arXiv 2402.07549 (scale (1, 7), offset (7, 1), truncation,
    rounding, ReLU), and the claims of US 2025/0355625 A1 (number of bits cut before and after
    rounding). Not known from there, and so our choice: the sign of the offset is one of its 7
    integer bits.
    """

    kind: Literal["fixed_point"] = "fixed_point"
    integers: ClassVar[bool] = True

    scale: FixedFormat = Field(
        default=FixedFormat(integer=1, fraction=7), description="Format of the unsigned scale."
    )
    offset: FixedFormat = Field(
        default=FixedFormat(integer=7, fraction=1),
        description="Format of the signed offset, in output steps.",
    )
    cut_before: int = Field(
        default=0, ge=0, le=16, strict=True,
        description="Bits of the accumulator cut off before rounding.",
    )  # fmt: skip
    cut_after: int = Field(
        default=0, ge=0, le=16, strict=True,
        description="Bits cut off after rounding, which is to as many bits after the point.",
    )  # fmt: skip
    rounding: Literal["nearest", "nearest_even", "truncate"] = Field(
        default="nearest",
        description="To the nearest, halves up or to even; or down, which is a cut of all bits.",
    )
    relu: bool = Field(default=False, description="Whether negative outputs become 0.")
    output_bits: int = Field(
        default=8, ge=2, le=16, strict=True, description="Bits of an output code."
    )
    output_signed: bool = Field(
        default=True,
        description="Whether output codes are in two's complement; otherwise they start at 0.",
    )

    step: Literal["outputs", "parameters"] = Field(
        default="outputs",
        description="What the output step is calibrated for: the `outputs` on the data; or, if "
        "that needs more, the nominal `parameters`, so that the largest scale and bias take at "
        "most 3/4 of their formats, which leaves a quarter to the corrections of a chip.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "FixedPoint":
        if self.cut_before + self.cut_after > self.point:
            raise ValueError(
                f"cut_before + cut_after = {self.cut_before + self.cut_after} bits cannot be cut: "
                f"the accumulator has {self.point} after the point"
            )
        return self

    @property
    def point(self) -> int:
        """Bits f of the accumulator after the point."""
        return max(self.scale.fraction, self.offset.fraction)

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest output code."""
        if not self.output_signed:
            return 0, 2**self.output_bits - 1
        half = 2 ** (self.output_bits - 1)
        return (0 if self.relu else -half), half - 1

    def affine(
        self, x: Tensor, constants: Constants, sums: Sums, beyond: list[Tensor] | None = None
    ) -> Tensor:
        """See `Digital.affine`; exact in integers, which are kept as floating-point numbers."""
        assert constants.step is not None
        factor, addend = self._codes(constants)
        factor = factor * 2.0 ** (self.point - self.scale.fraction)
        addend = addend * 2.0 ** (self.point - self.offset.fraction)
        if not self.accumulator(sums) < SINGLE:
            x = x.to(torch.float64)
        a = sums.total(times(x, sums.on_columns(factor.to(x.dtype))))
        return self.output(a + sums.on_outputs(addend.to(x.dtype)), beyond) * constants.step

    def accumulator(self, sums: Sums) -> float:
        """Return a bound of the accumulator's magnitude, a whole number of 2^-f output steps."""
        scale = self.scale.limits(signed=False)[1] * 2 ** (self.point - self.scale.fraction)
        offset = -self.offset.limits(signed=True)[0] * 2 ** (self.point - self.offset.fraction)
        return sums.arrays * (sums.largest * scale + offset)

    def output(self, a: Tensor, beyond: list[Tensor] | None = None) -> Tensor:
        """Return the output codes of an accumulator, whole numbers of 2^-f output steps.

        The gradient is straight through all roundings; it is 0 where an output is limited.
        """
        low, high = self.limits
        y = self._rounded(a.detach())
        if beyond is not None:  # below 0 is the activation
            beyond += [y > high, y < (low or -torch.inf)]
        limited = y.clamp(low, high)
        if not differentiable(a):
            return limited
        through = a * ((limited == y) * 2.0**-self.point)
        return straight_through(through, limited - through.detach())

    def fits(self, constants: Constants, arrays: int) -> tuple[Tensor, Tensor]:
        """Whether their codes are within the formats."""
        factor, addend = self._codes(constants)
        (_, most), (low, high) = self.scale.limits(False), self.offset.limits(True)
        return (
            (factor >= 0) & (factor <= most),
            (addend >= arrays * low) & (addend <= arrays * high),
        )

    def limited(self, y: Tensor, step: Tensor | None) -> Tensor:
        """See `Digital.limited`."""
        assert step is not None
        low, high = self.limits
        return torch.maximum(torch.minimum(y, high * step), low * step)

    def holds(self, step: Tensor | None, arrays: int) -> str:
        """See `Digital.holds`."""
        assert step is not None
        unit, most = float(step), self.scale.limits(False)[1] * 2.0**-self.scale.fraction
        low, high = (arrays * n * 2.0**-self.offset.fraction for n in self.offset.limits(True))
        return (
            f"at the output step {unit:.4g}, the scale's format {self.scale} holds 0 to "
            f"{most * unit:.4g} ({most:.4g} steps), the offset's {self.offset} {low * unit:.4g} to "
            f"{high * unit:.4g} ({low:g} to {high:g} steps on {arrays} arrays): give "
            "digital.scale or digital.offset more integer bits, use a smaller adc.bound, or let "
            "mho.calibrate widen the step, `digital.step: parameters`"
        )

    def _codes(self, constants: Constants) -> tuple[Tensor, Tensor]:
        """S of each column and O of each output."""
        scale, offset, step = constants
        assert step is not None
        return self.scale.code(scale / step), self.offset.code(offset / step)

    def _rounded(self, a: Tensor) -> Tensor:
        a = (a * 2.0**-self.cut_before).floor() if self.cut_before else a
        a = a * 2.0 ** (self.cut_before + self.cut_after - self.point)
        if self.rounding == "nearest":
            a = (a + 0.5).floor()
        else:
            a = a.round() if self.rounding == "nearest_even" else a.floor()
        return (a * 2.0**-self.cut_after).floor() if self.cut_after else a
