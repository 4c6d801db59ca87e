"""Recalibrated batch norm: plain averages on the chip, the 1/pi law, and what it wins back."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from torch import nn

import mho
from chips import assert_same
from mho.cli._digits import load_digits
from mho.deploy import own_noise
from mho.errors import DataError, LifecycleError
from mho.nn import L1BatchNorm


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lived(*extra):
    """A small model whose batch norms have statistics of other data."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), *extra, nn.Linear(8, 4)]
        model = nn.Sequential(*layers, nn.BatchNorm1d(4))
        model(3 * draws(50, 6, seed=9) + 1)
    return model.eval()


BATCHES = [draws(40, 6, seed=seed) + 0.5 for seed in range(3)]


def test_statistics_are_the_plain_averages_over_the_batches():
    model = lived()
    found = mho.recalibrate_batch_norm(model, BATCHES)
    assert (found.batches, found.layers, found.unreached) == (3, ("1", "4"), ())
    first = [model[0](x).detach().numpy() for x in BATCHES]
    mean = np.mean([y.mean(0) for y in first], 0)
    variance = np.mean([y.var(0, ddof=1) for y in first], 0)
    assert model[1].running_mean.numpy() == pytest.approx(mean, abs=1e-6)
    assert model[1].running_var.numpy() == pytest.approx(variance, rel=1e-5)
    # A later one sees what the earlier ones make of each batch with that batch's statistics.
    weight, bias = (p.detach().numpy() for p in (model[3].weight, model[3].bias))
    later = []
    for y in first:
        z = (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5)
        later.append(np.maximum(z, 0) @ weight.T + bias)
    assert model[4].running_mean.numpy() == pytest.approx(
        np.mean([y.mean(0) for y in later], 0), abs=1e-5
    )


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, L1BatchNorm])
def test_the_statistics_are_those_of_the_programmed_chip(norm):
    model = nn.Sequential(nn.Linear(6, 8), norm(8)).eval()
    mho.convert(model, mho.Hardware(cell="pcm"))
    mho.at(mho.program(model, seed=3), "1 d")
    mho.recalibrate_batch_norm(model, BATCHES)
    with torch.no_grad():
        means = torch.stack([model[0](x).mean(0) for x in BATCHES]).mean(0)
        exact = torch.stack([(x @ model[0].weight.T).mean(0) for x in BATCHES]).mean(0)
    assert model[1].running_mean.numpy() == pytest.approx(means.numpy(), abs=1e-6)
    assert (means - exact - model[0].bias).abs().max() > 1e-2  # the chip has drifted


def test_nothing_else_is_in_training_mode_and_all_can_be_given_back():
    model = lived(nn.Dropout(0.5))
    seen = []
    model[3].register_forward_hook(lambda module, *_: seen.append(module.training))
    model.train()
    model[1].eval()
    model[1].momentum = 0.3
    before = copy.deepcopy(model.state_dict())
    tensors = [model[1].running_mean, model[1].running_var, model[1].num_batches_tracked]
    modes = [module.training for module in model.modules()]
    with mho.recalibrate_batch_norm(model, iter(BATCHES)) as found:
        assert found.batches == 3
        assert seen == [False] * 3
        assert not torch.equal(model[1].running_mean, before["1.running_mean"])
    assert_same(dict(model.state_dict()), dict(before))
    assert [module.training for module in model.modules()] == modes
    assert model[1].momentum == 0.3
    assert tensors[0] is model[1].running_mean
    again = mho.recalibrate_batch_norm(model, BATCHES)
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])
    again.restore()
    assert_same(dict(model.state_dict()), dict(before))


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], DataError, "no batch"),
        (BATCHES[0], DataError, r"write \[x\]"),
        ([BATCHES[0] * math.nan], DataError, "1: the new running_mean is not finite"),
        ([BATCHES[0], draws(3, 7)], RuntimeError, "shapes"),
        ([draws(1, 6)], ValueError, "more than 1 value per channel"),
    ],
)
def test_after_an_error_the_old_statistics_are_back(batches, error, message):
    model = lived()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        mho.recalibrate_batch_norm(model, batches)
    assert_same(dict(model.state_dict()), dict(before))
    assert not any(module.training for module in model.modules())
    assert model[1].momentum == 0.1


def test_a_batch_norm_that_never_ran_keeps_its_statistics():
    model = lived()
    model.unused = nn.BatchNorm1d(3)
    model.unused.running_mean.fill_(2.0)

    def without_unused(model, x):
        for layer in list(model)[:-1]:
            x = layer(x)

    found = mho.recalibrate_batch_norm(model, BATCHES, forward=without_unused)
    assert found.unreached == ("unused",)
    assert "never ran: unused" in repr(found)
    assert torch.equal(model.unused.running_mean, torch.full((3,), 2.0))


