"""Functions of single precision that numba turns into vector instructions, as libm's it cannot."""

# Intrinsics take their compiler's context by themselves, which a type checker cannot know.
# pyright: reportCallIssue=false

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F = np.float32
ONE, HALF, QUARTER = F(1), F(0.5), F(0.25)
ROOT, LN2, TURN = F(np.sqrt(2)), F(np.log(2)), F(2 * np.pi)
# S. L. Moshier, Cephes Mathematical Library, logf: log(1 + x) = x - x^2 / 2 + x^3 P(x) for
# sqrt(1/2) - 1 < x < sqrt(2) - 1, relative error below 1e-7.
LOG = tuple(
    F(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
# Taylor's series of the sine to x^11; at the end of its range, pi / 2, its error is 6e-8.
SINE = tuple(F(c) for c in (-1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6))


@intrinsic
def as_float(context, word):
    """Read the bits of an integer as a float."""
    return types.float32(types.int32), lambda ctx, builder, sig, args: builder.bitcast(
        args[0], ir.FloatType()
    )


@intrinsic
def as_int(context, value):
    """Read the bits of a float as an integer."""
    return types.int32(types.float32), lambda ctx, builder, sig, args: builder.bitcast(
        args[0], ir.IntType(32)
    )


@intrinsic
def ones(context, word):
    """Count the ones of a word."""
    return types.int32(types.int32), lambda ctx, builder, sig, args: builder.ctpop(args[0])


@njit(inline="always")
def logarithm(value):
    """Natural logarithm of a normal positive float."""
    bits = as_int(value)
    exponent = F(np.int32((bits >> 23) - 127))  # of 64 bits, it would halve the speed
    mantissa = as_float(np.int32((bits & 0x7FFFFF) | 0x3F800000))
    high = mantissa > ROOT
    mantissa = mantissa * HALF if high else mantissa
    exponent = exponent + ONE if high else exponent
    x = mantissa - ONE
    z = x * x
    p = LOG[0]
    p = p * x + LOG[1]
    p = p * x + LOG[2]
    p = p * x + LOG[3]
    p = p * x + LOG[4]
    p = p * x + LOG[5]
    p = p * x + LOG[6]
    p = p * x + LOG[7]
    p = p * x + LOG[8]
    return p * x * z - HALF * z + x + exponent * LN2


@njit(inline="always")
def sine(turns):
    """Sine of a quarter turn at most, either way."""
    x = TURN * turns
    z = x * x
    return x + x * z * ((((SINE[0] * z + SINE[1]) * z + SINE[2]) * z + SINE[3]) * z + SINE[4])


@njit(inline="always")
def normal_pair(a, b):
    """`_philox.normal_pair` of two words: standard normal numbers in single precision."""
    radius = np.sqrt(F(-2) * logarithm((F(a >> 8) + HALF) * F(2**-24)))
    turns = F(np.int32(b)) * F(2**-32)  # from -1/2 to 1/2
    folded = turns if abs(turns) <= QUARTER else (HALF if turns > 0 else -HALF) - turns
    return radius * sine(QUARTER - abs(turns)), radius * sine(folded)
