"""Arrays of devices: parts make the whole, resumed runs go on, unit cells take their turns."""

import itertools

import pytest
import torch
from pydantic import ValidationError

from mho.cells import ConstantStep, OneSidedPair, SoftBounds, UnitCell
from mho.errors import CheckpointError, DataError, MhoError, RangeError
from mho.ops import Stream
from mho.tiles import DeviceArray, Pulses, Samples

from .test_pulsed_update import FIDELITIES, STEP, WIDE, array, vectors

NOISY = SoftBounds(step=0.01, cycle_noise=0.3, step_spread=0.2, write_noise=0.5, diffusion=1e-3,
                   lifetime=50.0)  # fmt: skip
SECOND = SoftBounds(step=0.02, cycle_noise=0.3)
UNIT = UnitCell(devices=(NOISY, SECOND), significance=(1.0, -0.5), policy="random")
TRAINS = ["stochastic", "mean_count", "implicit"]


class Pieces(Samples):
    """Samples whose pieces are what they are given as."""

    @classmethod
    def cut(cls, x, d, *edges):
        from mho.tiles._samples import Pair

        ends = itertools.pairwise((0, *edges, len(x)))
        return cls([Pair(x[a:b], d[a:b]) for a, b in ends])


@pytest.mark.parametrize("slots", [31, 100])
@pytest.mark.parametrize("train", TRAINS)
@pytest.mark.parametrize("device", [NOISY, UNIT], ids=["single", "unit"])
def test_pieces_make_the_whole(device, train, slots):
    """Long sequences come in pieces, of which each may have shorter trains than another."""
    x, d = vectors(50)
    d[20:] *= 0.01
    pulses = Pulses(train=train, slots=slots)
    whole, pieces = array(device, count=True), array(device, count=True)
    whole.update(Samples.of(x, d), 3.0, pulses)
    pieces.update(Pieces.cut(x, d, 0, 7, 8, 33), 3.0, pulses)
    assert torch.equal(whole.weight, pieces.weight)
    assert torch.equal(whole.pulses_up, pieces.pulses_up)
    assert whole.pulses_up.sum() > 0


@pytest.mark.parametrize("train", TRAINS)
@pytest.mark.parametrize("device", [NOISY, UNIT], ids=["single", "unit"])
def test_two_processes_do_what_one_does(device, train):
    """Integer counts add up: bit for bit the weight of the joined batch."""
    x, d = vectors(41)
    pulses, shares = Pulses(train=train, slots=40), ((0, 17), (17, 41))
    joined = array(device)
    joined.update(Samples.of(x, d), 1.0, pulses)
    counts = []

    def update(share, reduce):
        rank = array(device)
        a, b = share
        rank.update(Samples.of(x[a:b], d[a:b]), 1.0, pulses, first=a, reduce=reduce)
        return rank.weight

    for share in shares:
        update(share, lambda total: counts.append(total.clone()))
    for share in shares:
        weight = update(share, lambda total: total.copy_(counts[0] + counts[1]))
        assert torch.equal(weight, joined.weight)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("device", [NOISY, UNIT, OneSidedPair(device=NOISY)],
                         ids=["single", "unit", "pair"])  # fmt: skip
def test_resumed_runs_go_on_bit_for_bit(device, fidelity):
    pulses, x, d = Pulses(fidelity=fidelity), *vectors(8)

    def go_on(given, steps):
        for _ in range(steps):
            given.update(Samples.of(x, d), 0.5, pulses)
            given.tick()

    counted = fidelity != "moments"
    whole, first, second = (array(device, count=counted) for _ in range(3))
    go_on(whole, 6)
    go_on(first, 3)
    kept = first.state_dict()
    go_on(first, 1)  # what was kept does not change any more
    second.load_state_dict(kept)
    go_on(second, 3)
    assert torch.equal(second.weight, whole.weight)
    if counted:
        assert torch.equal(second.pulses_up, whole.pulses_up)
        assert torch.equal(second.pulses_down, whole.pulses_down)


@pytest.mark.parametrize("fidelity", ["batch", "pulse"])
def test_counters_are_exact(fidelity):
    """Steps without noise: the weight is the difference of both counters."""
    given = array(count=True)
    for seed in range(5):
        given.update(Samples.of(*vectors(20, seed=seed)), 1.0, Pulses(fidelity=fidelity))
    up, down = given.pulses_up[0], given.pulses_down[0]
    assert int(up.min()) > 0
    assert int(down.min()) > 0
    assert torch.equal(given.weight, (up - down) * STEP)


def test_sequential_devices_take_turns():
    unit = UnitCell(devices=(WIDE, WIDE, WIDE), policy="sequential")
    given = array(unit, count=True)
    x, d = torch.ones(7, 5), -torch.ones(7, 4)
    rate = given.granularity  # kappa is 1: each sample is one pulse on every cell
    given.update(Samples.of(x, d), rate, Pulses())
    assert given.pulses_up[:, 0, 0].tolist() == [3, 2, 2]
    given.update(Samples.of(x[:2], d[:2]), rate, Pulses())  # the next update starts with the next
    assert given.pulses_up[:, 0, 0].tolist() == [3, 3, 3]
    assert torch.allclose(given.weight, torch.tensor(9 * STEP / 3))


def test_random_devices_share_evenly():
    n = 4000
    given = array(UnitCell(devices=(WIDE, WIDE), policy="random"), count=True)
    given.update(Samples.of(torch.ones(n, 5), -torch.ones(n, 4)), given.granularity, Pulses())
    first, second = given.pulses_up[:, 0, 0].tolist()
    assert first + second == n
    assert abs(first - n / 2) < 5 * (n / 4) ** 0.5


