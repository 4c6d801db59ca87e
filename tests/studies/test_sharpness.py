"""Sharpness: exact on quadratics, the second-order law on smooth losses, nothing left behind."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mho
from chips import PIXELS, assert_same, cnn, converted
from mho.errors import DataError, RangeError

DRAWS = 225


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quadratic(coupling, slope=0.0):
    """A model of two tensors, and L = w A w / 2 + slope sum w over all of their values."""
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(draws(4, 5, seed=1))
        model[1].weight.copy_(0.3 * draws(3, 4, seed=2))

    def loss(model):
        w = torch.cat([p.flatten() for p in model.parameters()]).double()
        return w @ coupling @ w / 2 + slope * w.sum()

    return model, loss


def law(model, coupling, eta):
    """1/2 eta^2 sum_l sigma_l^2 tr H_l, tensor by tensor."""
    diagonal, found, start = coupling.diagonal(), [], 0
    for p in model.parameters():
        trace = diagonal[start : start + p.numel()].sum()
        found.append(0.5 * eta**2 * float(p.detach().double().var(correction=0) * trace))
        start += p.numel()
    return found


def test_it_is_exact_on_a_diagonal_quadratic():
    """Signs square to 1, so that every single estimate of the curvature is exact."""
    coupling = torch.diag(torch.linspace(0.5, 3, 32, dtype=torch.float64))
    model, loss = quadratic(coupling)
    found = mho.sharpness(model, loss, 0.1, draws=DRAWS)
    expected = law(model, coupling, 0.1)
    assert np.allclose(found.curvatures, expected, rtol=1e-5)
    assert found.second_order == pytest.approx(sum(expected), rel=1e-5)
    assert abs(found.rise - sum(expected)) < 5 * found.rises.std(ddof=1) / math.sqrt(DRAWS)
    assert found.loss == pytest.approx(float(loss(model).detach()))
    assert list(found.by_tensor.values()) == pytest.approx(sorted(expected, reverse=True))


def test_tensors_that_act_together_and_slopes_change_no_mean():
    mixed = draws(32, 32, seed=3).double()
    coupling = mixed @ mixed.T / 32
    model, loss = quadratic(coupling)
    found = mho.sharpness(model, loss, 0.2, draws=DRAWS)
    expected = law(model, coupling, 0.2)
    for k, value in enumerate(expected):
        standard_error = found.curvatures[:, k].std(ddof=1) / math.sqrt(DRAWS)
        assert abs(found.curvatures[:, k].mean() - value) < 5 * standard_error
    assert abs(found.rise - sum(expected)) < 5 * found.rises.std(ddof=1) / math.sqrt(DRAWS)
    _, sloping = quadratic(coupling, slope=100.0)
    tilted = mho.sharpness(model, sloping, 0.2, draws=DRAWS)
    assert tilted.rises == pytest.approx(found.rises, abs=1e-3 * found.rise)


def classifier():
    """A small smooth network that its own training has left with a curvature."""
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    x, labels = draws(200, 6, seed=4), draws(200, 4, seed=5).argmax(1)
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(0.5 * draws(*p.shape, seed=10 + k))
    return model, lambda m: nn.functional.cross_entropy(m(x), labels)


def test_rise_and_second_order_agree_for_small_noise():
    """Both are means over 225 draws; the Hessian's blocks themselves are the third witness."""
    model, loss = classifier()
    eta = 0.03
    found = mho.sharpness(model, loss, eta, draws=DRAWS)
    totals = found.curvatures.sum(1)
    errors = [v.std(ddof=1) / math.sqrt(DRAWS) for v in (found.rises, totals)]
    assert max(errors) < 0.1 * found.second_order  # the comparison says something
    assert abs(found.rise - found.second_order) < 5 * math.hypot(*errors)
    parameters = dict(model.named_parameters())
    exact = 0.0
    for name in ("0.weight", "2.weight"):
        w = parameters[name].detach()

        def at(flat, name=name, w=w):
            changed = {k: p.detach() for k, p in parameters.items()} | {name: flat.reshape(w.shape)}
            wrapper = Functional(model, changed)
            return loss(wrapper)

        hessian = torch.autograd.functional.hessian(at, w.flatten())
        exact += 0.5 * eta**2 * float(w.var(correction=0) * hessian.trace())
    assert abs(found.second_order - exact) < 5 * errors[1]
    assert abs(found.rise - exact) < 5 * errors[0] + 10 * eta**2 * exact


class Functional(nn.Module):
    """A model with other parameters."""

    def __init__(self, model, parameters):
        super().__init__()
        self.call = lambda x: torch.func.functional_call(model, parameters, (x,))

    def forward(self, x):
        return self.call(x)


def test_biases_get_noise_when_asked_for():
    model, loss = classifier()
    plain = mho.sharpness(model, loss, draws=2)
    more = mho.sharpness(model, loss, draws=2, targets="weights+bias")
    assert [t.name for t in plain.tensors] == ["0.weight", "2.weight"]
    assert [t.name for t in more.tensors] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert np.array_equal(mho.sharpness(model, loss, draws=2).rises, plain.rises)


def test_a_linear_loss_has_no_curvature():
    model = nn.Linear(3, 2)
    found = mho.sharpness(model, lambda m: m(torch.ones(3)).sum(), draws=2)
    assert not found.curvatures.any()
    assert found.rises == pytest.approx(0, abs=1e-6)
    assert "second-order rise: 0" in str(found)


def squared(model):
    return model(PIXELS).square().mean()


def test_a_converted_model_is_as_sharp_as_its_digital_twin():
    digital = mho.sharpness(cnn(), squared, draws=3)
    model = converted()
    mho.program(model, seed=1)
    on_arrays = mho.sharpness(model, squared, draws=3)
    assert on_arrays.rises == pytest.approx(digital.rises, rel=1e-3)
    assert on_arrays.curvatures == pytest.approx(digital.curvatures, rel=1e-3)
    text = str(digital)
    for part in ("3.weight", "0.weight", "95 % interval", "3 draws"):
        assert part in text


@pytest.mark.parametrize("fail_at", [0, 1, 3, 99])
def test_the_model_is_left_as_it_was(fail_at):
    model = cnn().train()
    model[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    calls = []

    def loss(model):
        calls.append(1)
        if len(calls) > fail_at:
            raise KeyError("of the user")
        return squared(model)

    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    if fail_at < 10:
        with pytest.raises(KeyError):
            mho.sharpness(model, loss, draws=3)
    else:
        mho.sharpness(model, loss, draws=3)
    assert_same(dict(model.state_dict()), before)
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    assert flags == {"0.weight": False, "0.bias": True, "3.weight": True, "3.bias": True}
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"noise_level": -1}, RangeError, "at least 0, got -1"),
        ({"targets": "all"}, RangeError, "running statistics"),
        ({"relative_to": "norm"}, RangeError, "unknown relative_to"),
        ({"draws": 0}, RangeError, "draws"),
        ({"loss": lambda m: 1.0}, DataError, "scalar tensor is needed"),
        ({"loss": lambda m: m(PIXELS)}, DataError, "scalar tensor is needed"),
        ({"loss": lambda m: squared(m) * math.nan}, DataError, "finite"),
        ({"loss": torch.no_grad()(squared)}, DataError, "without no_grad"),
    ],
)
def test_bad_arguments(options, error, message):
    given = {"loss": squared, "draws": 1} | options
    with pytest.raises(error, match=message):
        mho.sharpness(cnn(), **given)
