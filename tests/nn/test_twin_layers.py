"""With every effect off, an analog layer is its torch twin bit for bit, forward and backward."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.nn import Analog, convert
from mho.tiles import Hardware

from .cases import FAMILIES, TORCH_WARNS, every_family, leaves, run

pytestmark = pytest.mark.filterwarnings(*TORCH_WARNS)

# Arrays far smaller than the layers: off means off, whatever the partition.
IDEAL = Hardware(array={"rows": 7, "cols": 5})


def drawn(family, data):
    """A case of the family, with weights and inputs that depend on the draw alone."""
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    case = data.draw(FAMILIES[family]())
    for leaf in leaves(case.inputs):
        leaf.requires_grad_()
    return case


@every_family
@settings(max_examples=25)
@given(data=st.data())
def test_off_is_the_twin_bit_for_bit(family, data):
    case = drawn(family, data)
    twin = copy.deepcopy(case.module)
    convert(case.module, IDEAL)
    assert isinstance(case.module, Analog)
    assert isinstance(case.module, type(twin))
    outputs, gradients = run(case.module, case)
    expected, expected_gradients = run(twin, case)
    assert len(outputs) == len(expected)
    for ours, theirs in zip(outputs, expected, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.equal(ours, theirs)
