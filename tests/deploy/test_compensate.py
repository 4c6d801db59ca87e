"""Digital corrections: what each removes exactly, what it leaves, and what it does not touch."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mho
from chips import PIXELS, assert_same, cnn, converted


def drifting(nu=0.06, **more):
    """Hardware without any error but one drift exponent for all cells."""
    constant = {"kind": "constant", "value": nu}
    drift = {"kind": "power_law", "nu_mean": constant, "nu_std": {"kind": "constant", "value": 0.0}}
    return mho.Hardware(cell={"kind": "composed", "g_max": "25 uS", "drift": drift}, **more)


def linear(hardware, rows=13, out=6):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layer = nn.Linear(rows, out)
    mho.convert(layer, hardware)
    return mho.program(layer, seed=5)


def digital(layer, x):
    """The product of the digital twin."""
    with torch.no_grad():
        return nn.functional.linear(x, layer.weight, layer.bias)


def distance(y, wanted):
    """The largest difference, relative to the largest value."""
    return ((y - wanted).abs().max() / wanted.abs().max()).item()


def assert_restored(y, wanted, share=1e-6):
    assert distance(y, wanted) <= share


HARDWARE = {
    "one array": {},
    "several arrays": {"array": {"rows": 20, "cols": 7}},
    "pairs": {"mapping": {"kind": "pairs", "factors": (1.0, 4.0)}},
    "calibrated range": {"dac": {"range": {"kind": "fixed", "value": 2.5}}},
    "tile scaling": {"mapping": {"kind": "differential", "scaling": "tile"}, "array": {"rows": 20}},
}


@settings(max_examples=8)
@given(
    st.floats(0.001, 0.2), st.sampled_from(["1 s", "1 d", "10 y"]), st.sampled_from(list(HARDWARE))
)
def test_one_drift_exponent_is_undone_exactly(nu, time, case):
    hardware, fresh = drifting(nu, **HARDWARE[case]), cnn()
    wanted = fresh(PIXELS)
    for method in ("global", "global_exact", "column"):
        model = mho.program(converted(hardware, batches=()), seed=1)
        assert_restored(model(PIXELS), wanted)
        aged = mho.at(model, time)(PIXELS)
        assert distance(aged, wanted) > 1e-3 * nu
        assert_restored(mho.compensate(model, method)(PIXELS), wanted)


def test_exponents_that_differ_by_column_need_the_gains_of_columns():
    layer, x = linear(drifting(array={"rows": 5})), torch.randn(40, 13)
    fresh = layer(x)
    crossbar = layer.analog["weight"]
    crossbar.coefficient = crossbar.coefficient * torch.linspace(0.2, 2, 6)[None, :, None]
    mho.at(layer, "1 y")
    assert distance(mho.compensate(layer, "global")(x), fresh) > 0.02
    assert_restored(mho.compensate(layer, "column")(x), fresh)
    nu = 0.06 * np.linspace(0.2, 2, 6)
    wanted = (1 + 365.25 * 86400 / 20) ** nu
    assert crossbar.gain.tolist() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("method", ["global", "global_exact", "column"])
def test_gains_are_ratios_of_mean_read_outs(method):
    """For any cell: mean |W_0| over mean |W_t|, of the whole matrix or of each column."""
    cell = {"kind": "pcm", "read": None}
    layer = linear(mho.Hardware(cell=cell, array={"rows": 5, "cols": 4}))
    eye, bias = torch.eye(13), layer.bias
    programmed = (layer(eye) - bias).detach().double().numpy()  # (rows, out)
    aged = (mho.at(layer, "30 d")(eye) - bias).detach().double().numpy()
    exact = layer.weight.detach().double().numpy().T
    reference = exact if method == "global_exact" else programmed
    axis = 0 if method == "column" else None
    wanted = np.abs(reference).mean(axis) / np.abs(aged).mean(axis) * np.ones(6)
    gain = mho.compensate(layer, method).analog["weight"].gain
    assert gain.tolist() == pytest.approx(wanted, rel=1e-5)
    assert layer.analog["weight"].offset is None


def test_columns_that_read_as_zero_keep_the_gain_one():
    layer = nn.Linear(5, 3)
    with torch.no_grad():
        layer.weight[1] = 0
    mho.convert(layer, drifting())
    mho.at(mho.program(layer), "1 y")
    gain = mho.compensate(layer, "column").analog["weight"].gain
    assert gain[1] == 1
    assert (gain[[0, 2]] > 1.5).all()
    with torch.no_grad():
        layer.weight.zero_()
    mho.at(mho.program(layer), "1 y")
    assert mho.compensate(layer, "global").analog["weight"].gain.tolist() == [1, 1, 1]


def test_small_columns_are_compensated_like_large_ones():
    """A gain is a ratio: no column is too small beside another one."""
    layer = nn.Linear(200, 3, bias=False)
    with torch.no_grad():
        layer.weight[1] *= 1e-5
    mho.convert(layer, drifting())
    mho.at(mho.program(layer), "1 y")
    gain = mho.compensate(layer, "column").analog["weight"].gain
    assert gain.tolist() == pytest.approx([(1 + 365.25 * 86400 / 20) ** 0.06] * 3, rel=1e-5)


SPREAD_ADC = mho.Hardware(
    adc={"gain_spread": 0.2, "offset_spread": 0.3}, dac={"range": {"kind": "fixed", "value": 1.0}}
)


class Everything(nn.Module):
    """Layers whose products are called in different ways."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(2, 3, 3, stride=2)
        self.rnn = nn.LSTM(3, 4, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        y = self.up(x, output_size=[2 * x.shape[-1] + 2])
        y, _ = self.rnn(y.transpose(1, 2).tanh())
        y, _ = self.attention(y, y, y)
        return self.head(y.tanh())


@pytest.mark.parametrize("kind", ["cnn", "everything"])
def test_affine_removes_gains_and_offsets_of_converters(kind):
    """Exactly, and in every layer, where a column has one converter and nothing is noisy."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        model, x = (cnn(), 0.3 * PIXELS) if kind == "cnn" else (Everything(), torch.rand(6, 2, 5))
    wanted = model(x).detach()
    mho.convert(model, SPREAD_ADC)
    mho.program(model, seed=3)
    assert distance(model(x), wanted) > 0.1
    mho.compensate(model, "affine", [x[:2], x[2:]])
    # The gains are rounded to single precision, and a fit amplifies that of its data.
    assert_restored(model(x), wanted, 1e-4)
    mho.compensate(model, "none")
    assert distance(model(x), wanted) > 0.1


def test_affine_is_the_regression_of_exact_on_analog_outputs():
    layer, x = linear(mho.Hardware(cell={"kind": "pcm", "read": None})), torch.randn(50, 13) + 0.3
    mho.at(layer, "1 y")
    analog = (layer(x) - layer.bias).detach().double().numpy()
    exact = (digital(layer, x) - layer.bias).detach().double().numpy()
    mho.compensate(layer, "affine", [x])
    crossbar = layer.analog["weight"]
    for column in range(6):
        gain, offset = np.polyfit(analog[:, column], exact[:, column], 1)
        assert crossbar.gain[column].item() == pytest.approx(gain, rel=1e-5)
        assert crossbar.offset[column].item() == pytest.approx(offset, abs=1e-5)
    fitted = (layer(x) - digital(layer, x)).square().mean(0)
    assert (fitted <= torch.tensor((analog - exact) ** 2).mean(0) + 1e-9).all()


def test_affine_does_not_depend_on_the_order_and_size_of_batches():
    model = converted(mho.Hardware(cell={"kind": "pcm", "read": None}), batches=())
    mho.at(mho.program(model), "1 y")
    x = torch.randn(12, 1, 5, 5)
    fits = []
    for batches in ([x], x.split(1), [x[6:], x[:6]], [x[torch.randperm(12)]]):
        mho.compensate(model, "affine", batches)
        crossbars = (model[i].analog["weight"] for i in (0, 3))
        fits.append(torch.cat([torch.cat((c.gain, c.offset)) for c in crossbars]))
    for other in fits[1:]:
        torch.testing.assert_close(other, fits[0], rtol=1e-5, atol=1e-6)


def test_a_correction_is_of_its_time_and_stays_until_the_next():
    layer = linear(mho.Hardware(cell={"kind": "pcm", "read": None}))
    gains = {}
    for time in ("1 d", "1 y", "1 d"):
        mho.compensate(mho.at(layer, time))
        gains.setdefault(time, layer.analog["weight"].gain)
        assert torch.equal(gains[time], layer.analog["weight"].gain)
        assert torch.equal(mho.compensate(layer).analog["weight"].gain, gains[time])
    assert (gains["1 y"] > gains["1 d"]).all()
    mho.at(layer, "10 y")
    assert torch.equal(layer.analog["weight"].gain, gains["1 d"])
    mho.program(layer, seed=9)
    assert layer.analog["weight"].gain is None


def test_layers_that_did_not_run_are_named_and_left_alone():
    model = nn.ModuleDict({"used": nn.Linear(5, 5), "spare": nn.Linear(5, 5)})
    mho.convert(model, mho.Hardware(cell="pcm"))
    mho.program(model)
    with pytest.warns(UserWarning, match=r"left without correction: spare\.weight"):
        mho.compensate(
            model, "affine", [torch.randn(9, 5)], forward=lambda model, x: model["used"](x)
        )
    assert model["used"].analog["weight"].gain is not None
    assert model["spare"].analog["weight"].gain is None


X = torch.randn(4, 13)


@pytest.mark.parametrize(
    ("method", "batches", "message"),
    [
        ("globl", None, "unknown method 'globl'"),
        ("affine", None, "needs data"),
        ("global", [X], "takes no data"),
        ("affine", [], "no batch of data"),
        ("affine", X, r"write \[x\]"),
        ("affine", [X, X * torch.nan], "not finite"),
        ("affine", [X, X[:, 1:]], "got"),
    ],
)
def test_nothing_is_changed_on_errors(method, batches, message):
    layer = mho.compensate(mho.at(linear(mho.Hardware(cell="pcm")), "1 d"), "column").train()
    kept, hooks = copy.deepcopy(layer.state_dict()), len(layer.analog["weight"]._forward_hooks)
    with pytest.raises(mho.MhoError, match=message):
        mho.compensate(layer, method, batches)
    assert_same(layer.state_dict(), kept)
    assert layer.training
    assert len(layer.analog["weight"]._forward_hooks) == hooks


def test_it_needs_a_chip():
    layer = nn.Linear(4, 4)
    with pytest.raises(mho.MhoError, match=r"call mho\.convert"):
        mho.compensate(layer)
    mho.convert(layer, mho.Hardware(cell="pcm"))
    with pytest.raises(mho.MhoError, match=r"call mho\.program"):
        mho.compensate(layer)