def test_a_model_without_statistics():
    with pytest.raises(LifecycleError, match="no batch norm with running statistics"):
        mho.recalibrate_batch_norm(
            nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)),
            [draws(4, 2)],
        )


# The law of the constant offset -------------------------------------------------------------------

ETA, OUTPUTS, INPUTS, SAMPLES = 0.1, 4000, 64, 8000
SHARE_ERROR = 5 * math.sqrt(2 / OUTPUTS) * (1 / math.pi) * (1 - 1 / math.pi)


@pytest.fixture(scope="module")
def noisy():
    """Exact and noisy outputs (samples, outputs) of weights ~ N(0, 1) for rectified Gaussians."""
    x = draws(SAMPLES, INPUTS, seed=1).clamp(min=0)
    model = nn.Linear(INPUTS, OUTPUTS, bias=False)
    with torch.no_grad():
        model.weight.copy_(draws(OUTPUTS, INPUTS, seed=2))
    outputs = []

    def score(model):
        with torch.no_grad():
            outputs.append(model(x))
        return 1.0

    mho.robustness(model, score, [ETA], draws=1)
    return outputs


def test_one_part_in_pi_of_the_noise_power_is_a_constant_offset(noisy):
    """m^2 / (m^2 + s^2) with m = 1/sqrt(2 pi), s^2 = 1/2 - 1/(2 pi).

    Outputs have independent noise: the offset's mean square has a relative standard error of
    sqrt(2 / OUTPUTS) = 2.2 %, the variance around it less.
    """
    exact, disturbed = noisy
    noise = disturbed - exact
    share = float(noise.mean(0).square().mean() / noise.square().mean())
    assert abs(share - 1 / math.pi) < SHARE_ERROR < 0.025
    ratio = float(noise.square().mean() / exact.var(0).mean())
    mean_square = (1 / (2 * math.pi)) / (1 / 2 - 1 / (2 * math.pi))
    assert mean_square == pytest.approx(0.467, abs=5e-4)
    # Both powers are means over OUTPUTS * INPUTS independent weights, of squares of normal numbers.
    error = 5 * math.sqrt(2 * 2 / (OUTPUTS * INPUTS)) + 5 * math.sqrt(2 / OUTPUTS) / math.pi
    assert abs(ratio / (ETA**2 * (1 + mean_square)) - 1) < error


def test_recalibration_takes_that_share_away(noisy):
    exact, disturbed = noisy
    norm = nn.BatchNorm1d(OUTPUTS, affine=False).eval()
    mho.recalibrate_batch_norm(norm, [exact])
    with torch.no_grad():
        wanted, stale = norm(exact), norm(disturbed)
        mho.recalibrate_batch_norm(norm, [disturbed])
        mended = norm(disturbed)
    left = float((mended - wanted).square().mean() / (stale - wanted).square().mean())
    # The gain of each channel is mended too: 1 / INPUTS of the noise goes along the signal.
    expected = (1 - 1 / math.pi) * (1 - 1 / INPUTS)
    # The squeeze of a channel by its own noise is of the next order, eta^2 / 4 of the noise power.
    assert abs(left - expected) < SHARE_ERROR + ETA**2 / 4


# What it wins back --------------------------------------------------------------------------------


def trained(digits):
    """Four hidden layers with batch norm, trained in seconds."""
    sizes = [(64, 64)] * 4
    hidden = [m for i, o in sizes for m in (nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU())]
    with own_noise("recalibrated digits"):
        model = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(10):
            for batch in torch.randperm(len(digits.train_x)).split(64):
                out = model(digits.train_x[batch])
                loss = nn.functional.cross_entropy(out, digits.train_y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.eval()


def test_on_digits_more_than_half_of_the_lost_accuracy_comes_back():
    """Noise of 40 % of sigma_w, 20 draws; the interval is of the mean over paired draws.

    Found here: 93.6 % of the digital accuracy with the old statistics, 98.4 % with new ones.
    """
    digits = load_digits()
    model = trained(digits)

    def mended(model):
        with mho.recalibrate_batch_norm(model, [digits.train_x[:256]]):
            return digits.accuracy(model)

    stale = mho.robustness(model, digits.accuracy, [0.4], draws=20)
    fresh = mho.robustness(model, mended, [0.4], draws=20)
    assert stale.digital > 0.95
    assert abs(fresh.digital - stale.digital) < 0.01
    assert 0.5 < stale.mean[0] < 0.97  # a middling noise
    lost = stale.digital - stale.scores[:, 0]
    beyond_half = (fresh.scores[:, 0] - stale.scores[:, 0]) - 0.5 * lost
    margin = student.ppf(0.975, 19) * beyond_half.std(ddof=1) / math.sqrt(20)
    assert beyond_half.mean() > margin
