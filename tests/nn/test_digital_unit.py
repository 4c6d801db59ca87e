"""Digital units inside layers: from ADC codes on columns to outputs, for every layer type."""

import copy
from operator import attrgetter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mho
from chips import PIXELS, cnn, output
from mho.circuits import FixedPoint
from mho.nn import convert, sites
from mho.tiles import column_outputs, column_scales
from oracles.digital_unit import fixed_point

from .cases import FAMILIES, TORCH_WARNS, every_family, leaves, run

pytestmark = pytest.mark.filterwarnings(*TORCH_WARNS)

SPREAD = {"bits": 8, "bound": "calibrated", "gain_spread": 0.05, "offset_spread": 0.02}
FITTED = {"kind": "fixed_point", "step": "parameters"}


def hardware(digital=FITTED, adc=SPREAD, **more):
    """Arrays so small that there are several, and converters that differ."""
    dac = more.pop("dac", {"bits": 8, "range": "calibrated"})
    array = {"rows": 20, "cols": 7, **more.pop("array", {})}
    return mho.Hardware(array=array, dac=dac, adc=adc, digital=digital, **more)


def on_chip(value, seed=1, batches=(PIXELS,)):
    model = cnn()
    convert(model, value)
    mho.calibrate(model, batches)
    return mho.program(model, seed=seed)


HARDWARE = {
    "one pass": {},
    "two reads": {
        "dac": {
            "bits": 8,
            "range": "calibrated",
            "scheme": {"kind": "positive_negative", "sum": "digital"},
        }
    },
    "bit serial": {"dac": {"bits": 6, "range": "calibrated", "scheme": "bit_serial"}},
    "sliced weights": {"mapping": {"kind": "bit_sliced", "bits": 5, "slice_bits": 2}},
    "arrays apart": {"adc": {**SPREAD, "overflow": "retry"}},
    "levels beyond the bound": {"adc": {**SPREAD, "overflow": "extend"}},
    "largest bounds": {"adc": {**SPREAD, "bound": "maximum"}},
    "shared, curved SAR": {
        "adc": {
            **SPREAD,
            "converter": {"kind": "sar", "unit_spread": 0.05, "noise": 0.2},
            "transfer": {"kind": "polynomial", "cubic": -0.2, "cubic_spread": 0.03},
            "columns_per_converter": 3,
        }
    },
    "ramp": {"adc": {**SPREAD, "converter": {"kind": "ramp", "inl": 1.0, "comparator_spread": 1}}},
    "counter": {"adc": {**SPREAD, "converter": {"kind": "counter", "phase": "free"}}},
    "wires": {"array": {"wires": {"kind": "resistive", "row": "5 ohm", "column": "5 ohm"}}},
    "shared charges": {"array": {"combine": "charge_average"}},
    "means of voltages": {"array": {"combine": {"kind": "voltage_mean", "load": "1 uS"}}},
    "resistances in series": {
        "array": {"combine": "resistance_sum"},
        "mapping": "binary",
        "dac": {"bits": 1, "range": "calibrated"},
        "cell": {"kind": "composed", "g_max": "25 uS", "g_min": "5 uS"},
    },
}


@pytest.mark.parametrize("case", HARDWARE)
def test_a_layer_is_the_big_integer_reference_on_its_adc_codes(case):
    """Codes are read off the columns; scales and offsets are rounded to registers here again."""
    model = on_chip(hardware(**HARDWARE[case]))
    mho.compensate(model, "columns")
    layer, x = model[3], PIXELS.flatten(1).repeat(1, 3)
    (site,) = sites(layer)
    crossbar = site.crossbar
    plain = crossbar.operand(site.matrix.detach())
    scale = column_scales(plain, crossbar.hardware, crossbar.geometry)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        values, _ = column_outputs(x, plain, crossbar.hardware, crossbar.geometry)
        torch.manual_seed(0)
        ours = layer(x) / crossbar.output_step
    codes = values / scale
    assert (codes - codes.round()).abs().max() < 1e-3  # whole but for single precision
    step, slices = crossbar.output_step, crossbar.geometry.slices
    corrections = crossbar.column_offset.sum(0).reshape(slices, -1).sum(0)
    factors = (scale / step * 2**7).round()
    offsets = ((corrections + layer.bias.detach()) / step * 2).round()
    columns = lambda y, i: y.unflatten(-1, (slices, -1))[..., i].flatten(-2)  # noqa: E731
    for i in range(8):
        whole = columns(codes.round(), i).int().tolist()
        registers = columns(factors, i).int().tolist()
        wanted = [fixed_point(each, registers, int(offsets[i])) for each in whole]
        assert ours[:, i].round().tolist() == wanted
        assert ours[:, i].tolist() == pytest.approx(wanted, rel=1e-6)


