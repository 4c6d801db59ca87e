"""Physical quantities: exact, strict, and readable."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.cells import Ideal
from mho.errors import SpecError
from mho.spec import format_quantity, format_seconds, parse, seconds

PREFIXES = {
    "a": -18,
    "f": -15,
    "p": -12,
    "n": -9,
    "u": -6,
    "µ": -6,  # micro sign
    "μ": -6,  # Greek mu
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
}
SYMBOLS = {"S": "S", "V": "V", "ohm": "ohm", "Ω": "ohm", "s": "s"}
YEAR = 31557600.0  # 365.25 days, the Julian year


@given(
    st.decimals("-1e6", "1e6", places=4).filter(lambda d: abs(d) < 10**6),
    st.sampled_from(sorted(PREFIXES)),
    st.sampled_from(sorted(SYMBOLS)),
    st.sampled_from(["", " ", "  "]),
)
def test_every_prefix_is_exact(number, prefix, symbol, gap):
    """The nearest float to the decimal number: 25 uS is 25e-6 and nothing beside it."""
    exact = Fraction(number) * Fraction(10) ** PREFIXES[prefix]
    assert parse(f"{number}{gap}{prefix}{symbol}", SYMBOLS[symbol]) == float(exact)


def test_the_unit_in_question():
    assert parse("25 uS", "S") == 25e-6
    assert parse("25 umho", "S") == 25e-6
    assert parse("5 uA/V", "S") == 5e-6
    assert Ideal(g_max="25 uS") == Ideal(g_max=25e-6) == Ideal(g_max="25e-6")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 s", 1.0),
        ("130 ns", 130e-9),
        ("250 ms", 0.25),
        ("1 min", 60.0),
        ("1 h", 3600.0),
        ("1 d", 86400.0),
        ("30 d", 30 * 86400.0),
        ("1 week", 7 * 86400.0),
        ("1 y", YEAR),
        ("10 year", 10 * YEAR),
        ("0.5 h", 1800.0),
        ("1e3 s", 1000.0),
        ("3600", 3600.0),
        (3600, 3600.0),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        ("0 s", 0.0),
    ],
)
def test_times(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["-1 s", -1, "inf", "nan", math.inf, math.nan, "-inf"])
def test_times_are_finite_and_not_negative(text):
    with pytest.raises(SpecError, match="must be finite and at least 0 s"):
        seconds(text)


@pytest.mark.parametrize("text", ["1 S", "25 uS", "1 m", "3 V"])
def test_another_dimension(text):
    with pytest.raises(SpecError, match=r"is not in s: .*Write it as '<number> s'"):
        seconds(text)


@pytest.mark.parametrize(
    "text",
    ["", "uS", "soon", "1,5 uS", "2 * 3 uS", "1_000 uS", "25 xS", "25 uSiemens", "--1 S"],
)
def test_what_cannot_be_read(text):
    """A decimal comma above all: it must not become a factor of ten."""
    with pytest.raises(SpecError, match="cannot read"):
        parse(text, "S")


@pytest.mark.parametrize("value", [True, None, [1], {"value": 1}])
def test_no_number(value):
    with pytest.raises(SpecError, match="expected a number in S"):
        parse(value, "S")


@pytest.mark.parametrize("value", ["nan", "inf S", "-25 uS", "0 S", math.nan, math.inf, 0, -1e-6])
def test_fields_refuse_what_no_conductance_is(value):
    with pytest.raises(SpecError, match="g_max"):
        Ideal(g_max=value)


@given(st.floats(1e-15, 1e11, allow_nan=False))
def test_what_is_written_can_be_read(value):
    """Six digits, an engineering prefix, and never 1000 of anything below G."""
    text = format_quantity(value, "S")
    assert parse(text, "S") == pytest.approx(value, rel=5.0001e-6)
    number = float(text.split()[0])
    assert number >= 1
    assert number < 1000 or text.endswith("GS")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5e-5, "S", "25 uS"),
        (-2.5e-5, "S", "-25 uS"),
        (9.9999999e-7, "S", "1 uS"),
        (0.35, "ohm", "350 mohm"),
        (250e-9, "s", "250 ns"),
        (0.0, "S", "0 S"),
        (86400.0, "s", "1 d"),
    ],
)
def test_quantities_by_hand(value, unit, text):
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (1.0, "1 s"),
        (90.0, "90 s"),
        (60.0, "1 min"),
        (7200.0, "2 h"),
        (30 * 86400.0, "30 d"),
        (10 * YEAR, "10 y"),
        (0.25, "0.25 s"),
    ],
)
def test_times_by_hand(value, text):
    assert format_seconds(value) == text
    assert seconds(text) == value
