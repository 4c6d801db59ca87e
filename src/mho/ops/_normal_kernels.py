"""Standard normal numbers by the million: numba kernels for noise that is drawn for every product.

Side by side run LANES generators xoshiro128++ (Blackman and Vigna, ACM Trans. Math. Softw. 47:36,
2021), which compilers turn into vector instructions. The 128 bits of each come from Philox, with
the number of the CHUNK of signals that they serve as its counter: the numbers do not depend on how
many threads share the chunks.
"""

# The compiled pair of numbers is more than a type checker can see.
# pyright: reportGeneralTypeIssues=false

from functools import partial

import numpy as np

from ._kept import kept
from ._kernels import philox
from ._vector_math import normal_pair

LANES = 64
BLOCK = 1024  # numbers, of which memory close to the core holds several times as many
CHUNK = 16 * BLOCK
STATE, WORDS = (4, LANES), (BLOCK // LANES, LANES)
U = np.uint32


@kept
def seed_lanes(state, chunk, key0, key1):
    """Set a STATE for a chunk."""
    for lane in range(LANES):
        r0, r1, r2, r3 = philox(lane, chunk, 0, 0, key0, key1)
        state[0, lane] = r0
        state[1, lane] = r1
        state[2, lane] = r2
        state[3, lane] = r3


@kept
def next_words(state, words):
    """Fill lines of words (n, LANES) with 32 bits each, one step for each line."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for step in range(len(words)):
        line = words[step]
        for k in range(LANES):
            a, b, c, d = s0[k], s1[k], s2[k], s3[k]
            total = U(a + d)
            line[k] = U(U(total << U(7) | total >> U(25)) + a)
            c, d = U(c ^ a), U(d ^ b)
            s1[k], s0[k] = U(b ^ c), U(a ^ d)
            s2[k] = U(c ^ U(b << U(9)))
            s3[k] = U(d << U(11) | d >> U(21))


# A product and a sum may become one instruction: it makes the series shorter and no less exact.
@partial(kept, fastmath={"contract"})
def to_normals(words, block):
    """Turn lines of WORDS into a block (BLOCK,) of normal numbers, two by two."""
    for line in range(0, len(words), 2):
        radius, angle, at = words[line], words[line + 1], line * LANES
        first, second = block[at : at + LANES], block[at + LANES : at + 2 * LANES]
        for k in range(LANES):
            first[k], second[k] = normal_pair(radius[k], angle[k])


@kept
def fill_block(state, words, block):
    """Fill a block (BLOCK,) with normal numbers."""
    next_words(state, words)
    to_normals(words, block)


@kept
def fill(start, stop, values, keys):
    """Fill the chunks `start` to `stop` of values (n,)."""
    state, words = np.empty(STATE, np.uint32), np.empty(WORDS, np.uint32)
    last = np.empty(BLOCK, np.float32)
    for chunk in range(start, stop):
        seed_lanes(state, chunk, keys[0], keys[1])
        for at in range(chunk * CHUNK, min((chunk + 1) * CHUNK, values.size), BLOCK):
            block = values[at : at + BLOCK]
            if block.size == BLOCK:
                fill_block(state, words, block)
            else:
                fill_block(state, words, last)
                block[:] = last[: block.size]
