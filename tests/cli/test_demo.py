"""demo: its data, its noisy training, what it looks at, and its report."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.cli._chip import look_at
from mho.cli._digits import load_digits, network, noisy, train
from mho.cli._pages import percent


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_the_split_is_even_over_the_classes_and_shares_no_image(digits):
    counts = [torch.bincount(y, minlength=10).double() for y in (digits.train_y, digits.test_y)]
    assert int(sum(c.sum() for c in counts)) == 1797
    # Rounding to whole images is the only difference between the classes' shares.
    assert (counts[1] - counts[1].sum() / 1797 * (counts[0] + counts[1])).abs().max() < 1
    images = torch.cat([digits.train_x, digits.test_x]).flatten(1)
    assert len(images.unique(dim=0)) == 1797
    assert not torch.equal(digits.train_y, digits.train_y.sort().values), "not shuffled"


def test_the_split_is_the_same_every_time(digits):
    assert torch.equal(load_digits().test_x, digits.test_x)


def test_weight_noise_has_its_level_in_every_column_and_leaves_the_parameter_alone():
    model = nn.Sequential(nn.Conv2d(40, 3, 50), nn.Linear(100_000, 2))
    with torch.no_grad():
        model[0].weight[1] *= 10
    before = [parameter.clone() for parameter in model.parameters()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = noisy(model, 0.1)
    assert set(found) == {"0.weight", "1.weight"}, "biases are digital"
    for name, weight in {"0.weight": model[0].weight, "1.weight": model[1].weight}.items():
        error, peak = (found[name] - weight).detach().flatten(1), weight.flatten(1).abs().amax(1)
        n = error.shape[1]
        assert n == 100_000
        ratio = error.std(1) / (0.1 * peak)
        assert (ratio - 1).abs().max() < 5 / math.sqrt(2 * n)
        assert (error.mean(1) / (0.1 * peak)).abs().max() < 5 / math.sqrt(n)
        (gradient,) = torch.autograd.grad(found[name].sum(), weight)
        assert torch.equal(gradient, torch.ones_like(weight))
    assert all(map(torch.equal, before, model.parameters()))


def test_training_with_noise_moves_the_digital_weights_only(digits):
    model = network()
    mho.convert(model, "standard-hwa-2023")
    mho.calibrate(model, [digits.train_x[:64]])
    names = set(model.state_dict())
    before = model.linear2.weight.detach().clone()
    parameter = model.linear2.weight
    train(model, digits, 1, weight_noise=30)  # so much that a trace of it would show
    assert model.linear2.weight is parameter
    # A step of Adam is at most its rate times (1 - beta1) / sqrt(1 - beta2) = sqrt(10).
    steps = math.ceil(len(digits.train_y) / 64)
    moved = (parameter - before).detach().abs().max()
    assert 0 < moved < steps * 2e-3 * math.sqrt(10) < before.abs().max()
    assert set(model.state_dict()) == names
    assert not model.training


def test_an_ideal_chip_holds_what_it_was_given():
    model = network()
    mho.convert(model, "ideal")
    chip = look_at(model, 3, "1 s", "1 d")
    count = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    assert len(chip.targets) == count
    assert np.abs(chip.targets).max() == 1
    assert list(chip.errors) == ["1 s", "1 d"]
    assert max(np.abs(error).max() for error in chip.errors.values()) < 1e-6
    g_max = mho.load("ideal").cell.g_max
    pairs = np.sort(chip.conductances.reshape(-1))
    assert len(pairs) == 2 * count
    # One device of a pair carries |w|, the other nothing.
    expected = np.sort(np.concatenate([np.zeros(count), np.abs(chip.targets) * g_max]))
    np.testing.assert_allclose(pairs, expected, atol=1e-6 * g_max)


def test_errors_of_an_aged_chip_are_those_of_its_products():
    model = nn.Sequential(nn.Linear(30, 20, bias=False))
    mho.convert(model, "pcm-joshi-2020")
    chip = look_at(model, 3, "1 d")
    weight = model[0].weight.detach()
    with torch.no_grad():
        held = model(torch.eye(30)).T
    error = (held - weight) / weight.abs().amax(1, keepdim=True)
    np.testing.assert_allclose(chip.errors["1 d"], error.flatten().numpy(), atol=1e-5)
    assert error.std() > 0.01


def test_percent():
    assert percent(0.9683, 0.0042).replace("\N{NO-BREAK SPACE}", " ") == "96.8 ± 0.4 %"
    assert percent(0.9683, math.nan).replace("\N{NO-BREAK SPACE}", " ") == "96.8 %"


def test_the_demo_tells_its_whole_story_in_one_file(run, tmp_path):
    page = tmp_path / "report.html"
    result = run("demo", "--instances", 2, "--epochs", 2, "--out", page)
    assert result.code == 0, result.err
    assert "5 matrices on 5 arrays" in result.out
    for time in ("digital", "1 s", "1 h", "1 d", "30 d", "1 y", "10 y"):
        assert f"│ {time} " in result.out
    text = page.read_text(encoding="utf8")
    images = re.findall(r'<img src="(data:image/svg\+xml;base64,)?', text)
    assert len(images) == 4
    assert all(images)
    assert not re.findall(r'(?:src|href)="(?!data:)|@import|url\(', text)
    assert ">nan" not in text
    assert "None</" not in text
    cells = re.findall(r"[\d.]+\s±\s[\d.]+", result.out)
    assert len(cells) == 4 * 6
    assert all(f"<td>{cell}\N{NO-BREAK SPACE}%</td>" in text for cell in cells)
    for part in mho.Hardware.model_fields:
        assert f"<h3>{part}" in text


def test_the_demo_refuses_a_report_that_cannot_be_written(run, tmp_path):
    result = run("demo", "--out", tmp_path / "no" / "report.html")
    assert result.code == 2
    assert "there is no folder" in result.err
