"""Pairs of devices that only go up: refreshed when they fill."""

import torch

import mho
from mho.cells import Device
from mho.ops import Stream
from mho.tiles import Samples
from mho.training import Matrix, ReadOut

SHAPE = (200, 5)


def pair(**options):
    """Constant steps up to 1, so that what is written open-loop is right in the mean."""
    device = {"kind": "constant_step", "step": 0.01, "low": 0.0, "high": 1.0}
    fields = {"kind": "one_sided_pair", "device": device, "refresh_every": 1, **options}
    return Device.select(fields)


def refreshed(plus, minus, read_out=None, **options):
    """g+ and g- after a step without learning, from the given states."""
    matrix = Matrix("w", pair(**options), SHAPE, Stream(0, "w"), read_out=read_out or ReadOut())
    state = mho.PulsedSGD().start(matrix, torch.zeros(SHAPE))
    array = state.arrays["weight"]
    array.arrays[0].write(torch.full(SHAPE, plus))
    array.arrays[1].write(torch.full(SHAPE, minus))
    mho.PulsedSGD().step(state, Samples([]), 0.0)
    return array, [each.weight for each in array.arrays]


def test_full_pairs_are_written_anew_with_the_same_weight():
    array, (plus, minus) = refreshed(0.8, 0.3)
    assert (minus == 0).all()
    torch.testing.assert_close(array.weight, torch.full(SHAPE, 0.5), rtol=0, atol=0.0101)
    n = plus.numel()
    assert abs(float(plus.mean()) - 0.5) < 5 * 0.005 / n**0.5 + 1e-6
    array, (plus, minus) = refreshed(0.3, 0.8)
    assert (plus == 0).all()
    assert abs(float(minus.mean()) - 0.5) < 5 * 0.005 / n**0.5 + 1e-6


def test_others_stay():
    """Nothing happens unless the larger is above `upper` and the smaller above `lower`."""
    for plus, minus in ((0.74, 0.3), (0.8, 0.24), (0.3, 0.74), (0.0, 1.0)):
        _, (a, b) = refreshed(plus, minus)
        torch.testing.assert_close(a, torch.full(SHAPE, plus))
        torch.testing.assert_close(b, torch.full(SHAPE, minus))
    _, (a, _) = refreshed(0.74, 0.3, upper=0.7)
    assert (a < 0.5).all()


def test_the_decision_is_read():
    """At the threshold, noise decides: for each cell anew, for half of them one way."""
    _, (plus, _) = refreshed(0.75, 0.5, ReadOut(noise=0.01))
    n = plus.numel()
    went = float((plus < 0.5).float().mean())
    assert abs(went - 0.5) < 5 * 0.5 / n**0.5


def test_refreshes_come_when_they_are_due():
    matrix = Matrix("w", pair(refresh_every=3), SHAPE, Stream(0, "w"))
    state = mho.PulsedSGD().start(matrix, torch.zeros(SHAPE))
    for each, value in zip(state.arrays["weight"].arrays, (0.8, 0.3), strict=True):
        each.write(torch.full(SHAPE, value))
    for step in range(1, 4):
        mho.PulsedSGD().step(state, Samples([]), 0.0)
        assert bool((state.arrays["weight"].arrays[1].weight == 0).all()) == (step == 3)


def test_training_outlives_the_range_of_its_devices():
    """Pulses of both signs fill both devices; with refresh the weight still follows."""
    found = {}
    for every in (None, 5):
        matrix = Matrix("w", pair(refresh_every=every), SHAPE, Stream(0, "w"))
        algorithm = mho.PulsedSGD()
        state = algorithm.start(matrix, torch.zeros(SHAPE))
        g = torch.Generator().manual_seed(0)
        for step in range(400):
            goal = 0.3 if step // 100 % 2 else -0.3
            x = torch.rand(1, SHAPE[1], generator=g)
            d = x @ (algorithm.weight(state) - goal).T
            algorithm.step(state, Samples.of(x, d), 0.3)
        found[every] = float((algorithm.weight(state) - 0.3).abs().mean())
    assert found[5] < 0.05
    assert found[None] > 0.2