@pytest.mark.parametrize("fidelity", ["batch", "pulse"])
def test_negative_significance_is_pulsed_the_other_way(fidelity):
    unit = UnitCell(devices=(WIDE, WIDE), significance=(1.0, -1.0))
    given = array(unit, count=True)
    given.update(Samples.of(*vectors(30)), 1.0, Pulses(fidelity=fidelity))
    assert torch.equal(given.pulses_up[0], given.pulses_down[1])
    assert torch.equal(given.pulses_down[0], given.pulses_up[1])
    assert int(given.pulses_up.sum()) > 0
    net = given.pulses_up[0] - given.pulses_down[0]
    assert torch.equal(given.weight, 2 * STEP * net)


@pytest.mark.parametrize("fidelity", ["batch", "pulse"])
def test_fixed_devices_alone_are_pulsed(fidelity):
    unit = UnitCell(devices=(WIDE, WIDE), significance=(1.0, -1.0), policy="fixed", fixed=1)
    given = array(unit, count=True)
    x, d = vectors(30)
    given.update(Samples.of(x, d), 1.0, Pulses(fidelity=fidelity))
    assert int(given.pulses_up[0].sum() + given.pulses_down[0].sum()) == 0
    net = given.pulses_up[1] - given.pulses_down[1]
    assert torch.equal(given.weight, -STEP * net)
    assert float((given.weight * -(d.T @ x)).sum()) > 0


@pytest.mark.parametrize("fidelity", ["batch", "pulse"])
def test_one_sided_pairs_only_raise(fidelity):
    """Pulses down are pulses up on the other device, and exactly as many."""
    device = ConstantStep(step=STEP, low=0.0, high=1e3)
    pair, single = array(OneSidedPair(device=device), count=True), array(count=True)
    for given in (pair, single):
        given.update(Samples.of(*vectors(30)), 1.0, Pulses(fidelity=fidelity))
    assert int(pair.pulses_down.sum()) == 0
    assert torch.equal(pair.pulses_up[0], single.pulses_up[0])
    assert torch.equal(pair.pulses_up[1], single.pulses_down[0])
    assert torch.equal(pair.weight, single.weight)
    assert all(bool((a.state >= 0).all()) for a in pair.arrays)


def test_negative_rates_go_the_other_way():
    there, back = array(), array()
    x, d = vectors(20)
    there.update(Samples.of(x, d), 1.0, Pulses())
    back.update(Samples.of(x, d), -1.0, Pulses())
    assert torch.equal(there.weight, -back.weight)
    back.update(Samples.of(x, d), 0.0, Pulses())
    assert back.updates == 1


def test_pulses_asked_for_by_number():
    given = array(count=True)
    up, down = torch.arange(20).view(4, 5).int(), torch.full((4, 5), 3, dtype=torch.int32)
    given.pulse(up, down)
    assert torch.equal(given.weight, (up - down) * STEP)
    assert torch.equal(given.pulses_up[0], up.long())


def test_writing_keeps_to_the_bounds():
    given = array(SoftBounds(step=0.01, low=-0.5, high=0.5))
    wanted = torch.linspace(-0.6, 0.6, 20).view(4, 5)
    assert given.write(wanted) == pytest.approx(float((wanted.abs() > 0.5).float().mean()))
    assert torch.allclose(given.weight, wanted.clamp(-0.5, 0.5))


def raises(error, text, call):
    assert issubclass(error, MhoError)
    with pytest.raises(error, match=text):
        call()


def test_bad_input_is_refused():
    x, d = vectors(4)
    given = array(count=True)
    for bad in (float("nan"), float("inf")):
        worse = x.clone()
        worse[2, 1] = bad
        raises(DataError, "finite", lambda v=worse: given.update(Samples.of(v, d), 1.0, Pulses()))
        raises(RangeError, "finite", lambda r=bad: given.update(Samples.of(x, d), r, Pulses()))
    assert float(given.weight.abs().sum()) == 0
    raises(DataError, "do not fit", lambda: given.write(torch.zeros(5, 4)))
    raises(DataError, "finite", lambda: given.write(torch.full((4, 5), float("nan"))))
    means = Pulses(fidelity="moments")
    raises(DataError, "use 'batch'", lambda: given.update(Samples.of(x, d), 1.0, means))
    one_by_one = Pulses(fidelity="pulse")
    raises(
        DataError,
        "use 'batch'",
        lambda: given.update(Samples.of(x, d), 1.0, one_by_one, reduce=lambda total: None),
    )


def test_checkpoints_of_other_arrays_are_refused():
    kept = array(count=True).state_dict()
    others = {
        "shapes": array(shape=(5, 4), count=True),
        "count_pulses=True": array(),
        "write noise": array(NOISY, count=True),
        "devices of shapes": array(UnitCell(devices=(WIDE, WIDE)), count=True),
    }
    for text, other in others.items():
        raises(CheckpointError, text, lambda other=other: other.load_state_dict(kept))
    counting, without = array(count=True), array().state_dict()
    raises(CheckpointError, "has no pulse", lambda: counting.load_state_dict(without))


@pytest.mark.parametrize(
    "fields",
    [
        {"slots": 0},
        {"levels": 3},
        {"train": "implicit", "levels": 0},
        {"train": "mean_count", "fidelity": "pulse"},
        {"train": "exact", "fidelity": "moments"},
    ],
)
def test_pulses_that_cannot_be_meant(fields):
    with pytest.raises((ValidationError, ValueError)):
        Pulses(**fields)


def test_arrays_depend_on_names_only():
    same = [DeviceArray(NOISY, (4, 5), Stream(1, name)) for name in ("a", "a", "b")]
    for given in same:
        given.update(Samples.of(*vectors(10)), 1.0, Pulses())
    assert torch.equal(same[0].weight, same[1].weight)
    assert not torch.equal(same[0].weight, same[2].weight)
