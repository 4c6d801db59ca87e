"""Calibration of every physical column, and what digital units are counted to do."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import mho
from chips import PIXELS, assert_same, chip, cnn
from mho.nn import sites
from mho.tiles import column_outputs

ADC = {"bits": 8, "bound": "calibrated", "gain_spread": 0.05, "offset_spread": 0.02}
FIXED = {"kind": "fixed_point", "step": "parameters"}
IMAGES = 4 * torch.rand(40, 1, 5, 5, generator=torch.Generator().manual_seed(2)) - 2


def hardware(digital="float", adc=ADC, **more):
    """Arrays so small that there are several, ideal cells, and converters that differ."""
    more = {"dac": {"bits": 12, "range": "calibrated"}, **more}
    return mho.Hardware(array={"rows": 20, "cols": 7}, adc=adc, digital=digital, **more)


def on_chip(value, seed=1):
    model = cnn()
    mho.convert(model, value)
    mho.calibrate(model, [IMAGES])
    return mho.program(model, seed=seed)


def error(model, x=IMAGES):
    """Root mean square of what the outputs are off the digital model's."""
    with torch.no_grad():
        return (model(x) - cnn()(x)).square().mean().sqrt().item()


# ---- least squares of columns --------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [{}, {"mapping": {"kind": "bit_sliced", "bits": 8, "slice_bits": 4}}]
)
@pytest.mark.parametrize("data", [None, [IMAGES]])
def test_gain_and_offset_of_every_converter_are_found(data, more):
    """A converter says (1 + g) y + o, so the line back is y = (code - o) / (1 + g).

    Errors are those of a regression on n codes whose rounding has a variance of 1/12 step^2: of
    the gain sqrt(1/12 / n) / std, of the offset at most 1 + mean/std times sqrt(1/12 / n) steps.
    Five of them, for rounding that the 127 steps of a code make, and 1 % for its tail.
    """
    model = on_chip(hardware(adc={**ADC, "bits": 14}, **more))
    mho.compensate(model, "columns", data)
    for site in sites(model):
        crossbar = site.crossbar
        columns = crossbar._present.columns
        assert crossbar.column_gain.shape == columns.gain.shape
        unit = crossbar.output_bound * crossbar.scale.repeat(1, crossbar.geometry.slices)
        unit = unit * crossbar.input_range[:, None]
        significance = torch.tensor(crossbar.hardware.mapping.significance)
        unit = unit * significance.repeat_interleave(crossbar.geometry.out)
        wanted = -columns.offset / columns.gain * unit
        live = crossbar.output_bound != 1  # a column of zeros is silent
        near = torch.allclose(crossbar.column_gain[live], 1 / columns.gain[live], atol=2e-3)
        assert near
        off = (crossbar.column_offset - wanted).abs() / unit
        assert off[live].max() < 2e-3  # 16 steps of 14 bits; the spread is 164


def test_mismatch_is_gone_down_to_the_levels_of_a_chip_without_any():
    """With room in the ADC bound, so that converters of a large gain do not saturate."""
    none, models = {**ADC, "gain_spread": 0.0, "offset_spread": 0.0}, []
    for adc in (none, ADC):
        models.append(on_chip(hardware(adc=adc)))
        for site in sites(models[-1]):
            site.crossbar.output_bound = site.crossbar.output_bound * 1.3
    clean, raw = error(models[0]), models[1]
    assert error(raw) > 4 * clean
    for data in (None, [IMAGES]):
        assert error(mho.compensate(copy.deepcopy(raw), "columns", data)) < 1.25 * clean


