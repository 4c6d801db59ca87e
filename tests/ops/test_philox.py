"""Random words and normal numbers: known answers, the same in all backends, the right law."""

import math

import numpy as np
import pytest
import torch

from mho.ops import _coincidences as tensors
from mho.ops import normals
from mho.ops._philox import normal_pair, philox
from oracles import pulses as oracle

# D. E. Shaw Research, Random123, kat_vectors: counter, key, words.
KNOWN = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
CPU = torch.device("cpu")
KEY = (0xFEDCBA98, 0x01234567)


def numbers(text):
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    counter, key, expected = map(numbers, (counter, key, expected))
    assert oracle.philox(counter, key) == expected
    assert philox(*counter, *key) == expected  # the text itself, on Python's integers
    for kind in (np.int64, np.uint64):
        words = philox(*(np.array([c], kind) for c in counter), *(kind(k) for k in key))
        assert tuple(int(w[0]) for w in words) == expected
    words = philox(*(torch.tensor([c]) for c in counter), *key)
    assert tuple(int(w) for w in words) == expected


def test_numpy_and_torch_agree_with_the_literal_rounds():
    rng = np.random.default_rng(1)
    counters = rng.integers(0, 2**32, (200, 4))
    expected = [oracle.philox(tuple(map(int, c)), KEY) for c in counters]
    by_numpy = np.stack(philox(*counters.T, *KEY), 1)
    by_torch = torch.stack(philox(*torch.from_numpy(counters).T, *KEY), 1)
    assert np.array_equal(by_numpy, np.array(expected))
    assert np.array_equal(by_torch.numpy(), np.array(expected))


def test_normal_pair_is_that_of_box_and_muller():
    """The text in double precision; ends of the words and at random."""
    rng = np.random.default_rng(2)
    ends = [(0, 0), (2**32 - 1, 2**32 - 1), (0, 2**31), (2**32 - 1, 2**30), (255, 3 * 2**30)]
    for a, b in ends + rng.integers(0, 2**32, (200, 2)).tolist():
        got = normal_pair(np.int64(a), np.int64(b))
        # The literal 2^-24 is exact, and pi / 2 is rounded once more.
        np.testing.assert_allclose(got, oracle.box_muller(a, b), rtol=0, atol=4e-15)
    assert normal_pair(np.int64(0), np.int64(0))[0] == pytest.approx(math.sqrt(50 * math.log(2)))


def test_kernel_normals_are_the_text_in_single_precision():
    """Numba's vector arithmetic and torch: within four roundings of the largest number."""
    got = normals((7, 30), 3, 5, KEY, CPU, first=11).numpy()
    other = tensors._normals((7, 30), 3, 5, KEY, CPU, first=11).numpy()
    expected = np.empty((7, 32))
    for i in range(7):
        for j in range(8):
            words = oracle.philox((j, 11 + i, 3, 5), KEY)
            pairs = (*oracle.box_muller(*words[:2]), *oracle.box_muller(*words[2:]))
            expected[i, j::8] = pairs
    close = 4 * np.finfo(np.float32).eps * np.abs(expected[:, :30]).max()
    assert np.abs(got - expected[:, :30]).max() <= close
    assert np.abs(other - expected[:, :30]).max() <= close


def test_normals_may_be_drawn_in_parts():
    whole = normals((20, 13), 0, 4, KEY, CPU)
    parts = [normals((n, 13), 0, 4, KEY, CPU, first=at) for at, n in ((0, 7), (7, 1), (8, 12))]
    assert torch.equal(whole, torch.cat(parts))


def test_normals_have_the_right_law():
    """Moments, tails and independence of neighbors within five standard errors."""
    n = 1_000_000
    xi = normals((1000, 1000), 0, 1, KEY, CPU).double().flatten()
    # Radii end at 5.89: the part of the second moment beyond is below 1e-7.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((xi**power).mean()) - moment) < 5 * math.sqrt(variance / n)
    for at in (1.0, 2.0, 3.0, 4.0):
        tail = math.erfc(at / math.sqrt(2))
        share = float((xi.abs() > at).double().mean())
        assert abs(share - tail) < 5 * math.sqrt(tail * (1 - tail) / n)
    for lag in (1, 250, 500, 1000):
        assert abs(float((xi[lag:] * xi[:-lag]).mean())) < 5 / math.sqrt(n - lag)


def test_draws_steps_and_keys_differ():
    base = normals((1, 4000), 0, 0, KEY, CPU)
    others = [
        normals((1, 4000), 1, 0, KEY, CPU),
        normals((1, 4000), 0, 1, KEY, CPU),
        normals((1, 4000), 0, 0, (KEY[0] ^ 1, KEY[1]), CPU),
        normals((1, 4000), 0, 0, KEY, CPU, first=1),
    ]
    for other in others:
        assert abs(float((base * other).mean())) < 5 / math.sqrt(4000)


def test_threads_do_not_matter():
    one = normals((37, 50), 0, 1, KEY, CPU)
    torch.set_num_threads(3)
    try:
        assert torch.equal(one, normals((37, 50), 0, 1, KEY, CPU))
    finally:
        torch.set_num_threads(1)
