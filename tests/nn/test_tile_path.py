"""The way through the arrays is the exact layer to rounding, when no effect on it is felt."""

import copy
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mho.deploy import program
from mho.nn import convert, sites
from mho.tiles import Hardware

from .cases import FAMILIES, TORCH_WARNS, TRANSFORMERS, every_family, leaves, run
from .effects import COLS, PROGRAMMED, ROWS, SINGLE, TOLERANCE, VANISHING, hardware, set_limits

pytestmark = pytest.mark.filterwarnings(*TORCH_WARNS)


@contextmanager
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def drawn(family, data):
    """A case in float64, without dropout (whose masks would follow other random numbers)."""
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    with double():
        options = {} if family in (TRANSFORMERS, "Linear") else {"dropout": False}
        case = data.draw(FAMILIES[family](**options))
    for leaf in leaves(case.inputs):
        leaf.requires_grad_()
    return case


def on_arrays(case, description):
    """The same case on arrays, and with the limits that calibration would give it."""
    ours = replace(case, module=copy.deepcopy(case.module))
    convert(ours.module, description)
    set_limits(ours.module)
    return ours


def compare(effect, case, expected, tolerance):
    """Outputs and gradients agree, relative to the largest output and gradient of the twin."""
    for site in sites(case.module):
        partition = site.crossbar.geometry.partition
        assert not site.crossbar.transparent, effect
        assert max(partition.rows) <= (partition.array_rows or partition.rows[0])
        assert max(partition.columns) <= (partition.array_columns or partition.columns[0])
    for some, others in zip(run(case.module, case), expected, strict=True):
        scale = max((float(t.detach().abs().max()) for t in others if t is not None), default=0.0)
        for t, other in zip(some, others, strict=False):  # a learned range has its own gradient
            if other is not None:
                assert t.shape == other.shape, effect
                assert (t - other).abs().max() <= tolerance * scale, effect


@every_family
@settings(max_examples=40, phases=[Phase.generate])  # shrinking takes minutes
@given(data=st.data())
def test_shapes_and_options(family, data):
    """One effect, and many more layers than the tests of every effect have."""
    case = drawn(family, data)
    expected = run(case.module, case)
    compare("levels", on_arrays(case, VANISHING["ADC levels"]), expected, TOLERANCE)


@every_family
@settings(max_examples=4, phases=[Phase.generate])
@given(data=st.data())
def test_a_vanishing_effect_changes_nothing(family, data):
    case = drawn(family, data)
    expected = run(case.module, case)
    for effect, description in VANISHING.items():
        compare(effect, on_arrays(case, description), expected, TOLERANCE)


@every_family
@settings(max_examples=4, phases=[Phase.generate])
@given(data=st.data())
def test_ideal_cells_with_a_vanishing_spread_change_nothing(family, data):
    case = drawn(family, data)
    expected = run(case.module, case)
    for effect, description in PROGRAMMED.items():
        ours = on_arrays(case, description)
        program(ours.module, seed=3)
        compare(effect, ours, expected, SINGLE)


@every_family
@settings(max_examples=4, phases=[Phase.generate])
@given(data=st.data())
def test_digits_on_several_arrays_are_the_rounded_weight(family, data):
    """Bit slicing is the layer with weights rounded to 31 levels of each column's largest."""
    case, levels = drawn(family, data), 31
    ours = on_arrays(case, hardware(mapping={"kind": "bit_sliced", "bits": 6, "slice_bits": 2}))
    convert(case.module, Hardware(array={"rows": ROWS, "cols": COLS}))
    with torch.no_grad():
        for site in sites(case.module):
            geometry = site.crossbar.geometry
            rounded = []
            for piece in site.matrix.split(list(geometry.partition.rows), 1):
                scale = piece.abs().amax(1, keepdim=True)
                rounded.append((piece / scale * levels).round() / levels * scale)
            shaped = type(site.module).from_matrix(torch.cat(rounded, 1), site.weight, geometry)
            site.weight.copy_(shaped)
    compare("digits", ours, run(case.module, case), TOLERANCE)
