"""Input ranges and ADC bounds from data, against their definitions in NumPy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import mho
from chips import PIXELS, assert_same, cnn, converted
from mho.deploy import _calibrate

ROWS = (5, 4, 4)  # 13 inputs on arrays of 5 rows
METHODS = ("moving_std", "moving_quantile", "quantile", "max")
RANGED = {"array": {"rows": 5}, "dac": {"range": "calibrated"}}


def linear(**more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layer = nn.Linear(13, 6)
    mho.convert(layer, mho.Hardware(**RANGED, **more))
    return layer


def batches():
    rng = np.random.default_rng(1)
    scale = np.linspace(0.2, 3.0, 13)  # every array sees another range
    return [
        torch.tensor(scale * rng.normal(size=(n, 13)), dtype=torch.float32) for n in (40, 7, 90)
    ]


def expected(data, method, quantile=0.98, sigma=2.5):
    """The range of each row-slice by the words of the documentation."""
    found = []
    for piece in np.split(np.arange(13), np.cumsum(ROWS)[:-1]):
        seen = [batch.numpy()[:, piece].ravel() for batch in data]

        def smallest(values):
            values = np.sort(np.abs(values))
            shares = np.arange(1, len(values) + 1) / len(values)
            return values[shares >= quantile - 1e-12][0]

        found.append(
            {
                "moving_std": lambda seen=seen: np.mean([sigma * np.std(x) for x in seen]),
                "moving_quantile": lambda seen=seen: np.mean([smallest(x) for x in seen]),
                "quantile": lambda seen=seen: smallest(np.concatenate(seen)),
                "max": lambda seen=seen: np.abs(np.concatenate(seen)).max(),
            }[method]()
        )
    return np.array(found)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rule", ["calibrated", "learned"])
def test_ranges_of_every_array(method, rule):
    layer = linear() if rule == "calibrated" else nn.Linear(13, 6)
    if rule == "learned":
        mho.convert(layer, mho.Hardware(array={"rows": 5}, dac={"range": "learned"}))
    report = mho.calibrate(layer, batches(), method=method, quantile=0.98, sigma=2.5)
    found = layer.analog["weight"].input_range
    assert isinstance(found, nn.Parameter) == (rule == "learned")
    assert found.detach().numpy() == pytest.approx(expected(batches(), method), rel=1e-6)
    assert report.ranges == {"weight": pytest.approx(found.tolist())}
    assert "weight" in str(report)


def test_ranges_of_a_convolution_are_of_its_pixels_and_not_of_its_padding():
    layer = nn.Conv2d(4, 3, 3, padding=2)
    mho.convert(layer, mho.Hardware(array={"rows": 18}, dac={"range": "calibrated"}))
    x = torch.randn(5, 4, 6, 6) * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None]
    mho.calibrate(layer, [x], method="quantile", quantile=0.5)
    halves = [np.sort(np.abs(x[:, c].numpy()).ravel()) for c in (slice(0, 2), slice(2, 4))]
    wanted = [half[half.size // 2 - 1] for half in halves]
    assert layer.analog["weight"].input_range.tolist() == pytest.approx(wanted)


def test_the_whole_quantile_keeps_an_even_sample_of_large_data(monkeypatch):
    """5000 of 40000 values: by the DKW bound, the share is off by 0.04 once in 10^6 trials."""
    monkeypatch.setattr(_calibrate, "CACHE", 5000)
    statistic = _calibrate._Statistic("quantile", 0.9, 0.0)
    drifting = torch.rand(80, 500) * torch.linspace(1, 3, 80)[:, None]  # later data are larger
    for batch in drifting:
        statistic.see(batch)
    share = float((drifting <= statistic.result()).float().mean())
    assert share == pytest.approx(0.9, abs=0.04)


def test_the_sample_of_large_data_is_of_every_feature(monkeypatch):
    """Outliers of one feature are 1/16 of all values, however many are kept: DKW as above."""
    monkeypatch.setattr(_calibrate, "CACHE", 5000)
    statistic = _calibrate._Statistic("quantile", 0.97, 0.0)
    data = torch.rand(2500, 16)
    data[:, 7] += 10
    for batch in data.split(250):
        statistic.see(batch.flatten())
    share = float((data <= statistic.result()).float().mean())
    assert share == pytest.approx(0.97, abs=0.04)
    assert (
        statistic.result() > 10
    )  # 0.97 lies within the outliers, which begin at 0.9375, by 6 standard errors


def test_every_layer_sees_the_inputs_of_the_digital_model():
    """Even where other layers are analog already, and whatever the mode and the chip."""
    model, digital = converted(), cnn()
    mho.program(model, seed=1)
    mho.at(model, "10 y")
    model.train()
    mho.calibrate(model, [PIXELS], method="max")
    hidden = digital[:3](PIXELS).detach().numpy()
    pieces = np.split(hidden, [19, 38, 57], axis=1)  # 75 rows in 19 + 19 + 19 + 18
    ranges = [np.abs(piece).max() for piece in pieces]
    assert model[3].analog["weight"].input_range.tolist() == pytest.approx(ranges, rel=1e-6)
    assert model.training


def test_bounds_are_the_largest_outputs_of_every_column():
    layer = linear(adc={"bound": "calibrated"})
    report = mho.calibrate(layer, batches(), method="max")
    crossbar, x = layer.analog["weight"], torch.cat(batches()).double().numpy()
    weight, start = layer.weight.detach().double().numpy(), 0
    for part, size in enumerate(ROWS):
        piece = slice(start, start + size)
        y = np.abs(x[:, piece] @ weight[:, piece].T).max(0)
        scale = np.abs(weight[:, piece]).max(1)
        wanted = y / (scale * np.abs(x[:, piece]).max())
        assert crossbar.output_bound[part].tolist() == pytest.approx(wanted, rel=1e-5)
        start += size
    assert report.bounds["weight"] == pytest.approx(float(crossbar.output_bound.max()))
    # With range and bound from the same data, nothing of them is clipped.
    y = layer(torch.cat(batches()))
    torch.testing.assert_close(
        y, nn.functional.linear(torch.cat(batches()), layer.weight, layer.bias)
    )


@pytest.mark.parametrize("slice_bits", [1, 2, None])
def test_bounds_are_the_largest_of_all_conversions_of_a_product(slice_bits):
    """Bits of the input, or its polarities, are converted apart, and may give more than the sum."""
    scheme = {"kind": "bit_serial", "slice_bits": slice_bits}
    if slice_bits is None:
        scheme = {"kind": "positive_negative", "sum": "digital"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layer = nn.Linear(13, 6, bias=False)
    dac = {"range": "calibrated", "bits": 5, "scheme": scheme}
    mho.convert(layer, mho.Hardware(array={"rows": 5}, dac=dac, adc={"bound": "calibrated"}))
    data = batches()[2]
    mho.calibrate(layer, [data], method="max")
    crossbar, start = layer.analog["weight"], 0
    weight = layer.weight.detach().double().numpy()
    exact, clipped = np.zeros((len(data), 6)), 0
    for part, size in enumerate(ROWS):
        piece = slice(start, start + size)
        x, w = data.double().numpy()[:, piece], weight[:, piece]
        r = np.abs(x).max()
        code = np.round(x / r * 15).astype(int)  # 31 levels around zero
        reads = [np.maximum(code, 0) / 15, np.maximum(-code, 0) / 15]
        if slice_bits is not None:
            base = 2**slice_bits
            digits = [np.abs(code) // base**k % base for k in range(4 // slice_bits)]
            reads = [np.sign(code) * digit / (base - 1) for digit in digits]
        signals = np.stack([np.abs(read @ w.T) for read in reads])
        bound = crossbar.output_bound[part].double().numpy() * np.abs(w).max(1)
        np.testing.assert_allclose(bound, signals.max((0, 1)), rtol=1e-5)
        clipped += (np.abs(code / 15 @ w.T).max(0) < bound * (1 - 1e-4)).sum()
        exact += r * (code / 15) @ w.T
        start += size
    assert clipped > 0  # the largest sum would have been too small a bound
    np.testing.assert_allclose(layer(data).detach().numpy(), exact, rtol=0, atol=1e-5)


def test_silent_inputs_and_columns_get_any_range():
    layer = linear(adc={"bound": "calibrated"})
    with torch.no_grad():
        layer.weight[2] = 0
    data = batches()[0]
    data[:, :5] = 0
    mho.calibrate(layer, [data])
    assert layer.analog["weight"].input_range[0] == 1
    assert layer.analog["weight"].output_bound[0].tolist() == [1] * 6
    assert layer(data).isfinite().all()


def test_a_range_that_an_optimizer_holds_stays_the_same_parameter():
    layer = nn.Linear(13, 6)
    mho.convert(layer, mho.Hardware(dac={"range": "learned"}))
    mho.calibrate(layer, batches(), method="max")
    held = layer.analog["weight"].input_range
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    mho.calibrate(layer, batches()[:1], method="max")
    assert layer.analog["weight"].input_range is held
    assert held.item() == pytest.approx(float(batches()[0].abs().max()))
    assert any(held is p for group in optimizer.param_groups for p in group["params"])


def test_layers_that_did_not_run_are_named():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x):
            return self.used(x)

    model = Half()
    mho.convert(model, mho.Hardware(dac={"range": "calibrated"}))
    report = mho.calibrate(model, [torch.randn(4, 5)])
    assert report.unreached == ("spare.weight",)
    assert "spare.weight" in str(report)
    with pytest.raises(mho.MhoError, match=r"spare\.weight.*calibrate"):
        model.spare(torch.randn(4, 5))


@pytest.mark.parametrize("form", ["mapping", "tuple", "forward"])
def test_batches_of_any_form(form):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = linear()

        def forward(self, x, factor=1.0):
            return self.layer(factor * x)

    model, (x, _, _) = Two(), batches()
    batch, forward = {
        "mapping": ({"x": x, "factor": 2.0}, None),
        "tuple": ((x, 2.0), None),
        "forward": (("label", x), lambda model, batch: model(2 * batch[1])),
    }[form]
    mho.calibrate(model, iter([batch]), method="max", forward=forward)
    found = model.layer.analog["weight"].input_range.numpy()
    assert found == pytest.approx(2 * expected([x], "max"))


INF = torch.full((2, 13), torch.inf)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "no batch of data"),
        (iter([]), {}, "no batch of data"),
        (torch.randn(4, 13), {}, r"write \[x\]"),
        ([torch.randn(4, 13), INF], {}, "not finite; nothing was calibrated"),
        ([torch.randn(4, 13), torch.randn(4, 12)], {}, r"must be \(\.\.\., 13\), got \(4, 12\)"),
        ([torch.randn(4, 13)], {"method": "quantil"}, "unknown method 'quantil'"),
        ([torch.randn(4, 13)], {"quantile": 0.0}, "quantile must be in"),
        ([torch.randn(4, 13)], {"quantile": 1.5}, "quantile must be in"),
        ([torch.randn(4, 13)], {"sigma": -1.0}, "sigma above 0"),
        ([(torch.randn(4, 13), torch.zeros(4))], {}, "forward=lambda model, batch"),
        (["text"], {}, "batch of type str"),
    ],
)
@pytest.mark.parametrize("before", ["uncalibrated", "calibrated"])
def test_nothing_is_changed_on_errors(data, options, message, before):
    layer = linear(adc={"bound": "calibrated"}).train()
    if before == "calibrated":
        mho.calibrate(layer, batches())
    kept = copy.deepcopy(layer.state_dict())
    with pytest.raises(mho.MhoError, match=message):
        mho.calibrate(layer, data, **options)
    assert_same(layer.state_dict(), kept)
    assert layer.training
    assert layer.analog["weight"].observer is None


def test_a_fault_of_the_model_itself_leaves_nothing_behind():
    layer = linear()

    def broken(model, batch):
        model(batch)
        raise KeyError("of the user")

    with pytest.raises(KeyError, match="of the user"):
        mho.calibrate(layer, [torch.randn(4, 13)], forward=broken)
    assert layer.analog["weight"].input_range is None
    assert layer.analog["weight"].observer is None
