"""Linearity: injected thresholds, gains and offsets are found again; laws; bad input; plots."""

import math

import numpy as np
import pytest
import torch

import mho
from mho.errors import DataError, RangeError
from mho.mapping import Partition
from mho.ops import Stream
from mho.tiles import Dense
from mho.tiles._converters import ColumnDraws

ADC = {"bits": 6, "bound": 10.0}
HALF = 31
ARCHITECTURES = {
    "uniform": {"kind": "uniform", "dnl": 0.2, "inl": 1.0},
    "sar": {"kind": "sar", "unit_spread": 0.05},
    "ramp": {"kind": "ramp", "dnl": 0.1, "inl": 1.0, "comparator_spread": 1.0},
    "pipeline": {"kind": "pipeline", "gain_error": -0.01, "comparator_spread": 0.02},
    "cyclic": {"kind": "cyclic", "gain_spread": 0.005},
}


def test_ideal_converters_are_linear():
    found = mho.linearity(mho.ADC(**ADC, converter="uniform"), converters=2, seed=None)
    k = np.arange(-HALF + 1, HALF + 1)
    assert np.array_equal(found.codes, k)
    assert np.abs(found.thresholds - (k - 0.5)).max() < 1e-10
    assert np.abs(found.dnl).max() < 1e-10
    assert np.abs(found.inl).max() < 1e-10
    assert found.gain == pytest.approx(1)
    assert np.abs(found.offset).max() < 1e-10
    assert not found.missing.any()


def test_injected_thresholds_are_found_again():
    """Against the draws of the converters themselves, with gain g and offset o: (t - o n) / g."""
    adc = mho.ADC(**ADC, converter=ARCHITECTURES["uniform"], gain_spread=0.1, offset_spread=0.05)
    count, stream = 7, Stream(3, "linearity")
    found = mho.linearity(adc, converters=count, seed=3)
    draws = ColumnDraws(stream, Dense(count, Partition((1,), (count,), None, None)), 1)
    t = adc.converter.draw(draws, HALF)[0].double().numpy()
    g = 1 + 0.1 * stream.normal("adc gain", (1, count))[0].double().numpy()
    o = 0.05 * HALF * stream.normal("adc offset", (1, count))[0].double().numpy()
    want = (t - o[:, None]) / g[:, None]
    assert np.abs(found.thresholds - want).max() < 1e-4  # draws and gains are in single precision
    width = (want[:, -1] - want[:, 0]) / (2 * HALF - 1)
    assert found.gain == pytest.approx(1 / width, rel=1e-5)
    assert np.abs(found.dnl - (np.diff(want) / width[:, None] - 1)).max() < 1e-4


def test_injected_gain_and_offset_are_found_again():
    adc = mho.ADC(**ADC, converter="sar", gain_spread=0.1, offset_spread=0.05)
    found = mho.linearity(adc, converters=20, seed=4)
    stream = Stream(4, "linearity")
    g = 1 + 0.1 * stream.normal("adc gain", (1, 20))[0].numpy()
    o = 0.05 * HALF * stream.normal("adc offset", (1, 20))[0].numpy()
    assert found.gain == pytest.approx(g, rel=1e-5)
    assert found.offset == pytest.approx(o, abs=1e-4)
    assert np.abs(found.inl).max() < 1e-4


def test_a_curve_is_an_inl():
    """Thresholds of v = u - u^3 / 5 are where the cubic meets k - 1/2; the ends are on the line."""
    curve = {"kind": "polynomial", "cubic": -0.2}
    found = mho.linearity(mho.ADC(**ADC, transfer=curve, converter="uniform"), seed=None)
    u = found.thresholds[0] / HALF
    v = np.where(np.abs(u) < 1, u - 0.2 * u**3, np.sign(u) * (0.8 + 0.4 * (np.abs(u) - 1)))
    assert v * HALF == pytest.approx(found.codes - 0.5, abs=1e-9)
    # Odd and compressive: below the chord on one side, above it on the other.
    assert found.inl[0, : HALF - 1].min() > -1e-9 or found.inl[0, : HALF - 1].max() < 1e-9
    assert found.inl[0] == pytest.approx(-found.inl[0][::-1], abs=1e-9)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_search_and_histogram_agree(name):
    """A ramp of n samples for each step knows a threshold to 1 / n."""
    adc = mho.ADC(**ADC, converter=ARCHITECTURES[name])
    exact = mho.linearity(adc, converters=4, seed=1)
    counted = mho.linearity(adc, converters=4, seed=1, method="histogram", samples=64)
    assert np.abs(exact.thresholds - counted.thresholds).max() < 1 / 64


