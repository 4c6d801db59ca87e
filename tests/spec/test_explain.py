"""The table in plain words mentions everything, with a unit and a meaning."""

import pytest
from hypothesis import given, settings

import mho
from mho.spec import Spec, Variant, explain, explain_lines, to_dict
from mho.spec._codec import leaves
from mho.tiles import Hardware

from .strategies import hardware


def paths(hw) -> set[str]:
    """Dotted paths of all fields; a kind is shown as the value of its parent."""
    return {path.removesuffix(".kind") for path, _ in leaves(to_dict(hw))}


@settings(max_examples=20)
@given(hardware())
def test_every_field_has_a_line(hw):
    shown = list(explain_lines(hw))
    assert paths(hw) <= {line.path for line in shown}
    assert len(shown) == len({line.path for line in shown})
    assert all(line.meaning for line in shown)
    table = explain(hw)
    for line in shown:
        assert f" {line.path} " in table


@pytest.mark.parametrize("name", mho.presets())
def test_presets(name):
    table = explain(mho.load(name))
    for path in paths(mho.load(name)):
        assert f" {path} " in table


def test_numbers_have_their_unit_and_what_is_off_says_so():
    rows = {line.path: line.value for line in explain_lines(mho.load("standard-hwa-2023"))}
    assert rows["cell"] == "pcm"
    assert rows["cell.g_max"] == "25 uS"
    assert rows["cell.read.t_read"] == "250 ns"
    assert rows["cell.drift.t0"] == "20 s"
    assert rows["cell.faults"] == "off"
    assert rows["adc.bits"] == "8"
    assert rows["noise.output"] == "0.04"
    assert rows["noise.read.sigma"] == "0.0175"


def specs(root: type[Spec] = Spec):
    for child in root.__subclasses__():
        if child.__module__.startswith("mho."):
            yield child
        yield from specs(child)


def test_every_field_of_every_spec_is_described():
    found = set(specs())
    assert {Hardware, *Variant.families["cell"].members.values()} <= found
    for spec in found:
        for name, field in spec.model_fields.items():
            assert name == "kind" or field.description, f"{spec.__name__}.{name}"
