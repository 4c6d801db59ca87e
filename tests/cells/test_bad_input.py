"""Bad targets, times and descriptions: an error that says what is wrong and what is allowed."""

import pytest
import torch

from mho.cells import (
    Acceptance,
    Cell,
    CellState,
    CmoHfox,
    Composed,
    Constant,
    Flicker,
    Gaussian,
    Hermes,
    Ideal,
    LogRelaxation,
    MeasuredTimes,
    Pcm,
    PowerLaw,
    ReramWan,
)
from mho.errors import DataError, RangeError, SpecError
from mho.ops import Stream
from mho.spec import Spec, override

STREAM = Stream(1, "tile")
TARGET = torch.full((2, 20, 30), 10e-6)


class Holder(Spec):
    cell: Cell


@pytest.mark.parametrize(
    ("cell", "target", "error", "match"),
    [
        (Pcm(), 26e-6, RangeError, "26 uS is outside of 0 S to 25 uS; rescale the weights"),
        (Pcm(), -1e-9, RangeError, "-1 nS is outside of 0 S to 25 uS"),
        (CmoHfox(), 1e-6, RangeError, "1 uS is outside of 9 uS to 88.2 uS"),
        (Composed(g_max=1e-6, signed=True), -2e-6, RangeError, "-2 uS is outside of -1 uS to 1 uS"),
        (Pcm(), float("nan"), DataError, "must be finite"),
        (Pcm(), float("inf"), DataError, "must be finite"),
    ],
)
def test_bad_targets(cell, target, error, match):
    with pytest.raises(error, match=match):
        cell.program(torch.tensor([[cell.g_max, target]]), STREAM)


def test_no_targets():
    with pytest.raises(DataError, match="no target"):
        Pcm().program(torch.empty(2, 0, 3), STREAM)


def test_rounding_of_a_full_scale_target_is_forgiven():
    state = Ideal().program(torch.tensor([25e-6 * (1 + 5e-7)]), STREAM)
    assert float(state.programmed) == pytest.approx(25e-6, rel=1e-7)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_bad_times(seconds):
    cell = Pcm()
    with pytest.raises(RangeError, match="finite and at least 0 s"):
        cell.conductance(cell.program(TARGET, STREAM), seconds, STREAM)


def test_integer_and_negative_zero_times_are_the_same_draw():
    cell = Pcm()
    state = cell.program(TARGET, STREAM)
    assert torch.equal(cell.conductance(state, 60, STREAM), cell.conductance(state, 60.0, STREAM))
    assert torch.equal(cell.conductance(state, -0.0, STREAM), cell.conductance(state, 0, STREAM))


@pytest.mark.parametrize("seconds", [0.5, 3600.0, 86400.5, 31557600.0])
def test_wan_knows_its_times_only(seconds):
    cell = ReramWan()
    with pytest.raises(RangeError, match="measured at 1 s, 1 d, 2 d only"):
        cell.conductance(cell.program(TARGET, STREAM), seconds, STREAM)


def test_cmo_starts_at_a_second():
    cell = CmoHfox()
    with pytest.raises(RangeError, match="from 1 s after programming on"):
        cell.conductance(cell.program(TARGET, STREAM), 0.5, STREAM)


def test_state_of_another_cell():
    with pytest.raises(DataError, match="no drift coefficients"):
        Pcm().conductance(CellState(TARGET, None), 1.0, STREAM)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Composed(), "g_max: Field required"),
        (lambda: Pcm(g_min=1, g_max=1), "g_min=1 S must be below"),
        (lambda: Pcm(g_max="25 V"), "not in S"),
        (lambda: Pcm(gmax=1e-6), "did you mean 'g_max'"),
        (lambda: Holder(cell="pmc"), "did you mean 'pcm'"),
        (lambda: Hermes(g_max=21e-6), "g_max=21 uS: devices=2 was characterized up to 20.7 uS"),
        (lambda: Hermes(devices=1, g_max=11e-6), "characterized up to 10.35 uS"),
        (lambda: Hermes(devices=3), "1 or 2"),
        (lambda: override(Hermes(), ["devices=1", "g_max=10 uS"]), "the law of devices=2; write"),
        (lambda: Acceptance(acceptance_range=0.02), "0.2 or 2 .percent. only"),
        (lambda: Composed(g_max=1, signed=True, g_min=0.1), "g_min must be 0"),
        (lambda: Composed(g_max=1, signed=True, drift=LogRelaxation()), "unsigned conductances"),
        (
            lambda: MeasuredTimes(times=(1, 2), std=(Constant(value=1),), full_scale=1),
            "2 times but 1",
        ),
        (lambda: MeasuredTimes(times=(0,), std=(Constant(value=1),), full_scale=1), "positive and"),
        (lambda: Flicker(q=Constant(value=1), t_read=0), "greater than 0"),
        (lambda: Gaussian(std=Constant(value=1), full_scale=0), "greater than 0"),
        (lambda: PowerLaw(nu_mean=Constant(value=1)), "nu_std: Field required"),
    ],
)
def test_bad_cells(make, match):
    with pytest.raises(SpecError, match=match):
        make()
