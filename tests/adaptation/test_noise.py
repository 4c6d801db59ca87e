"""Weight noise of a training: its moments, what it leaves alone, and its gradients."""

import math

import pytest
import torch
from torch import nn

import mho

ROWS, OUT = 512, 24
DTYPES = [torch.float32, torch.bfloat16]
SIGNED = mho.Hardware(cell="afm-2025", mapping={"kind": "signed"})
TILES = mho.Hardware(array={"rows": 200, "cols": 10})


def converted(hardware=None, dtype=torch.float32, seed=0) -> nn.Sequential:
    random = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(ROWS, OUT, bias=False))
    sizes = torch.logspace(-1, 1, OUT)[:, None]  # columns of very different size
    model[0].weight.data = sizes * torch.randn(OUT, ROWS, generator=random)
    model = model.to(dtype)
    mho.convert(model, hardware or mho.Hardware())
    return model


def adapted(adaptation, hardware=None, dtype=torch.float32):
    model = converted(hardware, dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    return model, mho.adapt(model, adaptation, optimizer)


def held(model, draws) -> torch.Tensor:
    """What the arrays multiply with, (draws, out, rows), in float32."""
    site = next(mho.sites(model))
    each = [site.crossbar.operand(site.matrix).weight for _ in range(draws)]
    return torch.stack([weight.detach().float() for weight in each])


def column_maximum(weight, slices) -> torch.Tensor:
    return torch.cat(
        [p.abs().amax(1, keepdim=True).expand_as(p) for p in weight.split(slices, 1)], 1
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("relative_to", ["column", "tile"])
def test_additive_noise_has_the_std_of_its_column_or_array(dtype, relative_to):
    """Within 2 % in every column: n = 40 draws of 112 to 200 rows, std of a std 1/sqrt(2n) < 1.1 %.

    The mean of 24 x 3 such columns is held to five standard errors; each column to five as well.
    """
    model, _ = adapted(
        mho.Adaptation(noise=mho.AdditiveNoise(std=0.05, relative_to=relative_to)), TILES, dtype
    )
    model.train()
    torch.manual_seed(1)
    slices = list(next(mho.sites(model)).crossbar.geometry.partition.rows)
    assert len(slices) == 3
    weight = model[0].weight.detach().float()
    noise = held(model, 40) - weight
    largest = column_maximum(weight, slices)
    if relative_to == "tile":
        tiles = largest.split(list(next(mho.sites(model)).crossbar.geometry.partition.columns), 0)
        largest = torch.cat([t.amax(0, keepdim=True).expand_as(t) for t in tiles])
    measured = torch.stack([p.square().mean((0, 2)).sqrt() for p in noise.split(slices, 2)], 1)
    expected = 0.05 * torch.stack([p[:, 0] for p in largest.split(slices, 1)], 1)
    ratio = measured / expected
    n = 40 * min(slices)
    assert (ratio - 1).abs().max() < 5 / math.sqrt(2 * n)
    assert abs(float(ratio.mean()) - 1) < 5 / math.sqrt(2 * n * ratio.numel()) + (
        0.002
        if dtype == torch.bfloat16
        else 0.0  # a bfloat16 of 1 has steps of 2^-7, 0.05 / 12^0.5
    )
    assert (ratio - 1).abs().mean() < 0.02
    assert noise.mean().abs() < 5 * noise.std() / math.sqrt(noise.numel())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_multiplicative_noise_is_relative_to_each_weight(dtype):
    model, _ = adapted(mho.Adaptation(noise={"kind": "multiplicative", "std": 0.1}), None, dtype)
    model.train()
    torch.manual_seed(1)
    weight = model[0].weight.detach().float()
    ratio = held(model, 20) / weight - 1
    n = ratio.numel()
    assert abs(float(ratio.std()) / 0.1 - 1) < 5 / math.sqrt(2 * n) + 0.002
    assert abs(float(ratio.mean())) < 5 * 0.1 / math.sqrt(n)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_programming_noise_is_the_error_of_chips(dtype):
    """Same mean and std by weight as the chips that `mho.program` makes, for every tenth of r."""
    fresh = mho.override(mho.load("pcm-joshi-2020"), ["cell.read=null", "cell.drift=null"])
    model, _ = adapted(mho.Adaptation(noise=mho.ProgrammingNoise()), fresh, dtype)
    site = next(mho.sites(model))
    weight = site.matrix.detach().float()
    scale = site.crossbar.column_scale(weight).T
    r = (weight.abs() / scale).flatten()
    torch.manual_seed(1)
    model.train()
    trained = ((held(model, 40) - weight) / scale).flatten(1)
    chips = []
    for seed in range(40):
        mho.program(model, seed=seed)
        chips.append((site.crossbar.operand(site.matrix).weight.detach().float() - weight) / scale)
    mho.erase(model)
    made = torch.stack(chips).flatten(1)
    rounding = 2.0**-8 if dtype == torch.bfloat16 else 0.0  # of each disturbed weight
    for k in range(10):
        inside = (r >= k / 10) & (r < (k + 1) / 10)
        ours, theirs = trained[:, inside], made[:, inside]
        n = ours.numel()
        assert n > 400
        error = 5 * float(theirs.std()) * math.sqrt(2 / n)
        assert abs(float(ours.mean() - theirs.mean())) < error
        tolerance = 5 / math.sqrt(n) + (rounding / float(theirs.std())) ** 2
        assert abs(float(ours.std() / theirs.std()) - 1) < tolerance


def test_scale_multiplies_the_error():
    small, large = (
        adapted(mho.Adaptation(noise=mho.ProgrammingNoise(scale=s)), SIGNED)[0] for s in (1, 3)
    )
    deviations = []
    for model in (small, large):
        model.train()
        torch.manual_seed(1)
        deviations.append(held(model, 2) - model[0].weight.detach())
    assert torch.allclose(deviations[1], 3 * deviations[0], rtol=1e-3, atol=1e-6)


def test_drop_connect_and_stuck_cells_have_their_shares():
    n = 20 * OUT * ROWS
    model, _ = adapted(mho.Adaptation(drop_connect=0.03))
    model.train()
    torch.manual_seed(1)
    dropped = float((held(model, 20) == 0).float().mean())
    assert abs(dropped - 0.03) < 5 * math.sqrt(0.03 * 0.97 / n)
    model, _ = adapted(mho.Adaptation(faults={"at_max": 0.02}), SIGNED)
    model.train()
    scale = next(mho.sites(model)).crossbar.column_scale(model[0].weight).T
    relative = held(model, 20) / scale
    # The largest weight of each column is at the maximum anyway.
    at_max = float((relative.abs() > 1 - 1e-5).float().mean())
    own = 1 / ROWS
    assert abs(at_max - (0.02 + 0.98 * own)) < 5 * math.sqrt(0.02 * 0.98 / n)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_quantized_weights_have_their_levels(bits, dtype):
    model, _ = adapted(mho.Adaptation(quantization={"kind": "uniform", "bits": bits}), None, dtype)
    model.train()
    scale = next(mho.sites(model)).crossbar.column_scale(model[0].weight).T.float()
    codes = held(model, 1)[0] / scale * (2 ** (bits - 1) - 1)
    near = codes.round()
    assert (codes - near).abs().max() < (2.0**-7 if dtype == torch.bfloat16 else 1e-5) * 2**bits
    assert len(near.unique()) <= 2**bits - 1
    assert near.max() == 2 ** (bits - 1) - 1
    if bits < 8:
        assert len(near.unique()) == 2**bits - 1


def test_dorefa_spreads_small_weights_over_more_levels():
    """tanh(w) / tanh(w_max) rounded, literally."""
    model, _ = adapted(mho.Adaptation(quantization={"kind": "dorefa", "bits": 4}))
    model.train()
    w = model[0].weight.detach().double()
    largest = w.abs().amax(1, keepdim=True)
    expected = (w.tanh() / largest.tanh() * 7).round() / 7 * largest
    off = (held(model, 1)[0].double() - expected).abs() / largest
    # In float32 a value at the edge between two levels may fall on the other side.
    assert (off > 1e-6).float().mean() < 1e-3
    assert off.max() < 1 / 7 + 1e-6


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_parameter_is_never_written_by_noise(dtype):
    everything = mho.Adaptation(
        noise=mho.AdditiveNoise(std=0.1), quantization={"kind": "uniform", "bits": 4},
        drop_connect=0.1, faults={"at_zero": 0.1},
    )  # fmt: skip
    model, _ = adapted(everything, "standard-hwa-2023", dtype)
    mho.calibrate(model, [torch.randn(8, ROWS, dtype=dtype)])
    before = model[0].weight.detach().clone()
    model.train()
    for _ in range(3):
        model(torch.randn(8, ROWS, dtype=dtype)).square().mean().backward()
    assert torch.equal(model[0].weight, before)


def test_products_and_input_gradients_are_those_of_the_noisy_weights():
    """y = x W~^T, dL/dx = g W~, dL/dW = g^T x, with one W~ for all three."""
    model, _ = adapted(mho.Adaptation(noise=mho.AdditiveNoise(std=0.2)))
    model = model.double().train()
    x = torch.randn(5, ROWS, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(7)
    y = model(x)
    g = torch.randn_like(y)
    y.backward(g)
    torch.manual_seed(7)
    noisy = next(mho.sites(model)).crossbar.operand(model[0].weight).weight.detach()
    assert (noisy - model[0].weight).abs().max() > 0.1
    assert torch.equal(y, x @ noisy.T)
    assert torch.allclose(x.grad, g @ noisy, rtol=1e-12)
    assert torch.allclose(model[0].weight.grad, g.T @ x, rtol=1e-12)


def test_a_draw_for_each_sample():
    """Two samples alike give two answers, their vectors share one draw; a batch's draw is one."""
    x = torch.randn(1, 3, ROWS).expand(2, -1, -1).clone()
    x[:, 1] = x[:, 0]
    for per, alike in (("sample", False), ("batch", True)):
        model, _ = adapted(mho.Adaptation(noise=mho.AdditiveNoise(std=0.1), per=per))
        y = model.train()(x)
        assert torch.allclose(y[0], y[1], rtol=1e-5) == alike
        assert torch.allclose(y[:, 0], y[:, 1], rtol=1e-4, atol=1e-4)


def test_evaluation_and_chips_are_without_noise():
    model, handle = adapted(mho.Adaptation(noise=mho.AdditiveNoise(std=0.3)))
    x = torch.randn(4, ROWS)
    exact = x @ model[0].weight.T
    assert torch.equal(model.eval()(x), exact)
    assert not torch.allclose(model.train()(x), exact, rtol=0.01)
    mho.program(model, seed=0)
    assert torch.allclose(model.train()(x), exact, rtol=1e-4, atol=1e-3)
    mho.erase(model)
    handle.remove()
    assert torch.equal(model(x), exact)


def test_a_ramp_scales_the_noise_with_the_steps():
    adaptation = mho.Adaptation(
        noise=mho.AdditiveNoise(std=0.1), schedule={"kind": "ramp", "steps": 4, "start": 0.2}
    )
    model, handle = adapted(adaptation)
    model.train()
    weight = model[0].weight.detach()
    largest = weight.abs().amax(1, keepdim=True)
    for step in range(6):
        noise = (held(model, 8) - weight) / largest
        strength = min(1.0, 0.2 + 0.8 * step / 4)
        assert abs(float(noise.std()) / (0.1 * strength) - 1) < 5 / math.sqrt(2 * noise.numel())
        model(torch.randn(2, ROWS)).sum().backward()
        handle.optimizer.step()
    assert handle.step == 6
