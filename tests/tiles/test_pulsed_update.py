"""The pulsed update of an array: what it does on average, its spread, and that it is exact."""

import numpy as np
import pytest
import torch

from mho.cells import ConstantStep, SoftBounds
from mho.ops import Stream, Trains, add_rounded_products
from mho.tiles import DeviceArray, Pulses, Samples
from mho.tiles._pulses import Plan, mean_shares, plan, probabilities
from oracles import pulses as oracle

from .statistics import check_moments

STEP = 2.0**-10  # so that sums of steps are exact
WIDE = ConstantStep(step=STEP, low=-1e3, high=1e3)
X = torch.tensor([0.9, -0.35, 0.1, 0.0, -1.2])
D = torch.tensor([0.02, -0.011, 0.007, 0.0])
RATE = 0.3
FIDELITIES = ["batch", "pulse", "moments"]


def array(device=WIDE, shape=(4, 5), name="update", **kept) -> DeviceArray:
    return DeviceArray(device, shape, Stream(1, name), **kept)


def vectors(n, rows=5, out=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, rows, generator=g), 0.02 * torch.randn(n, out, generator=g)


def rate_of(pulses: Pulses):
    """A rate at which the larger side does not saturate by itself."""
    return RATE if pulses.update_management else RATE / 60


def probabilities_of_a_sample(pulses: Pulses):
    slots, p_x, p_d, _ = oracle.managed(
        X.double().numpy(), D.double().numpy(), rate_of(pulses), STEP, pulses.slots,
        pulses.update_management, pulses.slot_management,
    )  # fmt: skip
    return slots, p_x.clip(max=1), p_d.clip(max=1)


SETTINGS = [
    Pulses(fidelity=f, update_management=um, slot_management=sm, slots=slots)
    for f in FIDELITIES
    for um, sm, slots in ((True, True, 31), (False, False, 10), (True, False, 70))
]


@pytest.mark.parametrize("pulses", SETTINGS, ids=lambda p: f"{p.fidelity}-{p.slots}")
def test_update_is_minus_rate_d_x_on_average(pulses):
    """Many copies of a sample: within five standard errors of the closed form's variance."""
    n = 4000
    given = array()
    given.update(Samples.of(X.expand(n, 5), D.expand(n, 4)), rate_of(pulses), pulses)
    slots, p_x, p_d = probabilities_of_a_sample(pulses)
    variance = n * STEP**2 * np.diag(oracle.coincidence_covariance(slots, p_x, p_d)).reshape(4, 5)
    expected = -n * rate_of(pulses) * np.outer(D.double(), X.double())
    error = np.abs(given.weight.double().numpy() - expected)
    assert (error <= 5 * np.sqrt(variance) + 1e-6 * np.abs(expected)).all()
    assert given.saturation.share == 0


@pytest.mark.parametrize("fidelity", ["batch", "moments"])
def test_covariance_is_that_of_coincidences(fidelity):
    """Cells that share a line share its bits; `moments` has the same covariance."""
    pulses, repeats = Pulses(fidelity=fidelity), 3000
    given, changes = array(), []
    before = given.weight
    for _ in range(repeats):
        given.update(Samples.of(X[None], D[None]), RATE, pulses)
        changes.append((given.weight - before).flatten() / STEP)
        before = given.weight
    slots, p_x, p_d = probabilities_of_a_sample(pulses)
    signs = -np.outer(D.sign().numpy(), X.sign().numpy()).ravel()
    covariance = oracle.coincidence_covariance(slots, p_x, p_d) * np.outer(signs, signs)
    mean = slots * np.outer(p_d, p_x).ravel() * signs
    # States near 0 are multiples of the step up to float32's rounding of their sums.
    check_moments(torch.stack(changes).double().numpy(), mean, covariance, floor=2e-3)


def test_variance_falls_as_one_over_the_slots():
    """At a fixed rate, with steps of c / BL: probabilities stay, and the variance is c^2 v / BL."""
    n, c = 20_000, 2.0**-6
    x, d = torch.tensor([[0.5]]), torch.tensor([[-0.5]])
    for slots in (1, 4, 16, 64):
        pulses = Pulses(slots=slots, slot_management=False, update_management=False)
        device = ConstantStep(step=c / slots, low=-1e6, high=1e6)
        given = DeviceArray(device, (n, 1), Stream(1, "slots"))
        # One column for each cell, a row whose bits are always 1: the cells are independent.
        given.update(Samples.of(2 * x, d.expand(1, n) / 2), c, pulses)
        p = 0.25
        variance = c**2 * p * (1 - p) / slots
        assert float(given.weight.mean()) == pytest.approx(c * p, abs=5 * np.sqrt(variance / n))
        # Of the variance of a sample's variance, that of a binomial number is below 2 + 1 / BL p.
        spread = variance * np.sqrt((2 + 1 / (slots * p * (1 - p))) / n)
        assert float(given.weight.double().var()) == pytest.approx(variance, abs=5 * spread)