def test_other_corrections_act_on_top_and_keep_it():
    drift = {"kind": "power_law", "nu_mean": {"kind": "constant", "value": 0.06},
             "nu_std": {"kind": "constant", "value": 0.0}}  # fmt: skip
    cell = {"kind": "composed", "g_max": "25 uS", "drift": drift}
    model = mho.compensate(on_chip(hardware(cell=cell)), "columns")
    fresh, kept = error(model), model[3].analog["weight"].column_gain.clone()
    mho.at(model, "1 d")
    assert error(model) > 2 * fresh
    mho.compensate(model, "global")
    assert error(model) < 2 * fresh
    assert torch.equal(model[3].analog["weight"].column_gain, kept)
    mho.erase(model)
    assert model[3].analog["weight"].column_gain is None
    assert model[3].analog["weight"].column_offset is None


@pytest.mark.parametrize("method", ["global", "column"])
@pytest.mark.parametrize("calibrated", ["0 s", "1 d"])
def test_drift_is_undone_on_top_of_offsets_and_only_once(method, calibrated):
    """One exponent: the gain is ((t0 + t) / (t0 + t_c))^nu, with t_c the time of the calibration.

    Offsets of a tenth of the bound are five times the mean signal of a single cell.
    """
    constant = {"kind": "constant", "value": 0.06}
    drift = {"kind": "power_law", "t0": "20 s", "nu_mean": constant,
             "nu_std": {"kind": "constant", "value": 0.0}}  # fmt: skip
    model = nn.Linear(200, 16, bias=False)
    value = mho.Hardware(
        cell={"kind": "composed", "g_max": "25 uS", "drift": drift},
        array={"rows": 100, "cols": 8},
        dac={"range": {"kind": "fixed", "value": 1.0}},
        adc={"bound": 10.0, "gain_spread": 0.05, "offset_spread": 0.1},
    )
    mho.convert(model, value)
    mho.at(mho.program(model, seed=1), calibrated)
    crossbar = model.analog["weight"]
    seconds = float(crossbar.seconds)
    mho.compensate(model, "columns")
    mho.compensate(mho.at(model, "1 y"), method)
    wanted = ((20 + 365.25 * 86400) / (20 + seconds)) ** 0.06
    assert crossbar.gain.tolist() == pytest.approx([wanted] * 16, rel=1e-3)
    again = nn.Linear(200, 16, bias=False)
    mho.convert(again, value)
    again.load_state_dict(model.state_dict())
    mho.compensate(again, method)
    assert torch.equal(again.analog["weight"].gain, crossbar.gain)


@pytest.mark.parametrize("data", [None, [IMAGES.flatten(1).repeat(1, 8)]])
@pytest.mark.parametrize("circuit", ["wires", "voltage_mean"])
def test_columns_are_fitted_to_the_weights_and_not_to_what_the_circuit_makes_of_them(data, circuit):
    """The line of `numpy.polyfit` from the ideal converters' outputs to products of the weights."""
    array = {
        "wires": {"wires": {"kind": "resistive", "row": "40 ohm", "column": "40 ohm"}},
        "voltage_mean": {"combine": {"kind": "voltage_mean", "load": "20 uS"}},
    }[circuit]
    model = nn.Linear(200, 6, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.randn(6, 200, generator=torch.Generator().manual_seed(0)))
    cell = {"kind": "composed", "g_max": "25 uS", "g_min": "1 uS"}
    dac = {"range": {"kind": "fixed", "value": 4.0}}
    mho.convert(model, mho.Hardware(cell=cell, array={"rows": 100, **array}, dac=dac))
    crossbar = mho.program(model).analog["weight"]
    mho.compensate(model, "columns", data)
    if data is None:
        x = torch.randn(20_000, 200, generator=torch.Generator().manual_seed(1))
    else:
        x = data[0]
    matrix = model.weight.detach()
    with torch.no_grad():
        parts, _ = column_outputs(
            x, dataclasses.replace(crossbar.operand(matrix), column_gain=None),
            crossbar.hardware, crossbar.geometry,
        )  # fmt: skip
    for array in range(2):
        rows = slice(100 * array, 100 * array + 100)
        exact = x[:, rows] @ matrix[:, rows].T
        for column in range(6):
            gain, offset = np.polyfit(parts[:, array, column].numpy(), exact[:, column].numpy(), 1)
            found = crossbar.column_gain[array, column].item()
            # Random inputs of one's own: slopes differ by what the line leaves over sqrt(2048).
            near = {"rel": 1e-4} if data is not None else {"rel": 0.05}
            assert found == pytest.approx(gain, **near)
            assert abs(found - 1) > 0.02
            if data is not None:
                assert crossbar.column_offset[array, column].item() == pytest.approx(
                    offset, abs=1e-3
                )