@pytest.mark.parametrize(
    "fields",
    [{"converter": {"kind": "uniform", "noise": 0.01}}, {"rounding": "stochastic"},
     {"converter": {"kind": "counter", "phase": "free"}}],
)  # fmt: skip
def test_a_search_refuses_noise(fields):
    with pytest.raises(DataError, match=r"converted to different codes.*'histogram'"):
        mho.linearity(mho.ADC(**ADC, **fields))


def test_a_histogram_averages_noise():
    """n samples for each step and noise s: a threshold's variance is s / (sqrt(pi) n) steps^2.

    It is the sum over the ramp of p (1 - p) / n^2, and int Phi (1 - Phi) = s / sqrt(pi).
    """
    n, s, count = 400, 0.5, 30
    adc = mho.ADC(**ADC, converter={"kind": "uniform", "noise": s})
    torch.manual_seed(0)
    found = mho.linearity(adc, converters=count, seed=None, method="histogram", samples=n)
    error = found.thresholds - (found.codes - 0.5)
    inner = error[:, 4:-4]  # at the ends clipping changes nothing, but keep clear of the span
    sigma = math.sqrt(s / math.sqrt(math.pi) / n)
    assert abs(inner.std() / sigma - 1) < 5 / math.sqrt(2 * inner.size / 4)
    assert abs(inner.mean()) < 5 * sigma / math.sqrt(inner.size / 4)


def test_a_sar_with_a_light_msb_misses_codes():
    """29, 30 and 31 of the lower bits are never reached, for the last bit is kept from 29 on."""
    light = {"kind": "sar", "weights": (1, 2, 4, 8, 16, 29)}
    found = mho.linearity(mho.ADC(**ADC, converter=light), seed=None)
    assert found.missing.tolist() == [3]
    heavy = {"kind": "sar", "weights": (1, 2, 4, 8, 16, 35)}
    found = mho.linearity(mho.ADC(**ADC, converter=heavy), seed=None)
    widest = int(found.codes[:-1][found.dnl[0].argmax()])
    assert widest == -1
    # The ends are 3 steps farther apart than 61, and the code is 4 wide.
    assert found.dnl[0].max() == pytest.approx(4 / (64 / 61) - 1, rel=1e-6)


def test_end_points_and_least_squares():
    from dataclasses import replace

    found = mho.linearity(mho.ADC(**ADC, converter=ARCHITECTURES["ramp"]), seed=5)
    fitted = replace(found, fit="least_squares")
    assert np.abs(found.inl[:, [0, -1]]).max() < 1e-12
    assert np.abs(fitted.inl.mean(1)).max() < 1e-9
    assert (fitted.inl**2).sum() < (found.inl**2).sum()


def test_any_function_can_be_measured():
    found = mho.linearity(lambda u: (7 * u + 0.25).round().clamp(-7, 7), steps=14, converters=2)
    assert found.offset == pytest.approx([0.25, 0.25])
    assert found.gain == pytest.approx([1, 1])


def test_a_table_and_a_plot(tmp_path):
    found = mho.linearity(mho.ADC(**ADC, converter=ARCHITECTURES["sar"]), converters=3)
    assert "missing codes" in str(found)
    assert len(found.rows()) == 3
    file = found.plot(tmp_path / "linearity.png")
    assert file.stat().st_size > 5000


def test_bad_input():
    adc = mho.ADC(**ADC, converter="sar")
    with pytest.raises(RangeError, match="without levels has no thresholds"):
        mho.linearity(mho.ADC(bound=1.0))
    with pytest.raises(RangeError, match="unknown method 'sweep'"):
        mho.linearity(adc, method="sweep")
    with pytest.raises(RangeError, match="converters must be at least 1"):
        mho.linearity(adc, converters=0)
    with pytest.raises(DataError, match="saturates below them, or the span is too small"):
        mho.linearity(adc, span=0.5)
