"""Trains and their coincidences against literal loops, in the compiled and in the tensor form."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from mho.ops import (
    SLOTS,
    Trains,
    add_coincidences,
    add_rounded_products,
    bernoulli_words,
    train_plan,
)
from mho.ops import _coincidences as tensors
from mho.ops._formula import twin
from mho.ops._train_plan import train_plan as formula
from oracles import pulses as oracle

KEY = (0x9ABCDEF0, 7)
N, ROWS, OUT = 6, 9, 5
# The compiled form, for the CPU, and the one of tensors, for any device.
WORDS = [bernoulli_words, tensors._bernoulli_words]
COUNTS = [add_coincidences, tensors._add_coincidences]
PRODUCTS = [add_rounded_products, tensors._add_rounded_products]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_trains(n=N, rows=ROWS, out=OUT, seed=0):
    g = generator(seed)
    x, d = (torch.randint(0, 2**31 - 1, (n, k), generator=g).int() for k in (rows, out))
    x_up, d_up = (torch.rand(n, k, generator=g) < 0.5 for k in (rows, out))
    return Trains(x, x_up, d, d_up)


def bits(words):
    return (words.numpy()[:, :, None] >> np.arange(SLOTS)) & 1


def counts(form, trains):
    up = torch.zeros(trains.d.shape[1], trains.x.shape[1], dtype=torch.int32)
    down = torch.zeros_like(up)
    form(trains, up, down)
    return up, down


@pytest.mark.parametrize("by_need", [True, False])
@pytest.mark.parametrize("managed", [True, False])
def test_plans_of_trains_are_the_formula_in_double_precision(managed, by_need):
    """Compiled and on tensors, within eight roundings; lengths are whole; zeros have none."""
    x, d = (torch.rand(5000, generator=generator(k)) ** 4 for k in (3, 4))
    x[7], d[8] = 0.0, 0.0
    how = {"by_need": by_need, "managed": managed}
    got = train_plan(x, d, 0.3, 0.002, 31, **how)
    on_tensors = twin(formula, "torch")(x, d, 0.3, 0.002, 31.0, by_need, managed)
    expected = formula(x.double().numpy(), d.double().numpy(), 0.3, 0.002, 31.0, by_need, managed)
    for name, one, other, exact in zip("xdno", got, on_tensors, expected, strict=True):
        if name == "n":
            # Rounding puts kappa <= 31 beyond a whole number in 31 x 4 eps: 0.07 of 5000 samples.
            assert (one.numpy() != exact).sum() + (other.numpy() != exact).sum() <= 4
            assert one[7] == one[8] == other[7] == other[8] == 0
            continue
        same = (got[2].numpy() == expected[2]) & (on_tensors[2].numpy() == expected[2])
        for values in (one, other):
            np.testing.assert_allclose(values.numpy()[same], exact[same], rtol=1e-6)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("by_need", [True, False])
def test_plans_of_samples_that_are_not_finite_are_no_numbers(value, managed, by_need):
    x = torch.tensor([1.0, value, 0.0])
    for other in (torch.tensor([0.5, 0.5, value]), torch.tensor([0.5, 0.0, 1.0])):
        last = not math.isfinite(float(other[2]))
        for pair in ((x, other), (other, x)):
            how = {"by_need": by_need, "managed": managed}
            overfull = train_plan(*pair, 0.3, 0.002, 31, **how)[3]
            on_tensors = twin(formula, "torch")(*pair, 0.3, 0.002, 31.0, by_need, managed)[3]
            for found in (overfull, on_tensors):
                assert found.isfinite().tolist() == [True, False, not last]


@pytest.mark.parametrize("form", WORDS)
def test_words_are_comparisons_of_24_random_bits(form):
    """Chances of 0 and 1, signs, probabilities above 1, and all numbers of slots."""
    g = generator()
    values = torch.randn(N, ROWS, generator=g)
    values[0, :3] = torch.tensor([0.0, 1.0, -1.0])
    gains = torch.tensor([1.0, 0.3, 2.0, 0.01, 0.5, 1.0])
    slots = torch.tensor([31, 1, 4, 5, 0, 30], dtype=torch.int32)
    words = form(values, gains, slots, 40, 3, KEY)
    assert words.dtype == torch.int32
    # Products of float32 as the library forms them; the scale 2^24 is exact.
    probabilities = (values.abs() * gains[:, None]).double().numpy()
    expected = oracle.train(probabilities, slots.tolist(), 40, 3, KEY)
    assert np.array_equal(words.numpy(), oracle.words(expected))
    assert int(words[0, 0]) == 0
    assert int(words[0, 1]) == int(words[0, 2]) == 2**31 - 1


def test_both_forms_draw_the_same_words():
    values, gains = torch.randn(50, 33, generator=generator(1)), torch.full((50,), 0.4)
    slots = torch.arange(50, dtype=torch.int32) % 32
    one, other = (form(values, gains, slots, 0, 1, KEY) for form in WORDS)
    assert torch.equal(one, other)
    assert WORDS[1](values[:0], gains[:0], slots[:0], 0, 1, KEY).shape == (0, 33)


def test_bits_have_their_probability_and_are_independent():
    """Of slots, lines and samples, within five standard errors."""
    n, p = 20_000, 0.3
    slots = torch.full((n,), SLOTS, dtype=torch.int32)
    words = bernoulli_words(torch.full((n, 4), p), torch.ones(n), slots, 0, 0, KEY)
    deviations = bits(words) - p  # (n, lines, slots)
    error = math.sqrt(p * (1 - p) / n)
    assert np.abs(deviations.mean(0)).max() < 5 * error
    flat = deviations.reshape(n, -1)
    covariance = flat.T @ flat / n
    off = covariance - np.diag(np.diag(covariance))
    assert np.abs(off).max() < 5 * p * (1 - p) / math.sqrt(n)
    assert np.abs((flat[1:] * flat[:-1]).mean(0)).max() < 5 * p * (1 - p) / math.sqrt(n - 1)


@pytest.mark.parametrize("form", COUNTS)
def test_coincidences_are_slots_in_which_bits_meet(form):
    trains = random_trains()
    up, down = counts(form, trains)
    sign_x, sign_d = (np.where(f.numpy(), 1, -1) for f in (trains.x_up, trains.d_up))
    # Flags are equal where a pulse raises; the oracle's signs are those of x and d.
    expected = oracle.coincidences(bits(trains.x), sign_x, bits(trains.d), -sign_d)
    assert np.array_equal(up.numpy(), expected[0].sum(0))
    assert np.array_equal(down.numpy(), expected[1].sum(0))


def test_coincidences_add_and_forms_agree():
    trains = random_trains(n=200, rows=40, out=30, seed=2)
    (up, down), other = counts(COUNTS[0], trains), counts(COUNTS[1], trains)
    assert torch.equal(up, other[0])
    assert torch.equal(down, other[1])
    again = up.clone(), down.clone()
    add_coincidences(trains, *again)
    assert torch.equal(again[0], 2 * up)
    assert torch.equal(again[1], 2 * down)


def test_threads_and_parts_do_not_matter():
    values, gains = torch.rand(40, 20, generator=generator(3)), torch.full((40,), 0.5)
    slots = torch.full((40,), 31, dtype=torch.int32)
    whole = bernoulli_words(values, gains, slots, 0, 5, KEY)
    parts = [
        bernoulli_words(values[a:b], gains[a:b], slots[a:b], a, 5, KEY)
        for a, b in ((0, 7), (7, 40))
    ]
    assert torch.equal(whole, torch.cat(parts))
    trains = random_trains(n=40, rows=20, out=23)
    one = counts(add_coincidences, trains)
    torch.set_num_threads(3)
    try:
        assert torch.equal(whole, bernoulli_words(values, gains, slots, 0, 5, KEY))
        three = counts(add_coincidences, trains)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize("form", PRODUCTS)
def test_rounded_products_go_to_the_even_number(form):
    """Multiples of 1/8 are exact, and so are the ties among their products with 16 slots."""
    g = generator(4)
    eighths = [torch.randint(0, 9, (N, k), generator=g) / 8 for k in (ROWS, OUT)]
    flags = [torch.rand(N, k, generator=g) < 0.5 for k in (ROWS, OUT)]
    slots = torch.tensor([16.0, 8.0, 4.0, 2.0, 1.0, 0.0])
    up = torch.zeros(OUT, ROWS, dtype=torch.int32)
    down = torch.zeros_like(up)
    form(Trains(eighths[0], flags[0], eighths[1], flags[1]), slots, up, down)
    expected = np.zeros((2, OUT, ROWS), int)
    ties = 0
    for b in range(N):
        p_x, p_d = (p[b].double().numpy() for p in eighths)
        number = oracle.implicit_counts(int(slots[b]), p_x, p_d)
        rises = flags[0][b].numpy() == flags[1][b].numpy()[:, None]
        expected += np.stack((number * rises, number * ~rises))
        exact = int(slots[b]) * np.outer(p_d, p_x)
        ties += int((exact % 1 == 0.5).sum())
    assert ties > 10
    assert np.array_equal(up.numpy(), expected[0])
    assert np.array_equal(down.numpy(), expected[1])


def test_half_to_even_is_what_the_oracle_means():
    assert [oracle.half_to_even(Fraction(k, 2)) for k in (1, 3, 5, -1)] == [0, 2, 2, 0]