@pytest.mark.parametrize("bits", [1, 2])
def test_random_inputs_are_those_that_coarse_drivers_can_make(bits):
    """Rounding to a few levels is no error of a column: gains are those of the converters."""
    dac = {"bits": bits, "range": {"kind": "fixed", "value": 2.0}}
    model = nn.Linear(60, 8, bias=False)
    mho.convert(model, hardware(adc={"bound": 12.0, "gain_spread": 0.1}, dac=dac))
    crossbar = mho.compensate(mho.program(model, seed=1), "columns").analog["weight"]
    torch.testing.assert_close(crossbar.column_gain, 1 / crossbar._present.columns.gain)


def test_drivers_that_are_never_off_are_read_with_random_signs():
    """Gain 1.25 of all converters: an exact product's read-out is 0.8 of the arrays'."""
    dac = {"bits": 1, "range": {"kind": "fixed", "value": 2.0}}
    model = nn.Linear(60, 8, bias=False)
    mho.convert(model, hardware(adc={"bound": 60.0}, dac=dac))
    crossbar = mho.program(model, seed=1).analog["weight"]
    crossbar.column_gain = torch.full((3, 8), 1.25)
    mho.compensate(model, "global_exact")
    assert crossbar.gain.tolist() == pytest.approx([0.8] * 8, rel=1e-5)


def test_saturated_conversions_do_not_count():
    """With a bound that a third of the conversions exceed, the gain is still the converter's."""
    model = on_chip(hardware(adc={**ADC, "bits": 14}))
    for site in sites(model):
        site.crossbar.output_bound = site.crossbar.output_bound / 3
    mho.compensate(model, "columns", [IMAGES])
    crossbar = model[0].analog["weight"]
    wanted = 1 / crossbar._present.columns.gain
    assert (crossbar.column_gain - wanted).abs().max() < 5e-3


@pytest.mark.parametrize("method", ["columns", "affine", "global"])
def test_offsets_do_not_outlive_the_bounds_that_they_are_for(method):
    """The offset of a converter is a share of its bound; a gain alone is as good as before."""
    model = on_chip(hardware())
    mho.compensate(model, method, [IMAGES] if method == "affine" else None)
    if method == "global":
        gain = model[3].analog["weight"].gain
        mho.calibrate(model, [3 * IMAGES])
        assert model[3].analog["weight"].gain is gain
        return
    with pytest.warns(UserWarning, match=r"call mho\.compensate again for 0\.weight, 3\.weight"):
        mho.calibrate(model, [3 * IMAGES])
    fresh = on_chip(hardware())
    mho.calibrate(fresh, [3 * IMAGES])
    with torch.no_grad():
        assert torch.equal(model(IMAGES), fresh(IMAGES))


def test_it_goes_into_evaluations_and_needs_no_data_there():
    model = on_chip(hardware())
    score = lambda m: -error(m)  # noqa: E731
    raw = mho.evaluate(model, score, times=["0 s"], instances=3, compensation="none")
    found = mho.evaluate(model, score, times=["0 s"], instances=3, compensation="columns")
    assert found.scores.min() > raw.scores.max()
    with pytest.raises(mho.MhoError, match="'global' takes no data"):
        mho.compensate(model, "global", [IMAGES])
    with pytest.raises(mho.MhoError, match="needs data"):
        mho.compensate(model, "affine")


def test_what_fails_changes_nothing():
    model = mho.compensate(on_chip(hardware()), "columns")
    before = [site.crossbar.column_gain for site in sites(model)]
    with pytest.raises(mho.MhoError):
        mho.compensate(model, "columns", [])
    assert all(site.crossbar.column_gain is g for site, g in zip(sites(model), before, strict=True))