@every_family
@settings(max_examples=3)
@given(data=st.data())
def test_every_layer_computes_with_it(family, data):
    """Each matrix of a layer has a unit that adds the layer's own bias, and keeps its bound.

    The bound is that of the published formats, for K columns: sum_k |x_k| / 256 + 1/4 + 1/2 steps.
    """
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    case = data.draw(FAMILIES[family]())
    for leaf in leaves(case.inputs):
        leaf.requires_grad_()
    convert(case.module, hardware())
    batch = {"args": case.inputs, "options": case.options}
    mho.calibrate(case.module, [batch], forward=lambda m, b: m(*b["args"], **b["options"]))
    mho.program(case.module, seed=2)
    seen = {}

    def watch(name):
        def look(y, exact, beyond, setting):
            unit = setting.operand.unit
            columns = setting.geometry.parts * setting.geometry.slices
            most = columns * 127 / 256 + 0.75
            clipped = setting.hardware.digital.limited(exact, unit.step)
            assert ((y.double() - clipped).abs() <= most * unit.step * (1 + 1e-5)).all()
            whole = y / unit.step
            assert (whole - whole.round()).abs().max() < 1e-3
            seen[name] = unit.offset.detach()

        return look

    for site in sites(case.module):
        site.crossbar.watch = watch(site.path)
    outputs, gradients = run(case.module, case)
    assert all(y.isfinite().all() for y in outputs)
    assert all(g is None or g.isfinite().all() for g in gradients)
    assert set(seen) == {site.path for site in sites(case.module)}
    for path, offset in seen.items():
        assert torch.equal(offset, bias_of(case.module, path, offset))


def bias_of(module, path, like):
    """The bias that belongs to a weight, zeros where there is none."""
    if path in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
        if module.in_proj_bias is None:
            return torch.zeros_like(like)
        return module.in_proj_bias.detach().chunk(3)["qkv".index(path[0])]
    try:
        bias = attrgetter(path.replace("weight", "bias"))(module)
    except AttributeError:
        bias = None
    return torch.zeros_like(like) if bias is None else bias.detach()


