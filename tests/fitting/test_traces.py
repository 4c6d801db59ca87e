"""Traces as files and arrays, and everything that can be wrong with them."""

import numpy as np
import pytest

import mho
from mho.errors import DataError, MhoError, RangeError, SpecError
from mho.fitting import trace_of

from .trains import pulses, soft

DIRECTIONS = ("", "up", "+", "down", "-1", "1")


@pytest.fixture
def file(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "trace.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_columns_units_comments_and_trains(file):
    trace = mho.read_trace(
        file(
            "# measured on a Tuesday\n"
            "Device, repeat, direction, Conductance [uS]\n"
            + "".join(
                f"a,1,{d},{10 + k}\n" for k, d in enumerate(["", "up", "+", "down", "-1", "1"])
            )
            + "".join(f"b,1,up,{k}\n" for k in range(6))
        )
    )
    assert trace.conductance
    assert trace.devices == ("a", "b")
    first, second = trace.trains
    assert first.pulses.tolist() == [0, 1, 1, -1, -1, 1]
    np.testing.assert_allclose(first.values, (10 + np.arange(6)) * 1e-6)
    assert second.pulses.tolist() == [0, 1, 1, 1, 1, 1]  # what came before tells nothing
    assert trace.applied() == (8, 2)


def test_arrays_of_devices_and_repeats(rng):
    values = rng.standard_normal((2, 3, 7))
    trace = trace_of((np.ones(7), values))
    assert [(t.device, t.repeat) for t in trace.trains] == [(d, r) for d in "01" for r in "012"]
    assert np.array_equal(trace.trains[4].values, values[1, 1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (b"pulses,weight\n\xff\xfe\x00", "cannot read"),
        ("pulses,weight\n", "no readings"),
        ("pulses,current\n0,1\n", "unknown column 'current'"),
        ("pulses,wieght\n0,1\n", "weight"),
        ("weight\n0.1\n", "one column of `pulses` and `direction`, has none"),
        ("pulses,direction,weight\n1,up,0.1\n", "has both"),
        ("pulses\n1\n", "one column of `weight` and `conductance`, has none"),
        ("pulses,weight,weight\n1,0,0\n", "two columns 'weight'"),
        ("pulses,conductance [V]\n1,0\n", "conductance [V]"),
        ("pulses,weight [uS]\n1,0\n", "only conductances have"),
        ("pulses,weight\n0,0.1\n1\n", "line 3: 1 cells under 2 columns"),
        ("pulses,weight\n0,0.1\n1,much\n", "line 3: 'much' is not a number"),
        ("pulses,weight\n0,0.1\n1,nan\n", "line 3: readings must be finite"),
        ("pulses,weight\n0,0.1\n0.5,1\n", "whole signed number"),
        ("direction,weight\nsideways,0.1\n", "neither up nor down"),
        ("pulses,weight\n0,0.1\n1,0.2\n1,0.3\n", "too short, 3 readings"),
        ("pulses,weight\n" + "0,0.1\n" * 9, "no pulse has a direction"),
    ],
)
def test_bad_files(file, text, words):
    with pytest.raises(DataError) as caught:
        mho.read_trace(file(text))
    assert words in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        mho.fit_response(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (7, "a trace is a path"),
        ((np.ones(8), np.full(8, np.nan)), "must be finite"),
        ((np.ones(8), np.zeros((1, 1, 1, 8))), "shape"),
        ((np.ones(7), np.zeros(8)), "do not fit"),
        ((np.full(8, 0.5), np.zeros(8)), "whole signed numbers"),
        ((np.ones(40), np.zeros(40)), "all readings are equal"),
        ((-np.ones(40), np.linspace(-1, 1, 40)), "turn the sign"),
        ((np.ones(40), np.linspace(-1, 1, 40)), "no pulses down"),
    ],
)
def test_bad_arrays(trace, words):
    with pytest.raises(DataError) as caught:
        mho.fit_response(trace)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kind": "soft_bound"}, SpecError, "soft_bounds"),
        ({"kind": "unit_cell"}, SpecError, "single device"),
        ({"fixed": {"hight": 1.0}}, SpecError, "high"),
        ({"fixed": {"high": 0.3}}, DataError, "readings reach"),
        ({"fixed": {"low": -0.1}}, DataError, "give a wider bound"),
        ({"fixed": {"low": 2.0, "high": 1.5}}, MhoError, "low"),
        ({"fixed": {"step": 0.02}}, RangeError, "asymmetry must be fixed"),
        ({"fixed": {"write_noise": 0.5}}, RangeError, "only be fixed at 0"),
        ({"fixed": {"cycle_noise": -1}}, RangeError, "cycle_noise"),
        ({"free": ["kind"]}, RangeError, "cannot be fitted"),
        ({"fixed": {"low": -1.0}, "free": ["low"]}, RangeError, "also fixed"),
        ({"restarts": 0}, RangeError, "restarts"),
        ({"nodes": 1}, RangeError, "nodes"),
        ({"confidence": 1.0}, RangeError, "confidence"),
        ({"scale": 0.0}, RangeError, "scale"),
        ({"zero": 9.0}, RangeError, "must lie between"),
    ],
)
def test_bad_arguments(rng, options, error, words):
    sent = pulses(60)
    with pytest.raises(error) as caught:
        mho.fit_response((sent, soft(rng, sent)[0]), **options)
    assert words in str(caught.value)


def test_too_few_readings_for_the_parameters(rng):
    with pytest.raises(DataError, match="too short: 8 readings after pulses for 6 parameters"):
        mho.fit_response((pulses(2), soft(rng, pulses(2))[0]))
