"""Polynomial and measured transfer curves: closed forms, continuation, gradients, bad input."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.autograd import gradcheck

import mho
from mho.circuits import Compressive, MeasuredCurve, PolynomialCurve
from mho.errors import MhoError, SpecError

small = st.floats(-0.12, 0.12)


@given(small, small, small, st.floats(-1, 1), st.floats(0.5, 20))
def test_the_polynomial_inside_full_scale(a2, a3, a5, u, bound):
    curve = PolynomialCurve(quadratic=a2, cubic=a3, quintic=a5)
    y = torch.tensor([u * bound], dtype=torch.float64)
    want = bound * (u + a2 * u**2 + a3 * u**3 + a5 * u**5)
    assert float(curve.apply(y, bound, 1.0)) == pytest.approx(want, rel=1e-12, abs=1e-300)


@given(small, small, small, st.floats(1, 3))
def test_beyond_full_scale_it_goes_on_straight(a2, a3, a5, u):
    curve = PolynomialCurve(quadratic=a2, cubic=a3, quintic=a5)
    for sign in (1, -1):
        end = sign + a2 + sign * a3 + sign * a5
        slope = 1 + 2 * sign * a2 + 3 * a3 + 5 * a5
        got = float(curve.apply(torch.tensor([sign * u], dtype=torch.float64), 1.0, 1.0))
        assert got == pytest.approx(end + slope * sign * (u - 1), rel=1e-12)


def test_a_drawn_curve_that_folds_over_stays_level():
    """a3 = -0.5 has a slope of -0.5 at the end, from where it goes on at 0.5."""
    strength = torch.tensor([0.0, -0.5, 0.0], dtype=torch.float64)[:, None]
    y = torch.tensor([1.0, 2.0, 9.0], dtype=torch.float64)
    assert PolynomialCurve().apply(y, 1.0, strength).tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "curve",
    [
        PolynomialCurve(quadratic=0.1, cubic=-0.2, quintic=0.05),
        MeasuredCurve(inputs=(-1.0, -0.2, 0.5, 1.0), outputs=(-0.7, -0.2, 0.45, 0.8)),
        Compressive(nonlinearity=0.4),
    ],
    ids=lambda curve: curve.kind,
)
def test_gradients_are_those_of_the_curve(curve):
    """Kinks of the table and the ends of the polynomial are left out."""
    y = torch.linspace(-2.77, 2.81, 41, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda y: curve.apply(y, 2.0, 1.0), y)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=9), st.floats(-1.5, 1.5))
def test_a_table_joins_points_by_straight_lines(rises, u):
    """Against NumPy's interpolation, with flat ends."""
    import numpy as np

    x = np.linspace(-1, 1, len(rises))
    f = np.cumsum(rises) / len(rises) - 0.5
    curve = MeasuredCurve(inputs=tuple(x), outputs=tuple(f))
    got = curve.apply(torch.tensor([4 * u], dtype=torch.float64), 4.0, 1.0)
    assert float(got) == pytest.approx(4 * np.interp(u, x, f), rel=1e-12, abs=1e-14)


def test_the_strength_of_a_table_scales_its_bend():
    curve = MeasuredCurve(inputs=(-1.0, 0.0, 1.0), outputs=(-0.8, 0.0, 0.6), strength_spread=0.1)
    y = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    got = curve.apply(y, 1.0, torch.tensor([2.0, 0.5], dtype=torch.float64))
    assert got.tolist() == pytest.approx([-0.5 + 2 * 0.1, 0.5 - 0.5 * 0.2])


def test_a_table_is_read_from_a_file(tmp_path):
    file = tmp_path / "curve.csv"
    file.write_text("signal,first,second\n-1,-0.7,-0.8\n0,0.01,0\n1,0.75,0.8\n")
    curve = MeasuredCurve(file=str(file), column="first")
    assert curve.outputs == (-0.7, 0.01, 0.75)
    adc = mho.ADC(bits=6, bound=2.0, transfer=curve)
    assert mho.to_yaml(adc).count("0.75") == 1


@given(small, small, small)
def test_what_is_accepted_rises(a2, a3, a5):
    u = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    slope = 1 + 2 * a2 * u + 3 * a3 * u**2 + 5 * a5 * u**4
    assume(float(slope.min().abs()) > 1e-3)
    if float(slope.min()) > 0:
        PolynomialCurve(quadratic=a2, cubic=a3, quintic=a5)
    else:
        with pytest.raises(SpecError, match="not monotone"):
            PolynomialCurve(quadratic=a2, cubic=a3, quintic=a5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "polynomial", "cubic": -0.4}, r"not monotone: its slope at u = -1 is -0\.2"),
        ({"kind": "polynomial", "quadratic": 0.6}, "not monotone"),
        (
            {"kind": "table", "inputs": [-1, 0, 1], "outputs": [-1, 0.2, 0.1]},
            "not monotone: it falls from 0.2 to 0.1 up to the input 1",
        ),
        ({"kind": "table", "inputs": [-1, 1, 0], "outputs": [-1, 0, 1]}, "strictly ascending"),
        ({"kind": "table", "inputs": [-1, 0.5], "outputs": [-1, 1]}, "from -1 to 0.5"),
        ({"kind": "table", "inputs": [-1, 1], "outputs": [-1, 0, 1]}, "2 inputs but 3 outputs"),
    ],
)
def test_curves_that_no_code_can_tell(fields, message):
    with pytest.raises(MhoError, match=message):
        mho.ADC(bits=6, bound=1.0, transfer=fields)
