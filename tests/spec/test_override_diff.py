"""Differences and dotted-path overrides: laws, text forms, refusals."""

import pytest
from hypothesis import given, settings

import mho
from mho.errors import SpecError
from mho.spec import diff, override, to_dict
from mho.spec._codec import leaves
from mho.tiles import Hardware

from .strategies import hardware


@given(hardware(), hardware())
def test_diff_is_empty_for_equals_only_and_antisymmetric(a, b):
    assert diff(a, a) == {}
    assert (diff(a, b) == {}) == (a == b)
    assert diff(b, a) == {path: (right, left) for path, (left, right) in diff(a, b).items()}


@given(hardware(), hardware())
def test_diff_says_what_to_override(a, b):
    """Taking over the parts that differ makes one value of the other."""
    parts = {path.split(".")[0] for path in diff(a, b)}
    assert override(a, {part: getattr(b, part) for part in parts}) == b
    assert override(a, {part: to_dict(b)[part] for part in parts}) == b


@settings(max_examples=25)
@given(hardware())
def test_overriding_a_leaf_by_itself_changes_nothing(hw):
    for path, value in leaves(to_dict(hw)):
        if not path.endswith(".kind"):
            assert override(hw, {path: value}) == hw


@given(hardware(), hardware())
def test_overrides_of_different_parts_commute(a, b):
    one, two = {"noise": b.noise}, {"array.rows": b.array.rows}
    assert override(override(a, one), two) == override(override(a, two), one)
    assert override(a, one | two) == override(override(a, one), two)


def test_text_is_read_as_yaml():
    hw = mho.load("standard-hwa-2023")
    changed = override(
        hw,
        [
            "adc.bits=6",
            "dac.bits = null",
            "cell.g_max=20 uS",
            "noise.output=1e-2",
            "noise.read=null",
            "mapping={kind: pairs, factors: [1, 2]}",
            "dac.range.kind=per_token",
            "array.wires.scale=2",
        ],
    )
    assert changed.adc.bits == 6
    assert changed.dac.bits is None
    assert changed.cell.g_max == 20e-6
    assert changed.noise.output == 0.01
    assert changed.noise.read is None
    assert changed.mapping.factors == (1.0, 2.0)
    assert changed.dac.range.kind == "per_token"
    assert changed.array.wires.scale == 2
    assert hw == mho.load("standard-hwa-2023")


def test_a_part_may_come_from_a_preset():
    changed = override(mho.load("ideal"), ["cell=pcm-joshi-2020"])
    assert changed.cell == mho.load("pcm-joshi-2020").cell


def test_another_kind_starts_from_its_own_defaults():
    """What the old kind was told is not carried over, even where names agree."""
    hw = Hardware(mapping={"kind": "differential", "scaling": "tile"})
    changed = override(hw, {"mapping.kind": "single"})
    assert changed.mapping == Hardware(mapping="single").mapping


def test_diff_of_parts_that_are_off():
    on = override(mho.load("ideal"), ["dac.range={kind: fixed, value: 2}", "dac.bits=8"])
    assert diff(mho.load("ideal"), on) == {
        "dac.bits": (None, 8),
        "dac.range.kind": (None, "fixed"),
        "dac.range.value": (None, 2.0),
    }


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("adc.bit", r"no field 'adc.bit': adc has .*\(did you mean 'bits'\?\)"),
        ("nose.input", r"no field 'nose.input': Hardware has .*\(did you mean 'noise'\?\)"),
        ("noise.read.sigma", r"noise.read has no fields \(it is off\)"),
        ("adc.bits.more", r"adc.bits has no fields"),
        ("", "no field ''"),
    ],
)
def test_paths_that_lead_nowhere(path, message):
    with pytest.raises(SpecError, match=message):
        override(mho.load("ideal"), {path: 1})


def test_values_are_checked():
    with pytest.raises(SpecError, match=r"adc.bits: .*greater than or equal to 2 \(got 1\)"):
        override(mho.load("standard-hwa-2023"), ["adc.bits=1"])
    with pytest.raises(SpecError, match=r"'adc.bits' is not of the form path=value"):
        override(mho.load("standard-hwa-2023"), ["adc.bits"])
    with pytest.raises(SpecError, match="give bits or steps, not both"):
        override(mho.load("standard-hwa-2023"), ["adc.steps=100"])
