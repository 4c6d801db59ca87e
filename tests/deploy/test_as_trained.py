"""Cells that hold their weights already: no programming error, and everything else as usual."""

import math

import pytest
import torch
from torch import nn

import mho
from mho.nn import sites

SHAPE = (60, 80)
EPS = torch.finfo(torch.float32).eps
POWER = {
    "kind": "power_law", "t0": "20 s",
    "nu_mean": {"kind": "constant", "value": 0.06}, "nu_std": {"kind": "constant", "value": 0.01},
}  # fmt: skip
DEVICE = {"kind": "soft_bounds", "step": 0.002, "low": -1.5, "high": 1.5}


def layer(mapping="differential", cell="pcm", **parts):
    g = torch.Generator().manual_seed(3)
    model = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.randn(SHAPE, generator=g) / 8)
    mho.convert(model, mho.Hardware(cell=cell, mapping=mapping, **parts))
    return model


def crossbar(model):
    (site,) = sites(model)
    return site.crossbar


def held(model):
    """The weights by which the arrays compute now."""
    (site,) = sites(model)
    return site.crossbar.operand(site.matrix).weight.detach()


def cell(**laws):
    return {"kind": "composed", "g_max": "25 uS", **laws}


def exponents(model, time):
    """-ln(w(t) / w(0)) / ln(1 + t / t0) for weights that are large enough to divide."""
    fresh = held(model)
    mho.at(model, time)
    seconds = float(crossbar(model).seconds)
    large = fresh.abs() > 1e-3
    return -(held(model) / fresh)[large].double().log() / math.log1p(seconds / 20)


@pytest.mark.parametrize(
    "mapping",
    ["differential", "single", {"kind": "single", "reference": "cell"}, "pairs", "table"],
    ids=str,
)
@pytest.mark.parametrize("parts", [{}, {"array": {"rows": 30, "cols": 25}}], ids=["one", "six"])
def test_the_cells_hold_what_the_weights_say(mapping, parts):
    """Although the cell has a programming law; up to rounding through conductances in float32."""
    law = {"kind": "gaussian", "std": {"kind": "constant", "value": 1.0}}
    model = layer(mapping, cell(programming=law), **parts)
    mho.program(model, method="as_trained")
    scale = model.weight.detach().abs().max()
    assert (held(model) - model.weight).abs().max() <= 8 * EPS * scale
    mho.program(model, method="direct")
    assert (held(model) - model.weight).std() > 0.01 * scale


def test_signed_cells_and_rounding_mappings():
    model = layer("signed", cell(signed=True))
    mho.program(model, method="as_trained")
    assert (held(model) - model.weight).abs().max() <= 4 * EPS
    sliced = layer({"kind": "bit_sliced", "bits": 6}, cell())
    mho.program(sliced, method="as_trained")
    mapped = crossbar(sliced).operand(sliced.weight)
    mho.erase(sliced)
    nominal = crossbar(sliced).operand(sliced.weight)
    torch.testing.assert_close(mapped.weight, nominal.weight)


def test_they_drift_by_the_law_of_the_cell():
    """nu = 0.06 + 0.01 xi for each device; 5 standard errors."""
    model = layer(cell=cell(drift=POWER))
    mho.program(model, seed=2, method="as_trained")
    nu = exponents(model, "30 d")
    n = len(nu)
    assert abs(nu.mean() - 0.06) < 5 * 0.01 / math.sqrt(n)
    assert abs(nu.std() - 0.01) < 5 * 0.01 / math.sqrt(2 * n)
    mho.at(model, 0)
    assert torch.equal(exponents(model, "30 d"), nu)
    mho.program(model, seed=3, method="as_trained")
    assert not torch.equal(exponents(model, "30 d"), nu)


def test_the_exponent_is_that_of_the_conductance():
    """nu(r) = 0.02 + 0.08 r with r = |w| / scale."""
    law = {**POWER, "nu_mean": {"kind": "polynomial", "coefficients": [0.02, 0.08]}}
    law["nu_std"] = {"kind": "constant", "value": 0.0}
    model = layer({"kind": "differential", "scaling": "tile"}, cell(drift=law))
    mho.program(model, method="as_trained")
    w = model.weight.detach()
    wanted = (0.02 + 0.08 * (w / w.abs().max()).abs())[w.abs() > 1e-3]
    torch.testing.assert_close(exponents(model, "1 y"), wanted.double(), rtol=1e-4, atol=0)


