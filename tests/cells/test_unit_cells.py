"""Unit cells: what they are made of, their steps and bounds, and their draws."""

import pytest
import torch

from mho.cells import ConstantStep, Device, OneSidedPair, SoftBounds, UnitCell
from mho.errors import SpecError
from mho.ops import Stream
from mho.spec import Spec, to_dict

ONE, TWO = ConstantStep(step=0.01), SoftBounds(step=0.02, low=-0.5, high=2.0, step_spread=0.3)


class Holder(Spec):
    device: Device


@pytest.mark.parametrize(
    ("cell", "granularity", "low", "high"),
    [
        (UnitCell(devices=(ONE, TWO)), (0.01 + 0.02) / 2, -0.75, 1.5),
        (UnitCell(devices=(ONE, TWO), policy="sequential"), (0.005 + 0.01) / 2, -0.75, 1.5),
        (UnitCell(devices=(ONE, TWO), policy="random"), (0.005 + 0.01) / 2, -0.75, 1.5),
        (UnitCell(devices=(ONE, TWO), significance=(1, -1), policy="fixed"), 0.01, -3, 1.5),
        (UnitCell(devices=(ONE, TWO), policy="fixed", fixed=1), 0.01, -0.75, 1.5),
        (UnitCell(devices=(ONE,) * 3, significance=(1, 4, 16)), 0.21, -21, 21),
        (OneSidedPair(device=ConstantStep(step=0.01, low=0.0, high=2.0)), 0.01, -2, 2),
        (OneSidedPair(device=SoftBounds(step=0.01, asymmetry=0.5)), 0.01, -1, 1),
    ],
)
def test_steps_and_bounds(cell, granularity, low, high):
    """A pulse moves the weight by all devices' steps, or by those of the one whose turn it is."""
    assert cell.granularity == pytest.approx(granularity)
    assert (cell.low, cell.high) == pytest.approx((low, high))


def test_each_device_has_cells_of_its_own():
    stream = Stream(1, "layer")
    first, second = UnitCell(devices=(TWO, TWO)).draw_singles((20, 30), stream)
    assert first.size_up.shape == second.size_up.shape == (20, 30)
    assert not torch.equal(first.size_up, second.size_up)
    again = UnitCell(devices=(TWO, TWO, ONE)).draw_singles((20, 30), stream)
    assert torch.equal(first.size_up, again[0].size_up)
    assert torch.equal(second.size_up, again[1].size_up)
    (alone,) = TWO.draw_singles((20, 30), stream)
    assert torch.equal(alone.size_up, TWO.draw((20, 30), stream).size_up)


@pytest.mark.parametrize(
    "cell",
    [
        UnitCell(devices=(ONE, TWO), significance=(1, -1), policy="fixed"),
        OneSidedPair(device=TWO, refresh_every=10, upper=0.8, lower=0.1),
    ],
)
def test_text(cell):
    holder = Holder(device=cell)
    for full in (True, False):
        assert Holder(**to_dict(holder, full=full)) == holder


def test_a_kind_is_enough():
    assert Holder(device="soft_bounds").device == SoftBounds()
    assert OneSidedPair(device="constant_step").singles == (ConstantStep(), ConstantStep())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: UnitCell(devices=()), "at least 1 item"),
        (lambda: UnitCell(devices=(ONE, TWO), significance=(1,)), "2 devices but 1 significances"),
        (lambda: UnitCell(devices=(ONE, TWO), significance=(1, 0)), "of significance 0"),
        (lambda: UnitCell(devices=(ONE,), policy="fixed", fixed=1), "devices 0 to 0"),
        (lambda: UnitCell(devices=(ONE, TWO), fixed=1), "needs `policy: fixed`"),
        (lambda: UnitCell(devices=(UnitCell(devices=(ONE,)),)), "not of a unit_cell"),
        (lambda: OneSidedPair(device=OneSidedPair(device=ONE)), "not of a one_sided_pair"),
        (lambda: OneSidedPair(device=ConstantStep(high=0.0)), "an upper bound above 0"),
        (
            lambda: OneSidedPair(device=SoftBounds(subtract_symmetry_point=True)),
            "no symmetry point to subtract",
        ),
        (lambda: OneSidedPair(device=ONE, lower=0.8), "lower=0.8 must not exceed upper=0.75"),
        (lambda: Holder(device="soft_bound"), "did you mean 'soft_bounds'"),
    ],
)
def test_bad_unit_cells(make, match):
    with pytest.raises(SpecError, match=match):
        make()
