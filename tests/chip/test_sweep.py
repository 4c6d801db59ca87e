"""Accuracy and cost from one value, over variants of a chip."""

import csv
import json
import math

import pytest
import torch
from torch import nn

import mho
from mho.chip import Point, Sweep

from .chips import chip, seeded

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))


def network():
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)))


MODEL = network()
WANTED = MODEL(X).detach()


def score(model):
    """Minus the relative error, so that larger is better."""
    with torch.no_grad():
        return -float((model(X) - WANTED).norm() / WANTED.norm())


def swept(**arguments):
    given = {"vary": {"adc.bits": [4, 8]}, "example": X[:1], "instances": 2} | arguments
    vary = given.pop("vary")
    noisy = chip(hardware__cell="state_independent") if arguments.pop("noisy", None) else chip()
    return mho.sweep(network(), noisy, vary, score, **given)


def test_the_bits_of_the_converter_move_accuracy_and_energy():
    four, eight = swept(vary={"adc.bits": [4, 8]}).points
    assert eight.score > four.score + 0.01
    assert eight.energy > four.energy
    assert four.values == {"adc.bits": 4}
    assert four.digital == eight.digital == pytest.approx(0, abs=1e-6)


def test_every_combination_is_one_point_and_workers_change_nothing():
    vary = {"adc.bits": [6, 8], "core.count": [4, 8], "array.rows": [4]}
    one = swept(vary=vary)
    assert [p.values for p in one.points] == [
        {"adc.bits": b, "core.count": c, "array.rows": 4} for b in (6, 8) for c in (4, 8)
    ]
    assert [p.area for p in one.points][1] > one.points[0].area
    two = swept(vary=vary, workers=2)
    assert one.points == two.points


def test_the_example_is_taken_from_the_first_batch_and_the_model_is_left_alone():
    model = network()
    found = mho.sweep(model, chip(), {"adc.bits": [8]}, score, batches=[X], instances=1)
    assert found.points[0].energy == pytest.approx(swept(vary={"adc.bits": [8]}).points[0].energy)
    assert type(model[0]) is nn.Linear


def test_hardware_that_needs_data_is_calibrated_or_refused():
    learned = chip(hardware__dac__range="calibrated")
    with pytest.raises(mho.MhoError, match="finds input ranges or ADC bounds from data"):
        mho.sweep(network(), learned, {"adc.bits": [8]}, score, example=X[:1])
    found = mho.sweep(network(), learned, {"adc.bits": [8]}, score, batches=[X], instances=1)
    assert math.isfinite(found.points[0].score)


def point(score, energy, **more):
    return Point({"adc.bits": 1}, (score,), 1.0, energy, energy, 1 / energy, 1e-6, **more)


def test_the_pareto_front_is_what_nobody_beats():
    cheap, good, beaten, dear = (point(0.5, 1.0), point(0.8, 2.0), point(0.7, 3.0), point(0.9, 4.0))
    found = Sweep(("adc.bits",), (dear, beaten, good, cheap), 1, 0)
    assert found.pareto() == [cheap, good, dear]
    assert [row["pareto"] for row in found.rows()] == [True, False, True, True]
    with pytest.raises(mho.MhoError, match="unknown figure 'mass'"):
        found.pareto("mass")


def test_results_are_written(tmp_path):
    found = swept()
    with found.to_csv(tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["energy"]) for row in rows] == [p.energy for p in found.points]
    data = json.loads(found.to_json(tmp_path / "sweep.json").read_text())
    assert [tuple(p["scores"]) for p in data["points"]] == [p.scores for p in found.points]
    assert found.plot(tmp_path / "sweep.png").stat().st_size > 10_000
    assert "adc.bits" in found.table()


def test_whole_parts_of_the_hardware_can_be_varied(tmp_path):
    """Their values are mappings or specs, which have no hash and no place in JSON of their own."""
    schemes = [{"kind": "one_pass"}, {"kind": "positive_negative"}]
    converters = [mho.ADC(bits=bits, bound=10.0) for bits in (6, 8)]
    found = swept(vary={"dac.scheme": schemes, "adc": converters}, instances=1)
    one, two = found.points[1], found.points[3]
    assert two.latency > one.latency
    data = json.loads(found.to_json(tmp_path / "sweep.json").read_text())
    assert [p["values"]["adc"]["bits"] for p in data["points"]] == [6, 8, 6, 8]
    assert data["points"][2]["values"]["dac.scheme"] == {"kind": "positive_negative"}
    (legend,) = [a.get_legend() for a in found.plot().axes]
    assert sum("dac.scheme" in text.get_text() for text in legend.get_texts()) == 2


def test_batches_with_labels_are_refused_before_anything_is_computed():
    labelled = [(X, torch.zeros(64))]
    with pytest.raises(mho.MhoError, match="give its inputs only, without labels"):
        mho.sweep(network(), chip(), {"adc.bits": [8]}, score, batches=labelled)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"vary": {}}, "nothing varies"),
        ({"vary": {"adc.bits": 4}}, r"adc\.bits: give a list of values"),
        ({"vary": {"adc.bits": "48"}}, "give a list of values"),
        ({"vary": {"adc.bits": [1]}}, "greater than or equal to 2"),
        ({"vary": {"adcs.bits": [4]}}, r"no field 'adcs\.bits': a chip has .*did you mean 'adc'"),
        ({"vary": {"adc.bit": [4]}}, r"no field 'hardware\.adc\.bit'"),
        ({"example": None}, "the cost needs an input"),
        ({"vary": {"core.count": [1]}, "pack": False}, "unexpected keyword"),
    ],
)
def test_bad_sweeps_are_refused(arguments, said):
    with pytest.raises((mho.MhoError, TypeError), match=said):
        swept(**arguments)


def test_a_converted_model_is_refused():
    model = network()
    mho.convert(model, chip().hardware)
    with pytest.raises(mho.MhoError, match="give the digital one"):
        mho.sweep(model, chip(), {"adc.bits": [8]}, score, example=X[:1])