def test_compensation_and_evaluation_go_on_as_usual():
    model = layer(cell=cell(drift=POWER))
    mho.at(mho.program(model, seed=5, method="as_trained"), "1 d")
    mho.compensate(model, "global")
    factor = (1 + 86400 / 20) ** -0.06
    assert float(crossbar(model).gain[0]) == pytest.approx(1 / factor, rel=0.01)

    def score(m):
        gain = torch.ones(SHAPE[0]) if crossbar(m).gain is None else crossbar(m).gain
        return -float((held(m) * gain[:, None] - m.weight.detach()).norm())

    by_hand = score(model)
    result = mho.evaluate(model, score, times=["1 d"], instances=2, seed=5, method="as_trained")
    assert result.scores[0, 0] == by_hand
    direct = mho.evaluate(layer(), score, times=["1 d"], instances=2, seed=5)
    assert (direct.scores < result.scores).all()  # programming error of a pcm cell


def trained(rows=None, **laws):
    """A layer with its training attached, the arrays of which go beyond a weight of 1."""
    device_cell = cell(device=DEVICE, **laws)
    model = layer({"kind": "differential", "scaling": "column"}, device_cell)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attached = mho.attach(optimizer, model, mho.PulsedSGD(), fill=0.9)
    return model, attached


def test_while_a_training_is_attached_its_scale_is_that_of_g_max():
    law = {**POWER, "nu_mean": {"kind": "polynomial", "coefficients": [0.02, 0.03]}}
    law["nu_std"] = {"kind": "constant", "value": 0.0}
    model, attached = trained(drift=law)
    (state,) = attached.states.values()
    scale = state.matrix.scale
    mho.program(model, method="as_trained")
    assert torch.equal(crossbar(model).scale, torch.full((1, SHAPE[0]), scale))
    w = model.weight.detach()
    assert (w / scale).abs().max() > 1.3  # 0.9 of a bound of 1.5
    torch.testing.assert_close(held(model), w, rtol=1e-6, atol=1e-8)
    r = (w / scale).abs()[w.abs() > 1e-3].clamp(max=1.0)
    wanted = (0.02 + 0.03 * r).double()
    torch.testing.assert_close(exponents(model, "1 d"), wanted, rtol=1e-4, atol=0)
    attached.remove()
    mho.program(model, method="as_trained")
    assert torch.equal(crossbar(model).scale[0], w.abs().amax(1))


def test_right_after_training_the_chip_computes_what_the_attached_model_does():
    """With noise of the read-out in its units, from the same random numbers."""
    device_cell = cell(device=DEVICE)
    model = layer(
        cell=device_cell,
        noise={"output": 0.1},
        adc={"bits": 6, "bound": 3.0},
        dac={"range": {"kind": "fixed", "value": 1.0}},
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mho.attach(optimizer, model, mho.PulsedSGD())
    model.eval()
    x = torch.rand(20, SHAPE[1])

    def output():
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(1)
            return model(x)

    before = output()
    mho.program(model, method="as_trained")
    # A difference in the last bit may change a level of the converter, but only of few outputs.
    assert ((output() - before).abs() < 1e-5).float().mean() > 0.99


def test_a_chip_as_trained_is_saved_and_loaded():
    model = layer(cell=cell(drift=POWER))
    mho.at(mho.program(model, seed=2, method="as_trained"), "1 h")
    other = layer(cell=cell(drift=POWER))
    other.load_state_dict(model.state_dict())
    assert torch.equal(held(other), held(model))
    assert torch.equal(held(mho.at(other, "1 y")), held(mho.at(model, "1 y")))


def test_weights_that_cannot_be_held():
    model = layer()
    with torch.no_grad():
        model.weight[2, 2] = float("inf")
    with pytest.raises(mho.MhoError, match="not finite"):
        mho.program(model, method="as_trained")
    large = layer({"kind": "differential", "scaling": "fixed", "w_max": 0.1})
    with pytest.raises(mho.MhoError, match="above mapping"):
        mho.program(large, method="as_trained")
    with pytest.raises(mho.MhoError, match=r"did you mean 'as_trained'"):
        mho.program(large, method="astrained")
    with pytest.raises(mho.MhoError, match="nothing was reported"):
        mho.programming_report(mho.program(layer(), method="as_trained"))
