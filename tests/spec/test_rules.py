"""Rules and predicates: which module gets which hardware."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import mho
from mho.errors import SpecError
from mho.spec import Predicate, Rules, named, of_type

LINEAR, CONV = nn.Linear(1, 1), nn.Conv1d(1, 1, 1)
NAMES = ["lm_head", "encoder.layers.0.mlp.up", "encoder.layers.10.mlp.up", "decoder.0", "mlp"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("lm_head", {"lm_head"}),
        ("encoder", set(NAMES[1:3])),  # everything inside
        ("mlp", {*NAMES[1:3], "mlp"}),  # by any part of the name
        ("up", set(NAMES[1:3])),
        ("0", {NAMES[1], "decoder.0"}),  # a part is a whole part: not layers.10
        ("encoder.*.mlp", set(NAMES[1:3])),
        ("layers.?.mlp", {NAMES[1]}),
        ("layers.[01]", {NAMES[1]}),
        ("*", set(NAMES)),
        ("enc", set()),
        ("LM_HEAD", set()),
    ],
)
def test_names(pattern, found):
    assert {name for name in NAMES if named(pattern)(name, LINEAR)} == found


def test_types():
    assert of_type(nn.Linear)("x", LINEAR)
    assert not of_type(nn.Linear)("x", CONV)
    assert of_type(nn.Linear, nn.Conv1d)("x", CONV)
    assert mho.conv("x", CONV)
    assert not mho.conv("x", LINEAR)
    assert mho.recurrent("x", nn.LSTM(1, 1))
    assert mho.recurrent("x", nn.GRUCell(1, 1))
    assert mho.attention("x", nn.MultiheadAttention(2, 1))


@given(st.booleans(), st.booleans(), st.booleans())
def test_predicates_are_boolean_algebra(a, b, c):
    p, q, r = (Predicate(lambda *_, value=value: value, "p") for value in (a, b, c))
    assert (p & q | ~r)("x", LINEAR) == ((a and b) or not c)
    assert (~(p & q))("x", LINEAR) == (~p | ~q)("x", LINEAR)


def test_predicates_print_as_they_are_written():
    assert repr(mho.linear & ~named("lm_head")) == "(of_type(Linear) & ~named('lm_head'))"
    assert repr(named("a") | named("b")) == "(named('a') | named('b'))"


def test_the_first_match_wins_and_none_is_digital():
    rules = Rules([("lm_head", None), (mho.conv, "one"), ("decoder", "two"), ("*", "three")])
    assert rules.match("lm_head", LINEAR) == (True, None)
    assert rules.match("decoder.0", CONV) == (True, "one")
    assert rules.match("decoder.0", LINEAR) == (True, "two")
    assert rules.match("mlp", LINEAR) == (True, "three")


def test_no_match_is_digital_too():
    assert Rules([("lm_head", "one")]).match("mlp", LINEAR) == (False, None)


def test_any_callable_is_a_predicate():
    rules = Rules([(lambda name, module: len(name) > 3, "long")])
    assert rules.match("decoder", LINEAR) == (True, "long")
    assert rules.match("mlp", LINEAR) == (False, None)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "needs at least one rule"),
        (["lm_head"], "a rule is a pair"),
        ([("lm_head", None, 1)], "a rule is a pair"),
        ([(3, None)], "a rule starts with a pattern or a predicate"),
    ],
)
def test_refuses(rules, message):
    with pytest.raises(SpecError, match=message):
        Rules(rules)
