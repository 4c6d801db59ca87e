"""A hardware value is a value: text and back, equality, hash, copies."""

import copy
import json
import pickle
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

import mho
from mho.errors import SpecError
from mho.spec import to_dict, to_json, to_yaml
from mho.tiles import Hardware

from .strategies import hardware

many = settings(max_examples=50)


@many
@given(hardware())
def test_yaml(hw):
    """With every field, or with what is not a default; through a file, as people do it."""
    for full in (True, False):
        text = to_yaml(hw, full=full)
        fields = yaml.safe_load(text)
        assert fields.pop("schema") == 1
        again = Hardware(**fields)
        assert again == hw
        assert hash(again) == hash(hw)
        assert to_yaml(again, full=full) == text


@many
@given(hardware())
def test_json(hw):
    again = Hardware(**json.loads(to_json(hw)))
    assert again == hw
    assert hash(again) == hash(hw)
    assert to_json(again) == to_json(hw)


@many
@given(hardware(), hardware())
def test_equal_values_have_equal_text(a, b):
    assert (a == b) == (to_json(a) == to_json(b))
    if a == b:
        assert hash(a) == hash(b)


@given(hardware())
def test_copies_are_equal(hw):
    for twin in (copy.deepcopy(hw), pickle.loads(pickle.dumps(hw)), hw.with_fields()):
        assert twin == hw
        assert hash(twin) == hash(hw)


@settings(max_examples=20)
@given(hardware())
def test_files(hw):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "my.yaml"
        path.write_text(to_yaml(hw), encoding="utf8")
        assert mho.load(path) == mho.load(str(path)) == hw
        path.write_text(json.dumps({"schema": 1, **to_dict(hw)}), encoding="utf8")
        assert mho.load(path) == hw


def test_nothing_can_be_changed():
    hw = mho.load("standard-hwa-2023")
    with pytest.raises(ValueError, match="frozen"):
        hw.adc = hw.adc
    with pytest.raises(ValueError, match="frozen"):
        hw.adc.bits = 6
    assert {hw: 1}[mho.load("standard-hwa-2023")] == 1


def test_one_number_has_one_text():
    """Integers, negative zero and text in units are the numbers that they stand for."""
    written = Hardware(
        dac={"range": {"kind": "fixed", "value": 1}}, adc={"bound": 10}, noise={"output": -0.0}
    )
    meant = Hardware(
        dac={"range": {"kind": "fixed", "value": 1.0}}, adc={"bound": 10.0}, noise={"output": 0.0}
    )
    assert written == meant
    assert to_json(written) == to_json(meant)
    a = Hardware(cell={"kind": "pcm", "g_max": "20 uS"})
    assert to_json(a) == to_json(Hardware(cell={"kind": "pcm", "g_max": 20e-6}))


@pytest.mark.parametrize("text", ["1e-6", "1.0e-06", "1 uS", "0.000001"])
def test_the_ways_yaml_writes_a_number(text):
    """YAML 1.1 reads 1e-6, which has no dot, as text."""
    cell = yaml.safe_load(f"{{kind: ideal, g_max: {text}}}")
    assert Hardware(cell=cell).cell.g_max == 1e-6


def test_numbers_are_not_truths():
    for part in ({"noise": {"output": True}}, {"adc": {"bound": True}}, {"array": {"rows": True}}):
        with pytest.raises(SpecError, match="not true or false"):
            Hardware(**part)
    assert Hardware(cell={"kind": "ideal", "bounded": True}).cell.bounded is True
