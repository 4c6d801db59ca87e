"""The JSON schema accepts what the specs accept, and refuses what they refuse."""

import json
from importlib.resources import files

import pytest
import yaml
from hypothesis import given, settings

import mho
from mho.errors import SpecError
from mho.spec import Variant, json_schema, to_dict
from mho.tiles import Hardware

from .checker import valid
from .strategies import hardware

SCHEMA = json_schema(Hardware)


def accepts(document) -> bool:
    return valid(document, SCHEMA, SCHEMA)


def test_it_is_json():
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@settings(max_examples=40)
@given(hardware())
def test_every_hardware_obeys_it(hw):
    assert accepts(to_dict(hw))
    assert accepts(to_dict(hw, full=False))
    assert accepts({"schema": 1, "source": "a paper", "fitted_on": "a chip", **to_dict(hw)})


@pytest.mark.parametrize("name", mho.presets())
def test_every_preset_obeys_it(name):
    text = (files("mho") / "presets" / f"{name}.yaml").read_text(encoding="utf8")
    assert accepts(yaml.safe_load(text))


def test_short_forms():
    """A kind for its defaults, text with a unit, a preset's part."""
    assert accepts({"cell": {"kind": "pcm", "g_max": "20 uS"}, "dac": {"range": "per_token"}})
    assert accepts({"cell": "pcm", "mapping": "single"})
    assert accepts({"cell": "pcm-joshi-2020"})


@pytest.mark.parametrize(
    "document",
    [
        {"adc": {"bit": 8}},
        {"adc": {"bits": 1, "bound": 10}},
        {"adc": {"bits": "8", "bound": 10}},
        {"adc": {"bits": 8.5, "bound": 10}},
        {"adc": {"bits": True, "bound": 10}},
        {"adc": {"rounding": "up"}},
        {"adc": {"steps": 3, "bound": 10}},
        {"noise": {"output": -0.1}},
        {"noise": {"read": {"kind": "pink"}}},
        {"noise": {"read": {"kind": "additive", "sigma": -1}}},
        {"cell": {"kind": "pcm", "g_max": -1}},
        {"cell": {"kind": "pcm", "gmax": 1e-6}},
        {"mapping": {"kind": "pairs", "factors": [1, "x"]}},
        {"cells": {"kind": "pcm"}},
        {"dac": {"range": "fixd"}},
    ],
    ids=str,
)
def test_what_it_refuses_is_refused(document):
    assert not accepts(document)
    with pytest.raises(SpecError):
        Hardware(**document)


def test_every_family_and_member_is_there():
    """A form can offer every kind, and knows every field's meaning, range and unit."""
    for family in ("cell", "mapping", "range", "scheme", "readnoise", "wires", "transfer"):
        members = SCHEMA["$defs"][family]["oneOf"]
        kinds = {m["properties"]["kind"]["const"] for m in members if "properties" in m}
        assert kinds == set(Variant.families[family].members)
        assert {"type": "string", "enum": sorted(kinds)} in members
    pcm = next(
        member
        for member in SCHEMA["$defs"]["cell"]["oneOf"]
        if member.get("properties", {}).get("kind", {}).get("const") == "pcm"
    )
    g_max = pcm["properties"]["g_max"]
    assert g_max["unit"] == "S"
    assert g_max["description"]
    assert g_max["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0}