# ---- counts --------------------------------------------------------------------------------------


def test_saturations_and_deviations_are_those_of_a_recount():
    """Half the step lets outputs saturate; they are counted again from single products."""
    model = on_chip(hardware({"kind": "fixed_point", "scale": {"integer": 3, "fraction": 7},
                              "offset": {"integer": 9, "fraction": 1}}))  # fmt: skip
    mho.compensate(model, "columns")
    for site in sites(model):
        site.crossbar.output_step = site.crossbar.output_step / 2
    found = mho.digital_report(model, IMAGES.split(8))
    with torch.no_grad():
        hidden = model[0](IMAGES)
        outputs = [hidden, model(IMAGES)]
    before = chip(model)
    twin = copy.deepcopy(model)
    for site in sites(twin):
        site.crossbar.hardware = site.crossbar.hardware.with_fields(digital=mho.Hardware().digital)
    with torch.no_grad():
        exact = [twin[0](IMAGES), twin[1:](hidden)]
    for layer, site, y, e in zip(found.layers, sites(model), outputs, exact, strict=True):
        step = site.crossbar.output_step
        codes = (y / step).round()
        assert layer.outputs == y.numel()
        high, low = int((codes == 127).sum()), int((codes == -128).sum())
        # A code of 127 is a saturated one, or was rounded to 127.
        assert 0 < layer.above <= high
        assert layer.below <= low
        assert layer.above >= int((e > 128.5 * step).sum())
        deviation = (y - e.clamp(-128 * step, 127 * step)).abs()
        assert layer.worst == pytest.approx(deviation.max().item(), rel=1e-3)
        assert layer.mean == pytest.approx(deviation.mean().item(), rel=1e-3)
        assert layer.largest == pytest.approx(e.abs().max().item(), rel=1e-4)
        assert layer.saturated == (layer.above + layer.below) / y.numel()
    assert "saturated above + below" in str(found)
    assert all(site.crossbar.watch is None for site in sites(model))
    assert_same(chip(model), before)


def test_columns_whose_scale_becomes_zero_are_counted():
    """One output a thousand times smaller than the others has a scale below half of 1/128."""
    model = nn.Linear(10, 4)
    with torch.no_grad():
        model.weight[2] *= 1e-3
    x = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    mho.convert(model, hardware(FIXED))
    mho.calibrate(model, [x])
    (layer,) = mho.digital_report(model, [x]).layers
    assert (layer.silent, layer.columns) == (1, 4)


def test_columns_are_counted_over_all_arrays_whether_or_not_they_share_drivers():
    model = nn.Linear(50, 12)
    with torch.no_grad():
        model.weight[2] *= 1e-4
    x = torch.randn(64, 50, generator=torch.Generator().manual_seed(0))
    for overflow in ("saturate", "retry"):
        analog = copy.deepcopy(model)
        mho.convert(analog, hardware(FIXED, {**ADC, "overflow": overflow}))
        mho.calibrate(analog, [x])
        (layer,) = mho.digital_report(analog, [x]).layers
        assert (layer.silent, layer.columns) == (3, 3 * 12)


def test_a_model_without_such_units_has_nothing_to_count():
    with pytest.raises(mho.MhoError, match="nothing deviates"):
        mho.digital_report(on_chip(hardware()), [PIXELS])


def test_precision_is_an_effect_of_its_own():
    """One bit after the point costs more than the ADC levels, and both are told apart."""
    coarse = {"kind": "fixed_point", "scale": {"integer": 3, "fraction": 1}, "step": "parameters"}
    model = mho.compensate(on_chip(hardware(coarse)), "columns")
    for layer in mho.diagnose(model, [IMAGES]).layers:
        assert layer.alone["digital precision"] > layer.alone["ADC levels"] > 0
        assert layer.without["digital precision"] < layer.error
