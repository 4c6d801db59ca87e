"""Diagnosis: the error of each effect against closed forms, and what is left of the model."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

import mho
from chips import EVERY_SPREAD, PIXELS, converted
from mho.deploy import _diagnose
from mho.errors import DataError, LifecycleError

SIZE = 64
RANGE = {"kind": "fixed", "value": 2.0}


def identity(hardware) -> nn.Linear:
    """A layer whose exact output is its input, and whose scales are 1."""
    layer = nn.Linear(SIZE, SIZE, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(SIZE))
    mho.convert(layer, mho.Hardware(**hardware))
    return layer


def draws(law, count=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if law == "normal":
        return torch.randn(count, SIZE, generator=generator)
    return 4 * torch.rand(count, SIZE, generator=generator) - 2  # the whole input range


def only_layer(model, batches) -> mho.deploy.LayerDiagnosis:
    (layer,) = mho.diagnose(model, batches).layers
    return layer


# Closed forms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("converter", ["DAC", "ADC"])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_levels_make_an_error_of_a_twelfth_of_a_squared_step(converter, rounding):
    """A sixth when rounding is stochastic; the standard errors are those of n independent e^2."""
    levels = {"bits": 6, "rounding": rounding}
    dac, adc = {"range": RANGE}, {}
    if converter == "DAC":
        dac |= levels
    else:
        adc = {"bound": 1.0, **levels}
    x = draws("uniform")
    layer = only_layer(identity({"dac": dac, "adc": adc}), [x])
    step, n = 4 / 62, x.numel()
    # E[f^2] and E[f^4] of e = step f: f uniform on [-1/2, 1/2], or 1 - u with chance u, else -u.
    mean, fourth = (1 / 12, 1 / 80) if rounding == "nearest" else (1 / 6, 1 / 15)
    error = layer.alone[f"{converter} levels"] * layer.signal
    standard_error = step**2 * math.sqrt((fourth - mean**2) / n)
    assert abs(error - mean * step**2) < 5 * standard_error
    assert layer.cause == f"{converter} levels"


def test_output_noise_has_its_closed_form():
    """sigma times the range 2 times the scale 1, on top of inputs of variance 4/3."""
    x = draws("uniform")
    layer = only_layer(identity({"dac": {"range": RANGE}, "noise": {"output": 0.05}}), [x])
    n = x.numel()
    assert abs(layer.alone["output noise"] * layer.signal - 0.01) < 5 * 0.01 * math.sqrt(2 / n)
    assert layer.snr == pytest.approx(10 * math.log10(4 / 3 / 0.01), abs=0.1)


def test_read_noise_of_an_identity_is_that_of_the_driven_cell():
    """var = sigma^2 v^2 for PCM, so that the error relative to the signal is sigma^2."""
    read = {"kind": "pcm_read", "sigma": 0.1}
    x = draws("uniform")
    layer = only_layer(identity({"dac": {"range": RANGE}, "noise": {"read": read}}), [x])
    # A mean of n chi-squares weighted with x^2: the variance has a factor E[x^4] / E[x^2]^2.
    standard_error = 0.01 * math.sqrt(2 * (9 / 5) / x.numel())
    assert abs(layer.alone["read noise"] - 0.01) < 5 * standard_error


def test_clipping_and_saturation_are_gaussian_tails():
    """Of inputs N(0, 1): beyond 2 clipped at the DAC, beyond 1.5 of what is left at the ADC."""
    dac, x = {"range": RANGE}, draws("normal")
    layer = only_layer(identity({"dac": dac, "adc": {"bound": 0.75}}), [x])
    for found, limit in ((layer.clipped, 2.0), (layer.saturated, 1.5)):
        tail = 2 * norm.sf(limit)
        assert abs(found - tail) < 5 * math.sqrt(tail * (1 - tail) / x.numel())
    # E[(|x| - a)^2, |x| > a] = 2 ((1 + a^2) Q(a) - a phi(a)); its spread is that of the sample.
    beyond = (x.abs() - 2).clamp(min=0).double().square()
    mean = 2 * (5 * norm.sf(2) - 2 * norm.pdf(2))
    error = layer.alone["input clipping"] * layer.signal
    assert abs(error - mean) < 5 * float(beyond.std()) / math.sqrt(x.numel())


def test_levels_of_a_sliced_weight():
    """One-hot inputs show every weight's rounding error, uniform in one of 2 x 15 steps."""
    layer = nn.Linear(SIZE, 2000, bias=False)
    with torch.no_grad():
        layer.weight.copy_(draws("uniform") / 2)
        layer.weight[:, 0] = 1.0  # the scale of every column, which is a level
    mho.convert(layer, mho.Hardware(mapping={"kind": "bit_sliced", "bits": 5, "slice_bits": 2}))
    found = only_layer(layer, [torch.eye(SIZE)[1:]])
    n, step = 2000 * (SIZE - 1), 1 / 15
    error = found.alone["weight levels"] * found.signal
    assert abs(error - step**2 / 12) < 5 * step**2 / math.sqrt(180 * n)
    assert found.cause == "weight levels"


