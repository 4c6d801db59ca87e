"""The near-memory digital unit in Python's integers, which have no width to overflow.

Written from the description of the datapath in Ferro et al., 2024 (arXiv 2402.07549), one
output at a time: multiply, align, add, cut, round, cut, activate, saturate.
"""

from collections.abc import Sequence


def fixed_point(
    codes: Sequence[int],
    scales: Sequence[int],
    offset: int,
    *,
    scale_fraction: int = 7,
    offset_fraction: int = 1,
    cut_before: int = 0,
    cut_after: int = 0,
    rounding: str = "nearest",
    relu: bool = False,
    bits: int = 8,
    signed: bool = True,
) -> int:
    """One output code from the ADC codes of its arrays, their scales, and the output's offset."""
    point = max(scale_fraction, offset_fraction)
    arrays = len(codes)
    accumulator = 0
    for k, (code, scale) in enumerate(zip(codes, scales, strict=True)):
        share = (offset + k) // arrays
        accumulator += (code * scale) << (point - scale_fraction)
        accumulator += share << (point - offset_fraction)
    accumulator >>= cut_before
    accumulator = rounded(accumulator, point - cut_before - cut_after, rounding)
    accumulator >>= cut_after
    if relu:
        accumulator = max(accumulator, 0)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return min(max(accumulator, low), high)


def rounded(value: int, shift: int, rounding: str) -> int:
    """value / 2^shift as an integer; Python shifts round down for negative numbers too."""
    if shift == 0 or rounding == "truncate":
        return value >> shift
    down, rest, half = value >> shift, value & ((1 << shift) - 1), 1 << (shift - 1)
    if rounding == "nearest":
        return down + (rest >= half)
    return down + (rest > half or (rest == half and down % 2 == 1))
