"""The pulsed update, written loop by loop from its sources.

Trains, update management and slot management: T. Gokmen and Y. Vlasov, Front. Neurosci. 10:333
(2016); T. Gokmen, O. M. Onen, W. Haensch, Front. Neurosci. 11:538 (2017); M. Rasch et al., AICAS
2021, arXiv 2104.02184 (IBM's aihwkit). Philox-4x32-10: J. Salmon et al., SC 2011.
"""

import math
from fractions import Fraction

import numpy as np

from .devices import Cell

WORD = 0xFFFFFFFF


def philox(counter, key):
    """Ten rounds on Python's integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return c0, c1, c2, c3


def box_muller(a, b):
    """Two normal numbers, from the upper 24 bits of one word and all of the other."""
    radius = math.sqrt(-2 * math.log(((a >> 8) + 0.5) / 2**24))
    return radius * math.cos(2 * math.pi * b / 2**32), radius * math.sin(2 * math.pi * b / 2**32)


def pulse_noise(i, j, count, step, key):
    """The normal number of a cell's pulse `count`."""
    words = philox((j, i, count // 4, step), key)
    return (*box_muller(*words[:2]), *box_muller(*words[2:]))[count % 4]


def train(probabilities, slots, first, step, key):
    """Bits (n, lines, slots): 24 random bits, as a fraction, are less than the probability.

    The four words of a counter go to four lines side by side.
    """
    n, lines = probabilities.shape
    bits = np.zeros((n, lines, max(slots)), int)
    for sample in range(n):
        for line in range(lines):
            chance = round(min(float(probabilities[sample, line]), 1.0) * 2**24)
            at, which = divmod(line, 4)
            for slot in range(slots[sample]):
                random = philox((at, first + sample, slot, step), key)[which]
                bits[sample, line, slot] = (random >> 8) < chance
    return bits


def words(bits):
    """The bits of trains (n, lines, slots), slot k with weight 2^k."""
    return (bits << np.arange(bits.shape[2])).sum(2)


def coincidences(bits_x, sign_x, bits_d, sign_d):
    """Pulses (n, out, rows) that raise and that lower: slots in which both lines have a bit."""
    n, rows, slots = bits_x.shape
    out = bits_d.shape[1]
    up, down = np.zeros((n, out, rows), int), np.zeros((n, out, rows), int)
    for sample in range(n):
        for i in range(out):
            for j in range(rows):
                for slot in range(slots):
                    if bits_x[sample, j, slot] and bits_d[sample, i, slot]:
                        raises = sign_x[sample, j] * sign_d[sample, i] < 0
                        (up if raises else down)[sample, i, j] += 1
    return up, down


def half_to_even(value: Fraction) -> int:
    return round(value)  # what Python does with fractions


def mean_counts(slots, p_x, p_d):
    """Coincidences (out, rows) of one sample, exact: round(c_x c_d / BL), c = round(BL p)."""
    counts = np.zeros((len(p_d), len(p_x)), int)
    for i, q in enumerate(p_d):
        for j, p in enumerate(p_x):
            c_x, c_d = half_to_even(slots * Fraction(p)), half_to_even(slots * Fraction(q))
            counts[i, j] = half_to_even(Fraction(c_x * c_d, slots))
    return counts


def implicit_counts(slots, p_x, p_d, levels=None):
    """Coincidences (out, rows) of one sample: round(BL p_x p_d), p in steps of 1 / levels."""

    def level(p):
        p = Fraction(p)
        return p if levels is None else Fraction(half_to_even(levels * p), levels)

    counts = np.zeros((len(p_d), len(p_x)), int)
    for i, q in enumerate(p_d):
        for j, p in enumerate(p_x):
            counts[i, j] = half_to_even(slots * level(p) * level(q))
    return counts


def managed(x, d, rate, granularity, desired, update_management=True, slot_management=True):
    """One sample's BL, p_x, p_d and kappa, in float64; probabilities may exceed 1."""
    big_x, big_d = max(abs(x)), max(abs(d))
    kappa = rate * big_x * big_d / granularity
    if big_x == 0 or big_d == 0:
        return 0, 0 * x, 0 * d, kappa
    slots = min(math.ceil(kappa), desired) if slot_management else desired
    gain_x = gain_d = math.sqrt(rate / (granularity * slots))
    if update_management:
        if kappa > desired:
            big_d = big_d * desired / kappa
        gain_d *= math.sqrt(big_x / big_d)
        gain_x *= math.sqrt(big_d / big_x)
    return slots, gain_x * abs(x), gain_d * abs(d), kappa


def drive(pulse, state, cells: Cell, up, down, step, key):
    """Move cells (out, rows) by counts (n, out, rows), sample by sample and pulse by pulse."""
    state = state.astype(float).copy()
    for i in range(state.shape[0]):
        for j in range(state.shape[1]):
            cell, count = Cell(*(values[i, j] for values in cells)), 0
            if cell.bmin == cell.bmax:  # stuck, where responses relative to the range do not exist
                continue
            for raised, lowered in zip(up[:, i, j], down[:, i, j], strict=True):
                for direction, number in ((True, raised), (False, lowered)):
                    for _ in range(number):
                        xi = pulse_noise(i, j, count, step, key)
                        state[i, j] = pulse(state[i, j], direction, cell, xi)
                        count += 1
    return state


def coincidence_covariance(slots, p_x, p_d):
    """Covariance of the coincidences of one sample, between all pairs of cells (i, j).

    With a bit of row j in slot k with chance p_j, and of column i with chance q_i, independent, the
    covariance of cells (i, j) and (i', j') is BL (E[a_j a_j'] E[b_i b_i'] - p_j q_i p_j' q_i').
    """
    out, rows = len(p_d), len(p_x)
    covariance = np.zeros((out * rows, out * rows))
    for i in range(out):
        for j in range(rows):
            for k in range(out):
                for m in range(rows):
                    bits_x = p_x[j] if j == m else p_x[j] * p_x[m]
                    bits_d = p_d[i] if i == k else p_d[i] * p_d[k]
                    mean = p_x[j] * p_d[i] * p_x[m] * p_d[k]
                    covariance[i * rows + j, k * rows + m] = slots * (bits_x * bits_d - mean)
    return covariance
