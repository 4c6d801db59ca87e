"""What must come out in which order, each beyond two standard errors over n chip instances.

The same instance has the same weights, inputs and random draws on all hardware, so the standard
error is that of paired differences.
"""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import mho

N = 8
SIZE = {"out": 256, "rows": 256, "instances": N}
STANDARD = mho.load("standard-hwa-2023")
TIMES = ("1 h", "1 d", "1 y")


def lower(less: np.ndarray, more: np.ndarray) -> bool:
    """Whether one is lower on average, by more than two standard errors of n differences."""
    difference = more - less
    return difference.mean() > 2 * difference.std(ddof=1) / np.sqrt(len(difference))


@pytest.fixture(scope="module")
def compensated() -> mho.MvmError:
    return mho.mvm_error(STANDARD, times=TIMES, **SIZE)


@pytest.mark.parametrize("preset", ["standard-hwa-2023", "pcm-joshi-2020", "hermes-two-devices"])
def test_column_scaling_beats_tile_scaling(preset):
    hardware = mho.load(preset)
    tile = hardware.with_fields(mapping={"kind": "differential", "scaling": "tile"})
    found = [mho.mvm_error(h, times=["1 h"], **SIZE).errors[:, 0] for h in (hardware, tile)]
    assert lower(*found)


@pytest.mark.parametrize("method", ["global", "global_exact", "column", "affine"])
def test_compensation_beats_none_after_a_day(method):
    small = {**SIZE, "rows": 128, "out": 128}
    mended, raw = (
        mho.mvm_error(STANDARD, times=["1 d"], compensation=m, **small) for m in (method, "none")
    )
    assert lower(mended.errors[:, 0], raw.errors[:, 0])


def test_a_year_is_worse_than_a_day_and_a_day_worse_than_an_hour(compensated):
    hour, day, year = compensated.errors.T
    assert lower(hour, day)
    assert lower(day, year)
    assert lower(hour, year)


def test_a_year_is_worse_than_an_hour_without_compensation():
    raw = mho.mvm_error(STANDARD, times=TIMES, compensation="none", **SIZE)
    assert lower(raw.errors[:, 0], raw.errors[:, 2])


def test_one_device_is_worse_than_two():
    one, two = (
        mho.mvm_error(f"hermes-{name}", times=["1 h"], **SIZE)
        for name in ("one-device", "two-devices")
    )
    assert lower(two.errors[:, 0], one.errors[:, 0])


def test_fewer_bits_and_more_noise_are_worse(compensated):
    for changes in ({"dac.bits": 4}, {"adc.bits": 5}, {"noise.output": 0.2}):
        worse = mho.mvm_error(mho.override(STANDARD, changes), times=["1 h"], **SIZE)
        assert lower(compensated.errors[:, 0], worse.errors[:, 0])


@pytest.fixture(scope="module")
def digits():
    """A perceptron on scikit-learn's digits, and the accuracy on held-out ones."""
    pixels, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x, y = pixels.float() / 16, labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[:1300]), y[:1300]).backward()
            optimizer.step()

    def score(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network(x[1300:]).argmax(1) == y[1300:]).double().mean())

    mho.convert(model, STANDARD)
    mho.calibrate(model, [x[:200]])
    return model, score


def test_accuracy_falls_with_time_and_compensation_mends_it(digits):
    """The same orders for the accuracy of a network, with 2 n chips: higher is better here."""
    model, score = digits
    raw, mended = (
        mho.evaluate(model, score, times=TIMES, instances=2 * N, compensation=c)
        for c in ("none", "global")
    )
    assert raw.digital > 0.88
    assert lower(raw.scores[:, 1], mended.scores[:, 1])
    assert lower(raw.scores[:, 2], mended.scores[:, 2])
    assert lower(raw.scores[:, 2], raw.scores[:, 0])
