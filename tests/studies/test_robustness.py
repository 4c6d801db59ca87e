"""Noise sweeps: the noise's size and independence, closed forms, and a model left as it was."""

import copy
import csv
import math
import os

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn
from torch.nn.utils import parametrizations

import mho
from chips import EVERY_SPREAD, PIXELS, assert_same, chip, cnn, converted
from mho.errors import DataError, RangeError
from mho.studies import decibels, plot_robustness

WANTED = cnn()(PIXELS).detach()


def likeness(model):
    """1 minus the relative error of the outputs: 1 for the digital model."""
    with torch.no_grad():
        return 1 - ((model(PIXELS) - WANTED).norm() / WANTED.norm()).item()


def process(model):
    return os.getpid()


class Watcher:
    """A score that keeps what the tensors were."""

    def __init__(self):
        self.seen = []

    def __call__(self, model):
        self.seen.append({k: v.detach().clone() for k, v in model.state_dict().items()})
        return 1.0


def watched(model, levels, **options):
    """The values of every tensor without noise, and with the noise of each (draw, level)."""
    watcher = Watcher()
    mho.robustness(model, watcher, levels, **options)
    return watcher.seen[0], watcher.seen[1:]


# The noise ----------------------------------------------------------------------------------------


def large():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(8, 32, 5), nn.Flatten(), nn.Linear(300, 40), nn.Linear(9, 7))


@pytest.mark.parametrize("relative_to", ["std", "max", "range"])
def test_each_tensor_gets_noise_of_the_asked_size(relative_to):
    """std(w~ - w) / u = eta within 5 standard errors 1/sqrt(2 n), and a mean of 0 within 5."""
    eta = 0.07
    clean, (noisy,) = watched(large(), [eta], draws=1, relative_to=relative_to)
    for name, w in clean.items():
        noise = (noisy[name] - w).double()
        unit = {"std": w.std(correction=0), "max": w.abs().max(), "range": w.max() - w.min()}
        if name.endswith("bias"):
            assert not noise.any()
            continue
        size = eta * float(unit[relative_to])
        n = w.numel()
        assert abs(float(noise.square().mean().sqrt()) / size - 1) < 5 / math.sqrt(2 * n)
        assert abs(float(noise.mean())) < 5 * size / math.sqrt(n)


def test_levels_differ_in_size_alone_and_draws_and_tensors_in_all():
    model = nn.Sequential(nn.Linear(50, 60, bias=False), nn.Linear(60, 50, bias=False))
    clean, noisy = watched(model, [0.1, 0.2], draws=2)
    first, doubled, other, _ = ({k: v[k] - clean[k] for k in clean} for v in noisy)
    assert doubled["0.weight"].numpy() == pytest.approx(2 * first["0.weight"].numpy(), abs=1e-6)
    pairs = [
        (first["0.weight"], other["0.weight"]),
        (first["0.weight"].flatten(), first["1.weight"].flatten()),
    ]
    for a, b in pairs:
        correlation = np.corrcoef(a.flatten(), b.flatten())[0, 1]
        assert abs(correlation) < 5 / math.sqrt(a.numel())


def test_half_precision_gets_the_same_noise_rounded():
    model = nn.Linear(64, 64)
    clean, (noisy,) = watched(copy.deepcopy(model).bfloat16(), [0.2], draws=1)
    assert noisy["weight"].dtype == torch.bfloat16
    exact, (wanted,) = watched(model, [0.2], draws=1)
    noise = wanted["weight"] - exact["weight"]
    error = (noisy["weight"].float() - clean["weight"].float() - noise).abs().max()
    assert error < 2**-8 * wanted["weight"].abs().max() * 2


