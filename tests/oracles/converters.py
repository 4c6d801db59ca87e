"""Converters one signal at a time, from their definitions, in float64.

Signals z are in steps with the level of code 0 at 0; codes go from -half to half.
"""

import math


def counted(z: float, thresholds, half: int) -> int:
    """The number of thresholds below the signal; the lowest code belongs to none."""
    below = sum(1 for t in thresholds if t < z)
    return _within(below - (len(thresholds) - half), half)


def successive(z: float, weights, half: int) -> int:
    """Trial of every bit, the largest first, against the sum of those kept so far."""
    bits, kept = len(weights), []
    signal = z + 2 ** (bits - 1) + 0.5
    for k in range(bits - 1, -1, -1):
        if signal >= sum(weights[j] for j in kept) + weights[k]:
            kept.append(k)
    return _within(sum(2**k for k in kept) - 2 ** (bits - 1), half)


def staged(z: float, gains, offsets, half: int) -> int:
    """Stages of 1.5 bits; offsets are pairs (low, high), one more than gains."""
    stages = len(gains)
    residue, digits = z / 2**stages, []
    for gain, (low, high) in zip(gains, offsets[:-1], strict=True):
        digit = 1 if residue > 0.25 + high else -1 if residue < -0.25 + low else 0
        residue = gain * (2 * residue - digit)
        digits.append(digit)
    low, high = offsets[-1]
    code = 1 if residue > 0.5 + high else -1 if residue < -0.5 + low else 0
    code += sum(digit * 2 ** (stages - 1 - k) for k, digit in enumerate(digits))
    return _within(code, half)


def cycles(z: float, half: int, polarity: str) -> int:
    """Whole cycles of an oscillator that starts at phase 0."""
    if polarity == "offset":
        return _within(math.floor(max(z + half, 0)) - half, half)
    return _within(int(math.copysign(math.floor(abs(z)), z)), half)


def _within(code: int, half: int) -> int:
    return max(-half, min(half, code))