@pytest.mark.parametrize("management", [(True, True), (True, False), (False, True), (False, False)])
def test_management_is_per_sample_and_as_published(management):
    x, d = vectors(40)
    x, d = x * torch.logspace(-3, 1, 40)[:, None], d
    x[3], d[5] = 0, 0
    pulses = Pulses(slots=12, update_management=management[0], slot_management=management[1])
    for rate in (0.01, 1.0):
        how = plan(x, d, rate, STEP, pulses)
        got_x, got_d = probabilities(x, how.gain_x), probabilities(d, how.gain_d)
        over = 0
        for b in range(40):
            given = x[b].double().numpy(), d[b].double().numpy()
            slots, p_x, p_d, _ = oracle.managed(*given, rate, STEP, 12, *management)
            assert int(how.slots[b]) == slots
            over += max(p_x.max(), p_d.max()) > 1 + 1e-4
            if slots:
                np.testing.assert_allclose(got_x[b], p_x.clip(max=1), rtol=1e-5, atol=1e-12)
                np.testing.assert_allclose(got_d[b], p_d.clip(max=1), rtol=1e-5, atol=1e-12)
        assert how.saturated == pytest.approx(over / 40)


def test_saturation_is_reported_with_its_rate():
    x, d = vectors(20)
    given = array()
    given.update(Samples.of(x, d), 100.0, Pulses())
    share, limit, _ = given.saturation
    most = (x.abs().amax(1) * d.abs().amax(1)).max()
    assert share > 0
    assert limit == pytest.approx(31 * STEP / float(most), rel=1e-5)
    given.update(Samples.of(x, d), 0.999 * limit, Pulses())
    assert given.saturation.share == 0
    given.update(Samples.of(x, d), 1.01 * limit, Pulses())
    assert given.saturation.share == pytest.approx(1 / 20)


def test_swing_is_the_largest_number_of_pulses_over_the_states():
    given = array(ConstantStep(step=0.01, low=-0.5, high=1.5), (2, 3))  # 200 states
    one = Samples.of(torch.ones(30, 3), -torch.ones(30, 2))
    given.update(one, 0.01, Pulses())
    assert given.saturation.swing == pytest.approx(30 / 200)
    given.update(one, 0.01, Pulses(fidelity="moments"))
    assert given.saturation.swing == pytest.approx(30 / 200)


def test_mean_counts_round_exactly():
    """Every number of bits of trains of 1 to 31 slots; halves go to the even number."""
    ties = 0
    for slots in range(1, 32):
        p = (torch.arange(slots + 1) / slots)[None]
        how = Plan(torch.ones(1), torch.ones(1), torch.tensor([float(slots)]), 0.0, 1.0)
        share = mean_shares(p, how.gain_x, how, Pulses(train="mean_count"))
        flags = torch.ones_like(p, dtype=torch.bool)
        up, down = torch.zeros(2, slots + 1, slots + 1, dtype=torch.int32)
        add_rounded_products(Trains(share, flags, share, flags), how.slots, up, down)
        exact = [oracle.Fraction(c, slots) for c in range(slots + 1)]
        assert np.array_equal(up.numpy(), oracle.mean_counts(slots, exact, exact)), slots
        ties += sum((2 * i * j) % (2 * slots) == slots for i in range(slots) for j in range(slots))
    assert ties > 300


@pytest.mark.parametrize("levels", [None, 7])
def test_implicit_trains_are_their_rounded_products(levels):
    """Probabilities of eighths, so that nothing but the products is rounded."""
    pulses = Pulses(train="implicit", levels=levels, slots=16, slot_management=False,
                    update_management=False)  # fmt: skip
    g = torch.Generator().manual_seed(1)
    x, d = (torch.randint(-8, 9, (9, k), generator=g) / 8 for k in (5, 4))
    given = array(count=True)
    given.update(Samples.of(x, d), 16 * STEP, pulses)  # gains of 1
    up, down = np.zeros((4, 5), int), np.zeros((4, 5), int)
    for b in range(9):
        p_x, p_d = x[b].abs().double().numpy(), d[b].abs().double().numpy()
        number = oracle.implicit_counts(16, p_x, p_d, levels)
        rises = np.outer(d[b], x[b]) < 0
        up, down = up + number * rises, down + number * ~rises
    assert given.pulses_up is not None
    assert given.pulses_down is not None
    assert np.array_equal(given.pulses_up[0].numpy(), up)
    assert np.array_equal(given.pulses_down[0].numpy(), down)
    assert np.array_equal(given.weight.numpy(), (up - down) * STEP)


def test_exact_updates_need_no_pulses():
    x, d = vectors(30)
    given = array(ConstantStep(step=STEP, low=-0.01, high=0.01), count=True)
    given.update(Samples.of(x, d), 0.1, Pulses(train="exact"))
    expected = (-0.1 * (d.T @ x)).clamp(-0.01, 0.01)
    assert bool((expected.abs() == 0.01).any())
    assert torch.equal(given.weight, expected)
    assert given.pulses_up is not None
    assert int(given.pulses_up.sum()) == 0


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_thousand_pulses_on_soft_bounds(fidelity):
    """w(n) = w_max (1 - (1 - dw / w_max)^n), pulse after pulse."""
    given = array(SoftBounds(step=0.002, low=-0.6, high=0.6), (2, 3))
    one = Samples.of(torch.ones(1, 3), -torch.ones(1, 2))
    for _ in range(1000):
        given.update(one, 0.002, Pulses(fidelity=fidelity))
    expected = 0.6 * (1 - (1 - 0.002 / 0.6) ** 1000)
    # Each update rounds the state once, in float32.
    assert float((given.weight - expected).abs().max()) <= 1000 * 0.6 * 2.0**-24