def test_a_folded_batch_norm_and_relu_are_in_the_unit():
    """Convolution, batch norm and ReLU in one unit: the digital model, within a few steps.

    What is left is ADC levels, a half of 1/127 of each of two columns, and the unit's bound.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    x = torch.randn(64, 3, 9, 9)
    with torch.no_grad():
        model[1].weight.uniform_(0.5, 2)
        model[1].bias.normal_()
    for _ in range(20):
        model(x)
    model.eval()
    wanted = model(x).detach()
    mho.fold_batch_norm(model)
    convert(model, hardware({**FITTED, "relu": True}, {"bits": 8, "bound": "calibrated"}, dac={
        "bits": 12, "range": "calibrated"}))  # fmt: skip
    mho.calibrate(model, [x], method="max")
    with torch.no_grad():
        y = model[0](x)
    (site,) = sites(model)
    crossbar = site.crossbar
    operand = crossbar.operand(site.matrix.detach())
    steps = column_scales(operand, crossbar.hardware, crossbar.geometry)
    arrays = crossbar.geometry.parts
    most = steps.sum(0).max() / 2 + crossbar.output_step * (arrays * 127 / 256 + 0.75)
    most = most + site.matrix.abs().sum(1).max() * crossbar.input_range.max() / 2047 / 2
    assert y.min() == 0
    assert (y - wanted).abs().max() <= most
    assert torch.equal(y, model(x))  # the ReLU behind it has nothing left to do


def test_the_gradient_is_nearly_that_of_floating_point():
    """Rounding is straight through; what differs is 1/256 in the scale, and who saturates."""
    grads = {}
    for kind in ("float", "half", FITTED):
        model = on_chip(hardware(kind))
        model(PIXELS).square().sum().backward()
        name = kind if isinstance(kind, str) else "fixed_point"
        grads[name] = torch.cat([p.grad.flatten() for p in model.parameters()])
    for name in ("half", "fixed_point"):
        assert torch.cosine_similarity(grads[name], grads["float"], 0) > 0.99


def test_training_through_the_unit_lowers_the_loss_as_floating_point_does():
    wanted, drop = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), {}
    for digital in ("float", FITTED):
        model = cnn()
        convert(model, hardware(digital))
        mho.calibrate(model, [PIXELS])
        optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.02), []
        for _ in range(10):
            optimizer.zero_grad()
            loss = (model(PIXELS) - wanted).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        drop[str(digital)] = losses[0] - losses[-1]
    assert 0 < 0.9 * drop["float"] < drop[str(FITTED)]


# ---- states and refusals -------------------------------------------------------------------------


def test_the_step_is_the_largest_output_over_the_largest_code():
    model, x = cnn(), PIXELS
    wanted = [model[0](x), model(x)]
    for digital, half in (({}, 127), ({"output_bits": 6}, 31), ({"output_signed": False}, 255)):
        analog = copy.deepcopy(model)
        convert(analog, hardware({"kind": "fixed_point", **digital}))
        found = mho.calibrate(analog, [x], method="max")
        assert "output step" in str(found)
        for site, y in zip(sites(analog), wanted, strict=True):
            largest = y.max() if half == 255 else y.abs().max()
            assert site.crossbar.output_step.item() == pytest.approx(largest.item() / half)
            assert found.steps[site.name] == pytest.approx(site.crossbar.output_step.item())


def test_without_codes_or_with_a_moving_scale_it_has_no_meaning():
    with pytest.raises(mho.MhoError, match=r"computes with the codes of the ADC: give adc\.bits"):
        mho.Hardware(digital="fixed_point", dac={"range": "calibrated"})
    with pytest.raises(mho.MhoError, match="one scale for all vectors"):
        mho.Hardware(digital="fixed_point", dac={"range": "per_token"}, adc={"bits": 8, "bound": 9})
    mho.Hardware(digital="half", dac={"range": "per_token"})


def test_before_calibration_it_says_what_to_do():
    layer = nn.Linear(4, 2)
    dac = {"bits": 8, "range": {"kind": "fixed", "value": 1.0}}
    convert(layer, hardware(adc={"bits": 8, "bound": 4.0}, dac=dac))
    with pytest.raises(mho.MhoError, match=r"output step is unknown.*call mho.calibrate"):
        layer(torch.ones(1, 4))


def test_parameters_beyond_the_formats_are_counted_and_never_clamped():
    """An ADC bound of 40 makes steps of 40/127 of the range; outputs are far smaller."""
    model = cnn()
    convert(model, hardware({"kind": "fixed_point"}, {"bits": 8, "bound": 40.0}))
    mho.calibrate(model, [PIXELS])
    message = r"cannot hold 3 of 3 scales .*\(1, 7\) holds 0 to .*\(1.992 steps\).*integer bits"
    with pytest.raises(mho.MhoError, match=message):
        model(PIXELS)
    with torch.no_grad():
        model[0].bias[1] = 1e3
    convert(model := mho.restore(model), hardware({"kind": "fixed_point"}))
    mho.calibrate(model, [PIXELS])
    with torch.no_grad():
        model[0].bias[1] = -1e5
    with pytest.raises(mho.MhoError, match=r"1 of 3 offsets \(-1e\+05 to -1e\+05\)"):
        model(PIXELS)


def test_compiled_code_cannot_raise_and_gives_nan():
    layer = nn.Linear(6, 3)
    convert(layer, hardware({"kind": "fixed_point"}))
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    mho.calibrate(layer, [x])
    with torch.no_grad():
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), layer(x))
        layer.bias[1] = 1e5
        assert compiled(x).isnan().any(0).tolist() == [False, True, False]


@pytest.mark.parametrize("digital", ["half", FITTED])
def test_a_checkpoint_brings_the_unit_back(digital):
    model = mho.compensate(on_chip(hardware(digital)), "columns")
    again = cnn(seed=9)
    convert(again, hardware(digital))
    again.load_state_dict(model.state_dict())
    assert torch.equal(output(again), output(model))


def test_half_precision_follows_the_range_of_a_vector():
    """Scale, bias and result are rounded, each by a share of at most u = 2^-11."""
    dac, adc = {"bits": 8, "range": "per_token"}, {"bits": 8, "bound": 10.0}
    layer = cnn()[0]
    plain = copy.deepcopy(layer)
    convert(layer, hardware("half", adc, dac=dac))
    convert(plain, hardware("float", adc, dac=dac))
    with torch.no_grad():
        y, wanted, bias = layer(PIXELS), plain(PIXELS), plain.bias[:, None, None]
    assert not torch.equal(y, wanted)
    limit = 2.01 * 2.0**-11 * ((wanted - bias).abs() + bias.abs())
    assert ((y - wanted).abs() <= limit).all()


def test_a_wide_unit_in_double_precision_is_the_float_one():
    """With 16-bit formats what is left is half an output step of 16 bits."""
    wide = FixedPoint(
        scale={"integer": 1, "fraction": 15},  # pyright: ignore
        offset={"integer": 8, "fraction": 8},  # pyright: ignore
        output_bits=16,
        step="parameters",
    )
    model, plain = on_chip(hardware(wide)).double(), on_chip(hardware("float")).double()
    x = PIXELS.double()
    step = model[0].analog["weight"].output_step
    y, wanted = model[0](x), plain[0](x)
    assert (y - wanted).abs().max() <= step * (127 / 2**16 + 2**-9 + 0.5) * (1 + 1e-4)
