"""Kernels that pass once over memory compute what torch's operators compute in many passes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mho.ops import (
    _one_pass,
    _threads,
    converted_codes,
    row_peaks,
    settled_limits,
    standard_normal_like,
    with_noise,
)
from mho.ops._driving import drive_gradients, drive_in_one_pass
from mho.ops._threads import over_rows
from mho.tiles._range import drive


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LAYOUTS = {
    "dense": ((40, 33), (33,)),
    "arrays": ((3, 20, 33), (3, 1, 33)),
    "convolution": ((5, 6, 7, 9), (6, 1, 1)),
    "each": ((40, 33), (40, 33)),
    "one": ((50, 33), ()),
    "by vector": ((3, 20, 33), (3, 20, 1)),
}


@pytest.fixture
def by_operators(monkeypatch):
    """Return a function that computes without kernels."""

    def call(function, *args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(_one_pass, "SMALL", 10**9)
            return function(*args, **kwargs)

    return call


# ---- converters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("limit", [2.0, math.inf])
@pytest.mark.parametrize("rounding", ["nearest", None])
def test_codes_and_gradients_are_those_of_operators(layout, limit, rounding, by_operators):
    shape, parameter = LAYOUTS[layout]
    gain, offset, after = (seeded(*parameter, seed=k) for k in (1, 2, 3))
    signals = 3 * seeded(*shape)
    signals.view(-1)[:3] = torch.tensor([math.nan, math.inf, -math.inf])
    options = {"offset": offset, "after": after, "limit": limit, "rounding": rounding}
    grad = seeded(*shape, seed=4)

    def run(differentiable: bool) -> tuple[Tensor, Tensor | None]:
        x = signals.clone().requires_grad_(differentiable)
        y = converted_codes(x, gain, **options)
        if differentiable:
            y.backward(grad)
        return y.detach(), x.grad

    for differentiable in (False, True):
        y, of_x = run(differentiable)
        expected, of_expected = by_operators(run, differentiable)
        assert torch.equal(y.isnan(), expected.isnan())
        assert torch.equal(y.nan_to_num(), expected.nan_to_num())
        if of_x is not None and of_expected is not None:
            assert torch.equal(of_x, of_expected)


def test_noise_is_added_before_the_limit_with_each_columns_spread():
    """Mean and standard deviation of each column, and what is clipped; n = 40000 a column."""
    n, spread = 40_000, torch.tensor([0.5, 1.0, 2.0])
    torch.manual_seed(0)
    x = torch.full((n, 3), 0.25)
    y = converted_codes(x.clone(), torch.tensor(2.0), spread=spread, after=torch.ones(()))
    assert ((y.mean(0) - 0.5).abs() < 5 * spread / n**0.5).all()
    assert ((y.std(0) / spread - 1).abs() < 5 / (2 * n) ** 0.5).all()
    x = x.requires_grad_()
    y = converted_codes(x, torch.tensor(2.0), spread=spread, after=torch.ones(()), limit=1.0)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y.abs() == 1)
    assert torch.equal(x.grad != 0, x.grad == 2)


def test_a_spare_product_becomes_the_codes_in_its_place():
    """The gradients of a product are those of codes in new memory; leaves and views are kept."""
    v, weight, after = seeded(60, 30), seeded(33, 30, seed=1), seeded(33, seed=2)

    def run(spare: bool) -> tuple[bool, list[Tensor | None]]:
        w = weight.clone().requires_grad_()
        y = torch.nn.functional.linear(v, w)
        place = y.data_ptr()
        codes = converted_codes(
            y, torch.tensor(3.0), after=after, limit=4.0, rounding="nearest", spare=spare
        )
        codes.square().sum().backward()
        return codes.data_ptr() == place, [codes.detach(), w.grad]

    (reused, found), (kept, expected) = run(spare=True), run(spare=False)
    assert (reused, kept) == (True, False)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))  # pyright: ignore[reportArgumentType]
    leaf = seeded(60, 33).requires_grad_()
    for x in (leaf, (leaf * 2).view(33, 60)):
        before = x.detach().clone()
        converted_codes(x, torch.tensor(3.0), after=torch.ones(()), limit=4.0, spare=True).sum()
        assert torch.equal(x.detach(), before)


# ---- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [(300, 1), (1, 400), (300, 400), ()])
def test_weights_get_the_noise_that_is_drawn_for_them(spread):
    """What `standard_normal_like` draws from the same state, times the spread, in one pass."""
    w, std = seeded(300, 400).requires_grad_(), seeded(*spread, seed=1).abs()
    torch.manual_seed(5)
    noisy = with_noise(w, std)
    torch.manual_seed(5)
    assert torch.equal(noisy.detach(), w.detach() + standard_normal_like(w.detach()) * std)
    noisy.backward(torch.ones_like(w))
    assert w.grad is not None
    assert bool((w.grad == 1).all())


LIMITED = {
    "normal": seeded(40, 300),
    "long tails": seeded(40, 300).pow(3),
    "one": seeded(1, 70_000, seed=3) * 0.02,
    "nearly all zero": seeded(20, 200) * (torch.arange(200) % 67 == 0),
    "zeros": torch.zeros(20, 200),
    "alike": torch.full((20, 200), 0.3),
    "not a number": torch.cat([seeded(9, 200), torch.full((1, 200), math.nan)]),
    "infinite": torch.cat([seeded(9, 200), torch.full((1, 200), math.inf)]),
}


@pytest.mark.parametrize("sigma", [1.2, 2.5])
@pytest.mark.parametrize("rows", LIMITED.values(), ids=LIMITED)
def test_limits_settle_as_by_operators(rows, sigma, by_operators):
    """Sums of up to 70000 floats in two orders; weights that diverged end it too, unclipped."""
    found, expected = settled_limits(rows, sigma), by_operators(settled_limits, rows, sigma)
    assert found.shape == expected.shape == (len(rows), 1)
    assert torch.allclose(found, expected, rtol=1e-5, atol=0)
    assert bool((found > 0).all())


@pytest.mark.parametrize("sigma", [1.5, 2.5])
def test_limits_are_multiples_of_the_deviation_within_them(sigma):
    rows = seeded(50, 400, seed=4)
    limits = settled_limits(rows, sigma)
    within = sigma * rows.double().clamp(-limits, limits).std(1, keepdim=True)
    assert (within / limits - 1).abs().max() < 2e-4


# ---- normal numbers ------------------------------------------------------------------------------


def test_numbers_are_standard_normal():
    """Moments, correlations and quantiles of 4 million numbers; 5 standard errors each."""
    torch.manual_seed(1)
    n = 1 << 22
    z = standard_normal_like(torch.empty(n)).double()
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(z.pow(power).mean() - mean) < 5 * (variance / n) ** 0.5, power
    # Neighbors, the pair of one radius, the lanes of the next step, and the next chunk.
    for distance in (1, 63, 64, 128, 1024, 16 * 1024):
        for a, b in ((z, z), (z.square() - 1, z.square() - 1)):
            product = a[:-distance] * b[distance:]
            assert abs(product.mean()) < 5 * product.std() / n**0.5, distance
    for bound in (0.1, 1.0, 2.0, 3.0, 4.0, 4.5):
        share = math.erfc(bound / 2**0.5)
        assert abs((z.abs() > bound).double().mean() - share) < 5 * (share / n) ** 0.5, bound


def test_numbers_follow_torchs_generator():
    x = torch.empty(5000)
    torch.manual_seed(2)
    a, b = standard_normal_like(x), standard_normal_like(x)
    torch.manual_seed(2)
    assert torch.equal(standard_normal_like(x), a)
    assert abs(float((a * b).mean())) < 5 / 5000**0.5
    torch.manual_seed(3)
    assert not torch.equal(standard_normal_like(x), a)


def test_numbers_do_not_depend_on_threads_or_on_who_shares_them(monkeypatch):
    x, threads = torch.empty(300_001), torch.get_num_threads()
    drawn = []
    try:
        for count, team in ((1, True), (2, True), (3, True), (2, False)):
            torch.set_num_threads(count)
            if not team:
                monkeypatch.setattr(_threads, "_team", lambda: None)
            torch.manual_seed(4)
            drawn.append(standard_normal_like(x))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(values, drawn[0]) for values in drawn)


def test_generators_are_xoshiro128plusplus():
    """Against the steps of Blackman and Vigna in Python's whole numbers."""
    from mho.ops import _normal_kernels as kernels
    from mho.ops._philox import philox

    state, found = np.empty(kernels.STATE, np.uint32), np.empty((5, kernels.LANES), np.uint32)
    kernels.seed_lanes(state, 7, 11, 13)
    kernels.next_words(state, found)

    def left(x: int, k: int) -> int:
        return (x << k | x >> 32 - k) & 0xFFFFFFFF

    for lane in (0, 1, 63):
        s = list(philox(lane, 7, 0, 0, 11, 13))
        for step in range(5):
            assert found[step][lane] == (left((s[0] + s[3]) & 0xFFFFFFFF, 7) + s[0]) & 0xFFFFFFFF
            t = s[1] << 9 & 0xFFFFFFFF
            s[2] ^= s[0]
            s[3] ^= s[1]
            s[1] ^= s[2]
            s[0] ^= s[3]
            s[2] ^= t
            s[3] = left(s[3], 11)