def test_drift_alone_and_compensated():
    """One exponent for all cells shrinks weights by (1 + t / t0)^-nu, and a gain undoes it."""
    constant = {"kind": "constant", "value": 0.06}
    drift = {"kind": "power_law", "nu_mean": constant, "nu_std": {"kind": "constant", "value": 0}}
    layer = identity({"cell": {"kind": "composed", "g_max": "25 uS", "drift": drift}})
    mho.program(layer, seed=1)
    mho.at(layer, "1 d")
    factor = (1 + 86400 / 20) ** -0.06
    found = only_layer(layer, [draws("normal")])
    assert found.alone["drift"] == pytest.approx((1 - factor) ** 2, rel=1e-4)
    assert found.without["drift"] < 1e-12
    mho.compensate(layer, "global")
    assert only_layer(layer, [draws("normal")]).error < 1e-12


def test_programming_error_against_the_conductances():
    """An oracle in NumPy from the programmed conductances: (G+ - G-) / g_max times the scale."""
    torch.manual_seed(1)
    layer = nn.Linear(30, 20)
    mho.convert(layer, mho.load("standard-hwa-2023").with_fields(dac={"range": RANGE}))
    mho.program(layer, seed=4)
    mho.at(layer, "1 h")
    x = torch.randn(500, 30).clamp(-2, 2)
    g = layer.analog["weight"].programmed.double().numpy()
    weight = layer.weight.detach().double().numpy()
    noisy = (g[0] - g[1]) / 25e-6 * np.abs(weight).max(1, keepdims=True)
    exact = x.double().numpy() @ weight.T
    error = x.double().numpy() @ noisy.T - exact
    found = only_layer(layer, [x])
    wanted = (error**2).mean() / (exact**2).mean()
    assert found.alone["programming error"] == pytest.approx(wanted, rel=1e-4)


# One effect, two effects --------------------------------------------------------------------------

WIRES = {"kind": "first_order", "scale": 1e3}
SPLIT = {"kind": "positive_negative"}
CONSTANT = {"kind": "constant", "value": 0.5}
SINGLE = {
    "programming error": {"cell": {"kind": "pcm", "drift": None, "read": None}},
    "drift": {"cell": {"kind": "pcm", "programming": None, "read": None}},
    "1/f noise": {"cell": {"kind": "pcm", "programming": None, "drift": None}},
    "cell variability": {"cell": {"kind": "composed", "g_max": 1e-5, "variability": {"gain": 0.1}}},
    "stuck cells": {"cell": {"kind": "composed", "g_max": 1e-5, "faults": {"at_max": 0.01}}},
    "weight levels": {"mapping": {"kind": "bit_sliced", "bits": 4, "slice_bits": 1}},
    "input clipping": {"dac": {"range": {"kind": "fixed", "value": 0.5}}},
    "DAC levels": {"dac": {"bits": 5, "range": RANGE}},
    "DAC gain spread": {"dac": {"gain_spread": 0.1, "range": RANGE}},
    "DAC offset spread": {"dac": {"offset_spread": 0.1, "range": RANGE}},
    "DAC asymmetry": {"dac": {"asymmetry": 0.1, "range": RANGE}},
    "input noise": {"noise": {"input": 0.1}},
    "wire resistance": {"array": {"wires": WIRES}},
    "polarity spread": {"array": {"polarity_spread": 0.1}, "dac": {"scheme": SPLIT}},
    "front end": {"adc": {"front_end": {"series_resistance": 0.1}}},
    "read noise": {"noise": {"read": {"kind": "additive", "sigma": 0.1}}},
    "output noise": {"noise": {"output": 0.1, "output_spread": 0.2}},
    "ADC asymmetry": {"adc": {"asymmetry": 0.1}},
    "ADC transfer curve": {"adc": {"bound": 40.0, "transfer": {"kind": "compressive"}}},
    "ADC gain spread": {"adc": {"gain_spread": 0.1}},
    "ADC offset spread": {"adc": {"offset_spread": 0.1}},
    "ADC saturation": {"adc": {"bound": 1.0}},
    "ADC levels": {"adc": {"bits": 5, "bound": 40.0}},
}