class Mixed(nn.Module):
    """One of each kind of tensor that a choice must tell apart; the head is tied."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)
        self.norm, self.batch_norm = nn.LayerNorm([2, 4]), nn.BatchNorm1d(2)
        self.recurrent, self.slope = nn.LSTM(4, 4), nn.PReLU(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.head = nn.Linear(4, 9)
        self.head.weight = self.table.weight


MATRICES = {
    "recurrent.weight_ih_l0", "recurrent.weight_hh_l0", "attention.in_proj_weight",
    "attention.out_proj.weight", "head.weight",
}  # fmt: skip
BIASES = {
    "recurrent.bias_ih_l0", "recurrent.bias_hh_l0", "attention.in_proj_bias",
    "attention.out_proj.bias", "head.bias",
}  # fmt: skip
REST = {
    "norm.weight", "norm.bias", "batch_norm.weight", "batch_norm.bias", "slope.weight",
    "batch_norm.running_mean", "batch_norm.running_var",
}  # fmt: skip


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("weights", MATRICES),
        ("weights+bias", MATRICES | BIASES),
        ("all", (MATRICES | BIASES | REST | {"table.weight"}) - {"head.weight"}),
    ],
)
def test_targets_are_chosen_as_documented_and_tied_ones_once(targets, names):
    model = Mixed()
    with torch.no_grad():  # a tensor of equal values has no deviation, and so no noise
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape) + 0.5)
    result = mho.robustness(model, Watcher(), [0.1], targets=targets, draws=1)
    assert {tensor.name for tensor in result.tensors} == names
    clean, (noisy,) = watched(model, [0.1], targets=targets, draws=1)
    changed = {name for name in clean if not torch.equal(clean[name], noisy[name])}
    tied = {"table.weight", "head.weight"}
    assert changed == names | tied
    only = mho.robustness(model, Watcher(), [0.1], where=mho.linear, draws=1)
    assert {t.name for t in only.tensors} == {"attention.out_proj.weight", "head.weight"}


def test_a_running_variance_is_reflected_at_zero():
    """The same numbers far from 0 have the same deviation and the same noise, and show it."""
    variance = torch.rand(5000, generator=torch.Generator().manual_seed(0))
    found = {}
    for shift in (0.0, 64.0):
        model = nn.BatchNorm1d(5000)
        model.running_var.copy_(variance + shift)
        _, (noisy,) = watched(model, [2.0], targets="all", draws=1)
        found[shift] = noisy["running_var"]
    wanted = found[64.0] - 64
    assert (wanted < 0).float().mean() > 0.1
    assert found[0.0].numpy() == pytest.approx(wanted.abs().numpy(), abs=1e-4)


# The score ----------------------------------------------------------------------------------------


def test_signs_of_neurons_flip_with_the_probability_of_the_closed_form():
    """w = (1, 1, -1, -1), so sigma_w = 1, and x = w: P(w~ x > 0) = Phi(2 / eta).

    4000 neurons and 5 draws: the standard error is that of 20000 independent signs.
    """
    pattern = torch.tensor([1.0, 1.0, -1.0, -1.0])
    model = nn.Linear(4, 4000, bias=False)
    with torch.no_grad():
        model.weight.copy_(pattern.expand(4000, 4))

    def positive(model):
        with torch.no_grad():
            return (model(pattern) > 0).float().mean()

    levels = [0.0, 1.0, 2.0, 4.0]
    found = mho.robustness(model, positive, levels, draws=5)
    assert found.digital == 1
    assert (found.normalized[:, 0] == 1).all()
    for k, eta in enumerate(levels[1:], start=1):
        p = norm.cdf(2 / eta)
        assert abs(found.mean[k] - p) < 5 * math.sqrt(p * (1 - p) / 20_000)


def test_very_large_noise_leaves_guessing():
    """Ten classes by random directions; 200 draws, 5 standard errors of their mean."""
    generator = torch.Generator().manual_seed(0)
    x, model = torch.randn(300, 20, generator=generator), nn.Linear(20, 10, bias=False)
    labels = model(x).argmax(1)

    def accuracy(model):
        with torch.no_grad():
            return (model(x).argmax(1) == labels).float().mean()

    found = mho.robustness(model, accuracy, [0.0, 0.5, 1000.0], draws=200, chance=0.1)
    accuracies = found.scores[:, 2]
    assert found.digital == 1
    assert abs(accuracies.mean() - 0.1) < 5 * accuracies.std(ddof=1) / math.sqrt(200)
    assert abs(found.mean[2]) < 5 * accuracies.std(ddof=1) / math.sqrt(200) / 0.9
    assert (np.diff(found.mean) < 0).all()


def test_conventions_convert_into_each_other():
    """eta relative to sigma_w is eta sigma_w / max|w| relative to the largest magnitude."""
    model = cnn()

    def first(name, module):
        return isinstance(module, nn.Conv2d)

    by_std = mho.robustness(model, likeness, [0.1, 0.3], where=first, draws=3)
    for other in ("max", "range"):
        levels = by_std.levels_of("0.weight", other)
        weight = model[0].weight.detach()
        unit = weight.abs().max() if other == "max" else weight.max() - weight.min()
        ratio = float(weight.std(correction=0) / unit)
        assert levels == pytest.approx([0.1 * ratio, 0.3 * ratio], rel=1e-5)
        same = mho.robustness(model, likeness, levels, relative_to=other, where=first, draws=3)
        assert same.scores == pytest.approx(by_std.scores, abs=1e-6)
    assert decibels(0.1) == pytest.approx(20)
    assert decibels(0.5) == pytest.approx(6.0206, abs=1e-4)
    assert decibels(0.0) == math.inf


def test_figures_are_those_of_their_definitions(tmp_path):
    scores = np.array([[0.9, 0.8, 0.5], [0.9, 0.7, 0.4], [0.9, 0.75, 0.6]])
    result = mho.Robustness((0.0, 0.1, 0.5), scores, 0.9, (), "weights", "std", chance=0.1)
    assert result.normalized == pytest.approx((scores - 0.1) / 0.8)
    assert result.mean == pytest.approx([1, 0.8125, 0.5])
    assert result.average == pytest.approx((1 + 0.8125 + 0.5) / 3)
    # t(0.975, 2) = 4.30265 (Student's table)
    spread = np.std((scores[:, 1] - 0.1) / 0.8, ddof=1)
    assert result.half_width()[1] == pytest.approx(4.30265 * spread / math.sqrt(3))
    averages = ((scores - 0.1) / 0.8).mean(1)
    assert result.average_half_width() == pytest.approx(
        4.30265 * averages.std(ddof=1) / math.sqrt(3)
    )
    rows = result.rows()
    assert rows[1]["snr_db"] == pytest.approx(20)
    assert (rows[2]["min"], rows[2]["max"]) == (0.4, 0.6)
    for text in ("81.25%", "20.0 dB", "77.08%", "digital 0.9000", "3 draws"):
        assert text in str(result)
    with result.to_csv(tmp_path / "sweep.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["score"]) for line in lines] == scores.ravel().tolist()
    assert result.plot(tmp_path / "sweep.png").stat().st_size > 10_000
    plot_robustness({"one": result, "other": result})


# Order, workers, and what is left behind ----------------------------------------------------------


def test_results_do_not_depend_on_order():
    model = cnn()
    reference = mho.robustness(model, likeness, [0.05, 0.1, 0.2], draws=3)
    backward = mho.robustness(model, likeness, [0.2, 0.05], draws=2)
    assert np.array_equal(backward.scores, reference.scores[:2, [2, 0]])
    other = mho.robustness(model, likeness, [0.05, 0.1, 0.2], draws=3, seed=1)
    assert not np.intersect1d(other.scores, reference.scores).size


@pytest.mark.slow
def test_results_do_not_depend_on_workers():
    model = cnn()
    alone, together = (
        mho.robustness(model, likeness, [0.05, 0.2], draws=2, workers=workers) for workers in (1, 2)
    )
    assert np.array_equal(alone.scores, together.scores)
    processes = mho.robustness(model, process, [0.1], draws=2, workers=2)
    assert processes.digital == os.getpid()
    assert os.getpid() not in processes.scores


@pytest.mark.parametrize("seed", [0, 1])
def test_a_converted_model_has_the_noise_of_its_digital_twin(seed):
    digital = mho.robustness(cnn(), likeness, [0.1, 0.3], draws=2, seed=seed, targets="all")
    model = converted()
    mho.at(mho.program(model, seed=5), "1 d")
    on_arrays = mho.robustness(model, likeness, [0.1, 0.3], draws=2, seed=seed, targets="all")
    assert on_arrays.scores == pytest.approx(digital.scores, abs=1e-5)
    assert [t.name for t in on_arrays.tensors] == [t.name for t in digital.tensors]


@pytest.mark.parametrize("end", ["done", "fails"])
def test_the_model_and_the_random_numbers_are_left_as_they_were(end):
    model = converted(EVERY_SPREAD)
    mho.at(mho.program(model, seed=5), "1 d")
    model.train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    inside, modes = chip(model), [m.training for m in model.modules()]
    pointers = [p.data_ptr() for p in model.parameters()]
    torch.manual_seed(4)
    state, calls = torch.random.get_rng_state(), []

    def score(model):
        assert not any(module.training for module in model.modules())
        calls.append(torch.rand(1))
        if end == "fails" and len(calls) == 4:
            raise KeyError("of the user")
        return likeness(model)

    if end == "fails":
        with pytest.raises(KeyError, match="of the user"):
            mho.robustness(model, score, [0.1, 0.2], targets="all", draws=2)
    else:
        mho.robustness(model, score, [0.1, 0.2], targets="all", draws=2)
    assert_same(dict(model.state_dict()), before)
    assert_same(chip(model), inside)
    assert [m.training for m in model.modules()] == modes
    assert [p.data_ptr() for p in model.parameters()] == pointers
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(set(map(float, calls))) == 1  # every score has the same random numbers


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"noise_levels": []}, RangeError, "at least one"),
        ({"noise_levels": [0.1, 0.1]}, RangeError, "each once"),
        ({"noise_levels": [-0.1]}, RangeError, "at least 0, got -0.1"),
        ({"noise_levels": [math.nan]}, RangeError, "finite"),
        (
            {"targets": "biases"},
            RangeError,
            "unknown targets 'biases': use weights, ",
        ),
        ({"relative_to": "mean"}, RangeError, "unknown relative_to 'mean'"),
        ({"draws": 0}, RangeError, "draws must be a whole number of at least 1, got 0"),
        ({"seed": 1.5}, RangeError, "seed must be a whole number"),
        ({"chance": 1.0}, RangeError, "the digital score 1 is not above chance = 1"),
        ({"score": lambda model: math.nan}, DataError, "finite number"),
        ({"where": mho.recurrent}, DataError, "no tensor to put noise on"),
    ],
)
def test_bad_arguments(options, error, message):
    given = {"noise_levels": [0.1], "score": likeness, "draws": 1} | options
    with pytest.raises(error, match=message):
        mho.robustness(cnn(), **given)


def test_weights_that_cannot_get_noise():
    with pytest.raises(DataError, match="remove_parametrizations"):
        mho.robustness(parametrizations.weight_norm(nn.Linear(3, 3)), Watcher(), [0.1])
    broken = nn.Linear(3, 3)
    broken.weight.data[0, 0] = math.inf
    with pytest.raises(DataError, match="weight has no finite values"):
        mho.robustness(broken, Watcher(), [0.1])