def test_half_precision_and_small_tensors_have_noise_too():
    for x in (torch.empty(4000, dtype=torch.bfloat16), torch.empty(10)):
        z = standard_normal_like(x)
        assert z.dtype == x.dtype
        assert z.float().std() > 0.3


# ---- inputs --------------------------------------------------------------------------------------

RANGES = {
    "one": ((60, 33), ()),
    "arrays": ((3, 20, 33), (3, 1, 1)),
    "convolution": ((4, 2, 3, 5, 8, 8), (3, 1, 1, 1)),
}


@pytest.mark.parametrize("layout", RANGES)
@pytest.mark.parametrize("steps", [127.0, None])
def test_drives_and_their_gradients_are_those_of_operators(layout, steps, by_operators):
    shape, parameter = RANGES[layout]
    inputs, ranges = seeded(*shape), seeded(*parameter, seed=1).abs() + 0.5
    spread = ranges.expand(shape).reshape(-1)
    inputs.view(-1)[5::7] = spread[5::7]  # exactly at the range
    inputs.view(-1)[6::7] = -spread[6::7]
    grad = seeded(*shape, seed=2)

    def run(learns: bool) -> list[Tensor | None]:
        x, r = inputs.clone().requires_grad_(), ranges.clone().requires_grad_(learns)
        clipped = torch.zeros(2, *parameter, requires_grad=learns)
        occupied = torch.ones(parameter)
        v = drive(x, r, steps, occupied, clipped if learns else None)
        v.backward(grad)
        return [v.detach(), x.grad, r.grad, clipped.grad]

    assert drive_in_one_pass(inputs, ranges, steps) is not None
    assert drive_gradients(grad, inputs, ranges, 1.0, of_range=True) is not None
    for learns in (False, True):
        found, expected = run(learns), by_operators(run, learns)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
        if learns:
            # Two orders of a float sum of n terms differ by n eps times the sum of magnitudes.
            n = inputs.numel() / ranges.numel()
            size = (steps or 1) * grad.abs().sum() / ranges.numel()
            error = n * torch.finfo(torch.float32).eps * size
            assert ((found[2] - expected[2]).abs() <= error).all()
            assert torch.allclose(found[3], expected[3], rtol=1e-6, atol=0)