def programmed(parts, age="1 d"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer = nn.Linear(40, 30)
    parts = {**parts, "dac": {"range": RANGE, **parts.get("dac", {})}}
    mho.convert(layer, mho.Hardware(**parts))
    mho.program(layer, seed=6)
    return mho.at(layer, age)


INPUTS = draws("uniform", 400)[:, :40]


@pytest.mark.parametrize("name", SINGLE)
def test_the_only_effect_makes_the_whole_error(name):
    """Up to rounding errors of single precision."""
    layer = only_layer(programmed(SINGLE[name]), [INPUTS])
    assert layer.cause == name
    assert layer.error > 1e-6
    assert layer.shares[name] == pytest.approx(1, abs=1e-4)
    assert layer.without[name] < 1e-10
    assert layer.together == pytest.approx(0, abs=1e-4)


def test_every_effect_was_tried():
    from mho.deploy._effects import EFFECTS

    # That of half precision is below the least error here, and integers are never the only effect.
    single = {effect.name for effect in EFFECTS} - {"digital precision"}  # test_columns.py has it
    assert set(SINGLE) == single


PAIRS = [
    ("programming error", "output noise"),
    ("1/f noise", "ADC levels"),
    ("input noise", "ADC saturation"),
    ("weight levels", "read noise"),
    ("DAC levels", "output noise"),
    ("input clipping", "DAC gain spread"),
    ("input clipping", "DAC levels"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_two_effects_one_alone_is_all_but_the_other(first, second):
    parts = copy.deepcopy(SINGLE[first])
    for part, fields in SINGLE[second].items():
        parts[part] = {**fields, **parts.get(part, {})}
    layer = only_layer(programmed(parts), [INPUTS])
    assert layer.alone[first] == pytest.approx(layer.without[second], rel=1e-3, abs=1e-10)
    assert layer.alone[second] == pytest.approx(layer.without[first], rel=1e-3, abs=1e-10)


def test_independent_effects_add():
    """Rounding of inputs and output noise: a cross term of mean 0 and known standard error."""
    x = draws("uniform")
    dac = {"bits": 6, "range": RANGE}
    layer = only_layer(identity({"dac": dac, "noise": {"output": 0.01}}), [x])
    first, second = layer.alone["DAC levels"], layer.alone["output noise"]
    standard_error = 2 * math.sqrt(first * second / x.numel())
    assert abs(layer.error - first - second) < 5 * standard_error


def test_an_effect_hidden_by_another_has_no_share():
    """The measured deviation after a day replaces the programming error of this ReRAM."""
    cell = mho.load("reram-wan-2022").cell
    layer = only_layer(programmed({"cell": cell}), [INPUTS])
    assert layer.alone["programming error"] == 0
    assert layer.shares["drift"] == pytest.approx(1, abs=1e-4)


def test_corrections_act_with_drift_only():
    """A gain that makes up for drift would otherwise be counted as an error of all the others."""
    cell = {"kind": "pcm", "read": None}
    model = programmed({"cell": cell, "noise": {"output": 0.1}}, "1 y")
    raw = only_layer(model, [INPUTS])
    mho.compensate(model, "global")
    mended = only_layer(model, [INPUTS])
    for name in ("programming error", "output noise"):
        assert mended.alone[name] == raw.alone[name]
    assert mended.without["drift"] == raw.without["drift"]
    assert mended.alone["drift"] < raw.alone["drift"] / 10
    assert "corrections" in str(mho.diagnose(model, [INPUTS]))


# Layers and models --------------------------------------------------------------------------------


def test_a_convolution_is_diagnosed_as_the_product_over_its_patches():
    """Same conductances, same inputs but how often: cells' errors agree up to rounding."""
    conv = nn.Conv2d(3, 8, 3)
    linear = nn.Linear(27, 8)
    with torch.no_grad():
        linear.weight.copy_(conv.weight.flatten(1))
    x = torch.rand(6, 3, 9, 9)
    patches = nn.functional.unfold(x, 3).transpose(1, 2).flatten(0, 1)
    found = []
    for layer, inputs in ((conv, x), (linear, patches)):
        mho.convert(layer, mho.load("pcm-joshi-2020").with_fields(dac={"range": RANGE}))
        mho.program(layer, seed=3)
        mho.at(layer, "1 h")
        found.append(only_layer(layer, [inputs]))
    for name, value in found[0].alone.items():
        assert value == pytest.approx(found[1].alone[name], rel=1e-4)
    assert found[0].error == pytest.approx(found[1].error, rel=1e-4)


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(4, 6, 3, stride=2)
        self.gru = nn.GRU(6, 5, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(10, 2, batch_first=True)
        self.unused = nn.Linear(3, 3)
        self.silent = nn.Linear(10, 3)

    def forward(self, x):
        y, _ = self.gru(self.up(x).transpose(1, 2))
        return self.attention(y, y, y)[0], self.silent(torch.zeros_like(y))


def test_every_kind_of_layer_and_layers_that_see_nothing():
    torch.manual_seed(0)
    model = Everything()
    mho.convert(model, EVERY_SPREAD)
    x = torch.randn(3, 4, 7)
    with pytest.raises(LifecycleError, match="calibrate"):
        mho.diagnose(model, [x])
    mho.calibrate(model, [x])
    mho.program(model, seed=0)
    found = mho.diagnose(model, [x])
    assert found.unreached == ("unused.weight", "silent.weight")
    assert len(found.layers) == 7  # one transposed convolution, two directions with two, two
    assert all(0 < layer.error < math.inf for layer in found.layers)
    assert "unused.weight" in str(found)


def test_the_sample_of_large_data_is_bounded_and_fair(monkeypatch):
    """Later data are larger: the share of clipped inputs is that of all data, not of some."""
    monkeypatch.setattr(_diagnose, "VECTORS", 1000)
    layer = identity({"dac": {"range": RANGE}})
    batches = [draws("normal", 200, seed) * (1 + seed / 20) for seed in range(40)]
    found = only_layer(layer, batches)
    assert found.vectors == 1000
    share = float((torch.cat(batches).abs() > 2).double().mean())
    # Vectors of one batch share their scale: the standard error is that of whole vectors.
    by_vector = (torch.cat(batches).abs() > 2).double().mean(1)
    assert abs(found.clipped - share) < 5 * float(by_vector.std()) / math.sqrt(1000)


def test_the_model_is_left_as_it_was_bit_for_bit():
    model = converted()
    mho.program(model, seed=2)
    mho.at(model, "1 d")
    mho.compensate(model, "affine", [PIXELS])
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inside = [site.crossbar._present for site in mho.sites(model)]
    hardware = [site.crossbar.hardware for site in mho.sites(model)]
    torch.manual_seed(9)
    state, x = torch.random.get_rng_state(), PIXELS.clone()
    first = mho.diagnose(model, [x])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(x, PIXELS)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    for site, now, value in zip(mho.sites(model), inside, hardware, strict=True):
        assert site.crossbar._present is now
        assert site.crossbar.hardware is value
        assert site.crossbar.observer is None
    assert all(module.training for module in model.modules())
    assert mho.diagnose(model, [x]).to_dict() == first.to_dict()


def test_a_failing_run_leaves_no_trace():
    model = converted()
    with pytest.raises(DataError, match="not finite"):
        mho.diagnose(model, [PIXELS, PIXELS * math.nan])
    assert all(site.crossbar.observer is None for site in mho.sites(model))


@pytest.mark.parametrize("batches", [[], [torch.zeros(2, 1, 5, 5)]])
def test_nothing_to_look_at(batches):
    model = nn.Sequential(nn.Conv2d(1, 3, 3))
    mho.convert(model, mho.Hardware())
    with pytest.raises(DataError):
        mho.diagnose(model, batches)


def test_a_model_that_is_not_converted():
    with pytest.raises(LifecycleError, match="convert"):
        mho.diagnose(nn.Linear(2, 2), [torch.zeros(1, 2)])


# The result ---------------------------------------------------------------------------------------


def test_the_result_reads_well(tmp_path):
    model = converted(mho.load("standard-hwa-2023"))
    assert "mho.program" in str(mho.diagnose(model, [PIXELS]))
    mho.program(model, seed=7)
    mho.at(model, "1 y")
    found = mho.diagnose(model, [PIXELS])
    text = str(found)
    assert "chip of seed 7, 1 y old" in text
    assert found.worst.cause == "drift"
    assert "mho.compensate" in text
    ranked = sorted(found.layers, key=lambda layer: layer.snr)
    assert text.index(f"│ {ranked[0].name}") < text.index(f"│ {ranked[1].name}")
    data = json.loads(json.dumps(found.to_dict()))
    assert [layer["name"] for layer in data["layers"]] == ["0.weight", "3.weight"]
    assert data["layers"][0]["snr_db"] == pytest.approx(found.layers[0].snr)
    assert found.plot(tmp_path / "shares.png").stat().st_size > 10_000


def test_an_exact_model_is_said_to_be_exact():
    model = converted(mho.Hardware())
    found = mho.diagnose(model, [PIXELS])
    assert all(layer.error == 0 and layer.cause is None for layer in found.layers)
    assert "exactly" in str(found)
    assert found.to_dict()["layers"][0]["snr_db"] is None
    found.plot()
