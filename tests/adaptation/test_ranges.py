"""The gradient of learned ranges while everything else is on too: noise, levels, several arrays."""

import pytest
import torch
from torch import nn

import mho

ROWS, OUT, SIZE = 60, 24, 20
DTYPES = [torch.float32, torch.bfloat16]
HARDWARE = mho.Hardware(
    array={"rows": SIZE, "cols": 10},
    dac={"bits": 8, "range": "learned"},
    adc={"bits": 8, "bound": 50.0},
    noise={"output": 0.04, "read": {"kind": "pcm_read", "sigma": 0.0175}},
)
ADAPTATION = mho.Adaptation(
    noise=mho.AdditiveNoise(std=0.05), range_decay={"decay": 0.1, "keep": 0.5}
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_each_array_has_the_gradient_of_its_own_inputs(dtype):
    """r (sum_{x >= r} min(D, 0) - sum_{x <= -r} max(D, 0)) with D of the noisy weights of the pass.

    The error of a sum of products is bounded by the rounding of each of its terms.
    """
    random = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(ROWS, OUT))
    model[0].weight.data = torch.randn(OUT, ROWS, generator=random)
    model = model.to(dtype)
    x = torch.randn(32, ROWS, generator=random).to(dtype)
    mho.convert(model, HARDWARE)
    mho.calibrate(model, [x], method="moving_std", sigma=1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    mho.adapt(model, ADAPTATION, optimizer)
    model.train()
    site = next(mho.sites(model))
    crossbar = site.crossbar
    torch.manual_seed(5)
    y = model(x)
    g = torch.randn(y.shape, generator=random).to(dtype)
    y.backward(g)
    torch.manual_seed(5)
    noisy = crossbar.operand(site.matrix).weight.detach().double()
    assert (noisy - site.matrix).abs().mean() > 0.05
    slope = g.double() @ noisy
    r = crossbar.input_range.detach().double()
    assert len(r) == 3
    eps = torch.finfo(dtype).eps
    for k in range(3):
        rows = slice(SIZE * k, SIZE * (k + 1))
        part, of = x[:, rows].double(), slope[:, rows]
        high, low = part >= r[k], part <= -r[k]
        assert high.any()
        assert low.any()
        terms = torch.where(high, of.clamp(max=0), 0) - torch.where(low, of.clamp(min=0), 0)
        magnitude = (g.double().abs() @ noisy[:, rows].abs()) * (high | low)
        bound = 4 * eps * float(r[k] * magnitude.sum())
        assert abs(float(crossbar.input_range.grad[k] - r[k] * terms.sum())) <= bound
        share = float((high | low).double().mean())
        assert abs(float(crossbar.clipped.grad[0, k]) - share) <= 2 * eps
    assert crossbar.clipped.grad[1].tolist() == [1, 1, 1]
    before = crossbar.input_range.grad.clone()
    optimizer.step()
    pulled = crossbar.input_range.grad - before
    assert torch.allclose(pulled.double(), 0.1 * r, rtol=0.1 if dtype == torch.bfloat16 else 1e-2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_static_ranges_stay_where_few_inputs_are_clipped(dtype):
    """After training, 0 to 5 % of the inputs are clipped, as the decay's `keep` asks."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(ROWS, OUT), nn.ReLU(), nn.Linear(OUT, 4)).to(dtype)
    x, y = torch.randn(256, ROWS).to(dtype), torch.randint(4, (256,))
    mho.convert(model, mho.Hardware(dac={"bits": 8, "range": "learned"}))
    mho.calibrate(model, [x], method="moving_std", sigma=6.0)  # far too wide
    wide = [site.crossbar.input_range.item() for site in mho.sites(model)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mho.adapt(model, mho.Adaptation(range_decay={"decay": 0.2, "keep": 0.95}), optimizer)
    inputs: list[torch.Tensor] = []
    for _ in range(250):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x).float(), y).backward()
        optimizer.step()
    for site, before in zip(mho.sites(model), wide, strict=True):
        site.crossbar.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
        assert site.crossbar.input_range.item() < before
    model(x)
    for site, seen in zip(mho.sites(model), inputs, strict=True):
        clipped = float((seen.abs() >= site.crossbar.input_range).float().mean())
        assert 0 < clipped < 0.06
