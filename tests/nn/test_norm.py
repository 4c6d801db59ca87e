"""Batch norm by other scales: formulas against NumPy, gradients, and torch's own as p = 2."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.errors import DataError, RangeError
from mho.nn import L1BatchNorm, TopKBatchNorm

NORMS = {
    "L1": lambda n, **o: L1BatchNorm(n, **o),
    "top 1": lambda n, **o: TopKBatchNorm(n, k=1, **o),
    "top 10": lambda n, **o: TopKBatchNorm(n, k=10, **o),
    "L4": lambda n, **o: L1BatchNorm(n, p=4, **o),
}


def draws(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def filled(norm):
    """Give gamma and beta values that tell channels apart."""
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, norm.num_features))
        norm.bias.copy_(torch.linspace(-1, 1, norm.num_features))
    return norm


def oracle(x, kind):
    """mu and s of each channel, from the formulas, channel by channel in NumPy."""
    means, scales = [], []
    for channel in np.moveaxis(x.numpy().astype(np.float64), 1, 0):
        values = channel.ravel()
        n, deviation = values.size, np.sort(np.abs(values - values.mean()))
        if kind == "L1":
            s = math.sqrt(math.pi / 2) * deviation.mean()
        elif kind == "L4":  # the fourth moment of a standard normal number is 3
            s = (np.mean(deviation**4) / 3) ** 0.25
        else:
            k = int(kind.split()[1])
            c = 0.5 * (1 + math.sqrt(math.pi * math.log(4))) / math.sqrt(2 * math.log(n))
            s = c * deviation[-k:].mean()
        means.append(values.mean())
        scales.append(s)
    return np.array(means), np.array(scales)


@pytest.mark.parametrize("shape", [(64, 3), (16, 3, 7), (8, 3, 5, 4)])
@pytest.mark.parametrize("kind", NORMS)
def test_output_and_running_statistics_are_those_of_the_formulas(kind, shape):
    x = 3 * draws(*shape) + 5
    norm = filled(NORMS[kind](3, momentum=0.2))
    mean, s = oracle(x, kind)
    n = x.numel() // 3
    on_channels = (1, 3, *[1] * (len(shape) - 2))
    gamma, beta = (p.detach().numpy().reshape(on_channels) for p in (norm.weight, norm.bias))
    wanted = (x.numpy() - mean.reshape(on_channels)) / np.sqrt(s.reshape(on_channels) ** 2 + 1e-5)
    assert norm(x).detach().numpy() == pytest.approx(gamma * wanted + beta, rel=1e-4, abs=1e-5)
    assert norm.running_mean.numpy() == pytest.approx(0.2 * mean, rel=1e-5)
    assert norm.running_var.numpy() == pytest.approx(0.8 + 0.2 * s**2 * n / (n - 1), rel=1e-5)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize(("affine", "tracked"), [(True, True), (False, True), (True, False)])
def test_p_2_is_torchs_batch_norm(momentum, affine, tracked):
    options = {"momentum": momentum, "affine": affine, "track_running_stats": tracked}
    ours, theirs = L1BatchNorm(4, p=2, **options), nn.BatchNorm2d(4, **options)
    for seed in range(3):
        x = draws(6, 4, 3, 3, seed=seed) * 2 + 1
        a, b = (x.clone().requires_grad_() for _ in range(2))
        outputs = ours(a), theirs(b)
        assert outputs[0].detach().numpy() == pytest.approx(outputs[1].detach().numpy(), abs=2e-6)
        for out in outputs:
            (out.pow(3).sum()).backward()
        assert a.grad.numpy() == pytest.approx(b.grad.numpy(), abs=2e-4)
    for name, value in theirs.state_dict().items():
        assert ours.state_dict()[name].numpy() == pytest.approx(value.numpy(), rel=1e-5)
    ours.eval(), theirs.eval()
    assert ours(x).detach().numpy() == pytest.approx(theirs(x).detach().numpy(), abs=2e-6)


@pytest.mark.parametrize("kind", NORMS)
def test_gradients_are_those_of_finite_differences(kind):
    norm = filled(NORMS[kind](2, dtype=torch.float64))

    def run(x, weight, bias):
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, x)

    x = draws(12, 2, 1, dtype=torch.float64).requires_grad_()
    parameters = [p.detach().clone().requires_grad_() for p in (norm.weight, norm.bias)]
    assert torch.autograd.gradcheck(run, (x, *parameters))


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("factor", [-3.0, 0.25, 100.0])
def test_scales_go_with_the_input(kind, factor):
    """s(a x + b) = |a| s(x), and the output but for eps does not notice a > 0."""
    norm, x = NORMS[kind](5, eps=0.0), draws(40, 5)
    centered = (x - x.mean(0)).T
    s, scaled = (norm.squared_scale(c).sqrt() for c in (centered, factor * centered))
    assert scaled.numpy() == pytest.approx(abs(factor) * s.numpy(), rel=1e-5)
    moved = norm(factor * x + 7).detach().numpy()
    assert moved == pytest.approx(math.copysign(1, factor) * norm(x).detach().numpy(), abs=1e-4)


def test_s_of_gaussians():
    """The deviation itself for L1; 1.44 to 1.47 (k = 1) and 1.22 to 1.30 (k = 10) of it for top k.

    Means over channels; the bands are those of a separate NumPy check for n = 2048 to 32768.
    """
    x = draws(400, 4096)
    assert L1BatchNorm(400).squared_scale(x).sqrt().mean() == pytest.approx(1, abs=5e-3)
    one, ten = (TopKBatchNorm(400, k=k).squared_scale(x).sqrt() for k in (1, 10))
    assert 1.43 < one.mean() < 1.48
    assert 1.21 < ten.mean() < 1.31


@pytest.mark.parametrize("kind", NORMS)
def test_in_eval_mode_it_is_torchs_layer_with_the_same_state_dict(kind):
    norm, theirs = filled(NORMS[kind](3)), nn.BatchNorm2d(3)
    norm(draws(9, 3, 4, 4) * 2 + 1)
    theirs.load_state_dict(norm.state_dict())
    x = draws(2, 3, 4, 4, seed=1)
    assert torch.equal(norm.eval()(x), theirs.eval()(x))
    assert torch.equal(copy.deepcopy(norm)(x), norm(x))


@pytest.mark.parametrize("kind", NORMS)
def test_a_constant_channel_has_finite_gradients(kind):
    x = torch.full((20, 2), 3.0, requires_grad=True)
    NORMS[kind](2)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_half_precision_has_statistics_in_single():
    x = (100 + draws(512, 3)).bfloat16()
    norm = L1BatchNorm(3)
    out = norm(x)
    assert out.dtype == torch.bfloat16
    assert norm.running_var.dtype == torch.float32
    reference = L1BatchNorm(3)(x.float())
    assert torch.equal(out, reference.bfloat16())


def test_momentum_none_is_the_plain_average():
    norm = TopKBatchNorm(2, k=3, momentum=None)
    batches = [draws(30, 2, seed=seed) for seed in range(4)]
    for x in batches:
        norm(x)
    mean = torch.stack([x.mean(0) for x in batches]).mean(0)
    assert norm.running_mean.numpy() == pytest.approx(mean.numpy(), abs=1e-6)


def test_it_trains_in_a_model_that_goes_on_arrays():
    model = nn.Sequential(nn.Linear(6, 8), L1BatchNorm(8), nn.ReLU(), nn.Linear(8, 2))
    receipt = mho.convert(model, mho.Hardware())
    assert receipt.analog == ["0", "3"]
    model(draws(20, 6)).sum().backward()
    assert model[1].weight.grad is not None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: L1BatchNorm(3, p=0.5), RangeError, "at least 1, got 0.5"),
        (lambda: L1BatchNorm(3, p=math.inf), RangeError, "finite"),
        (lambda: TopKBatchNorm(3, k=0), RangeError, "at least 1, got 0"),
        (lambda: TopKBatchNorm(3, k=2.0), RangeError, "whole number"),
        (lambda: TopKBatchNorm(3)(draws(9, 3)), DataError, "fewer than k = 10"),
        (lambda: L1BatchNorm(3)(draws(1, 3)), DataError, "1 value per channel"),
        (lambda: L1BatchNorm(3)(draws(4, 5)), DataError, r"\(batch, 3, ...\), got \(4, 5\)"),
        (lambda: L1BatchNorm(3).eval()(draws(4, 5)), DataError, "got"),
        (lambda: L1BatchNorm(3)(draws(3)), DataError, "got"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
