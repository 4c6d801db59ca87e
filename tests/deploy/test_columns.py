"""Calibration of every physical column, and what digital units are counted to do."""

import copy

import pytest
import torch
from torch import nn

import mho
from chips import PIXELS, assert_same, chip, cnn
from mho.nn import sites

ADC = {"bits": 8, "bound": "calibrated", "gain_spread": 0.05, "offset_spread": 0.02}
FIXED = {"kind": "fixed_point", "step": "parameters"}
IMAGES = 4 * torch.rand(40, 1, 5, 5, generator=torch.Generator().manual_seed(2)) - 2


def hardware(digital="float", adc=ADC, **more):
    """Arrays so small that there are several, ideal cells, and converters that differ."""
    dac = {"bits": 12, "range": "calibrated"}
    return mho.Hardware(array={"rows": 20, "cols": 7}, dac=dac, adc=adc, digital=digital, **more)


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


def test_saturated_conversions_do_not_count():
    """With a bound that a third of the conversions exceed, the gain is still the converter's."""
    model = on_chip(hardware(adc={**ADC, "bits": 14}))
    for site in sites(model):
        site.crossbar.output_bound = site.crossbar.output_bound / 3
    mho.compensate(model, "columns", [IMAGES])
    crossbar = model[0].analog["weight"]
    wanted = 1 / crossbar._present.columns.gain
    assert (crossbar.column_gain - wanted).abs().max() < 5e-3


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
