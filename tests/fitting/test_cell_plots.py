"""Plots of a cell's laws show what the laws say."""

import numpy as np
import pytest

import mho
from mho.cells import SoftBounds
from mho.errors import DataError, RangeError


def test_programming_error_of_a_published_cell():
    hardware = mho.load("pcm-joshi-2020")
    (axes,) = mho.plot_programming(hardware, cells=4000).axes
    line = axes.lines[0]
    target, mean = line.get_xdata(), line.get_ydata()
    assert target[-1] == pytest.approx(25.0)
    # The published standard deviation is at most 1.2 uS; the mean error is 0 away from 0 uS.
    inner = target > 5
    assert np.abs(mean[inner]).max() < 5 * 1.2 / np.sqrt(4000)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert 0.5 < band.max() < 1.6


def test_drift_falls_and_starts_at_the_target():
    (axes,) = mho.plot_drift(mho.load("pcm-joshi-2020"), ("0 s", "1 h", "1 y")).axes
    curves = [line.get_ydata() for line in axes.lines[::2]]
    assert len(curves) == 5
    for curve, share in zip(curves, (0.1, 0.25, 0.5, 0.75, 1.0), strict=True):
        assert curve[0] == pytest.approx(25 * share, abs=0.2)
        assert curve[0] > curve[1] > curve[2]


def test_symmetry_of_soft_bounds():
    device = SoftBounds(step=0.02, asymmetry=0.2)
    points, shares = mho.plot_symmetry(device).axes
    # v* = (s+ - s-) / (s+/high - s-/low) = 0.004 / 0.036
    assert points.lines[0].get_xdata()[0] == pytest.approx(1 / 9)
    assert shares.lines[0].get_xdata()[0] == pytest.approx(0.2 / 1.8)


def test_cells_that_lack_the_law():
    with pytest.raises(DataError, match="no programming error"):
        mho.plot_programming(mho.Hardware())
    with pytest.raises(DataError, match="have no device"):
        mho.plot_symmetry(mho.Hardware())
    with pytest.raises(DataError, match="several devices"):
        mho.plot_symmetry(mho.load("pcm-nandakumar-2020"))
    with pytest.raises(RangeError, match="at least 2"):
        mho.plot_programming(mho.load("pcm-joshi-2020"), cells=1)
    with pytest.raises(RangeError, match="at least one time"):
        mho.plot_drift(mho.load("pcm-joshi-2020"), ())
