"""Philox-4x32-10: random words that are a function of a counter and a key, on any device.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Counter and key
are 32-bit numbers kept in 64-bit integers, so that one text serves NumPy, torch and numba: a
product of two of them wraps to the right low 64 bits whether or not the integers have a sign.
"""

from ._words import cos, log, sqrt


def philox_round(c0, c1, c2, c3, k0, k1):
    """Multiply twice, exchange the halves, and mix with the key."""
    p0 = 0xD2511F53 * c0
    p1 = 0xCD9E8D57 * c2
    high0, high1 = (p0 >> 32) & 0xFFFFFFFF, (p1 >> 32) & 0xFFFFFFFF
    return high1 ^ c1 ^ k0, p1 & 0xFFFFFFFF, high0 ^ c3 ^ k1, p0 & 0xFFFFFFFF


def philox(c0, c1, c2, c3, k0, k1):
    """Return four random words of 32 bits for a counter (c0, c1, c2, c3) and a key (k0, k1).

    The rounds are written out: compilers turn them into vector instructions only without a loop.
    """
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    return c0, c1, c2, c3


def normal_pair(a, b):
    """Return two standard normal numbers from two words of 32 bits (Box and Muller, 1958).

    The radius uses 24 bits, the middle of their interval, so that it is finite: it reaches 5.9.
    """
    radius = sqrt(-2.0 * log(((a >> 8) + 0.5) * 5.9604644775390625e-08))
    angle = b * 1.4629180792671596e-09  # 2 pi / 2^32
    return radius * cos(angle), radius * cos(angle - 1.5707963267948966)