# ---- where kernels step back ---------------------------------------------------------------------


def test_uneven_parameters_are_left_to_operators():
    """Columns that are not side by side in memory, four axes that cannot be merged."""
    x = seeded(4, 5, 6, 70)
    assert _one_pass.laid(x, torch.empty(4, 1, 6, 1)) is None
    assert _one_pass.laid(x, torch.empty(5, 1, 1)) is not None
    assert not _one_pass.in_memory(x.transpose(0, 1))
    assert not _one_pass.in_memory(x, torch.empty((), dtype=torch.float64))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_vmap_sees_no_kernel():
    x = seeded(3, 2000)

    def one(row: Tensor) -> Tensor:
        return converted_codes(row * 1, torch.tensor(2.0), after=torch.ones(()), limit=1.0)

    assert torch.equal(torch.vmap(one)(x), (2 * x).clamp(-1, 1))


@pytest.mark.parametrize("team", [True, False])
def test_a_kernels_failure_is_the_callers(team, monkeypatch):
    if not team:
        monkeypatch.setattr(_threads, "_team", lambda: None)
    threads = torch.get_num_threads()

    def fails(start: int, stop: int) -> None:
        if stop == 8:
            raise ValueError("no row 7")

    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="no row 7"):
            over_rows(fails, 8)
    finally:
        torch.set_num_threads(threads)


def test_noise_and_limits_leave_the_memory_of_weights_resizable():
    """Sharding frees and allocates it at every step."""
    weight, gain = torch.nn.Parameter(seeded(40, 33)), torch.nn.Parameter(torch.ones(33))
    with_noise(weight, torch.full((), 0.1))
    settled_limits(weight.detach(), 2.5)
    row_peaks(weight)
    converted_codes(seeded(60, 33), gain, after=torch.ones(()))
    assert weight.untyped_storage().resizable()
    assert gain.untyped_storage().resizable()
