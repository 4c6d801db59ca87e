"""Back to digital: exactly as it was, or with the weights that the arrays show."""

import copy

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import mho
from mho.errors import ConversionError, LifecycleError
from mho.nn import Analog
from mho.tiles import Hardware

from .cases import FAMILIES, TORCH_WARNS, every_family, leaves, run
from .effects import COLS, ROWS, hardware

pytestmark = pytest.mark.filterwarnings(*TORCH_WARNS)

NOISY = hardware(noise={"output": 0.01})


@every_family
@settings(max_examples=5, phases=[Phase.generate])
@given(data=st.data())
def test_restored_layers_are_what_they_were(family, data):
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    case = data.draw(FAMILIES[family]())
    module, kind = case.module, type(case.module)
    for leaf in leaves(case.inputs):
        leaf.requires_grad_()
    attributes, parameters = set(vars(module)), [id(p) for p in module.parameters()]
    expected = run(module, case)
    mho.convert(module, NOISY)
    mho.program(module, seed=2)
    run(module, case)
    assert mho.restore(module) is module
    assert type(module) is kind
    assert set(vars(module)) == attributes
    assert not module._load_state_dict_pre_hooks
    assert not any(isinstance(m, Analog) for m in module.modules())
    assert [id(p) for p in module.parameters()] == parameters
    for ours, theirs in zip(run(module, case), expected, strict=True):
        for y, other in zip(ours, theirs, strict=True):
            assert (y is None and other is None) or torch.equal(y, other)


@every_family
@settings(max_examples=4, phases=[Phase.generate])
@given(data=st.data())
def test_ideal_arrays_show_the_programmed_weight(family, data):
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    module = data.draw(FAMILIES[family]()).module
    before = copy.deepcopy(module.state_dict())
    mho.convert(module, Hardware(array={"rows": ROWS, "cols": COLS}))
    mho.program(module, seed=2)
    mho.restore(module, read_out=True)
    for name, value in module.state_dict().items():
        # lstsq in float32, with ten random inputs per row: a few hundred times 6e-8.
        assert (value - before[name]).abs().max() <= 3e-5 * before[name].abs().max()


def test_the_read_out_is_unbiased_with_the_error_of_least_squares():
    """For inputs of std s and n of them, var(w_j) = var(y) / (s^2 (n - rows - 1)).

    The Gaussian inputs make X^T X a Wishart matrix, the mean of whose inverse is 1 / (s^2 (n - rows
    - 1)). var(y) is the sum over row-slices of (sigma r scale)^2.
    """
    rows, out, sigma, r, oversampling = 30, 200, 0.02, 4.0, 20
    description = hardware(
        array={"cols": 64},
        dac={"range": {"kind": "fixed", "value": r}},
        noise={"output": sigma},
        cell={"kind": "ideal"},
    )
    torch.manual_seed(5)
    layer = nn.Linear(rows, out)
    target = layer.weight.detach().clone()
    mho.convert(layer, description)
    mho.program(layer, seed=4)
    scale = layer.analog["weight"].scale
    torch.manual_seed(6)
    mho.restore(layer, read_out=True, oversampling=oversampling)
    inputs = oversampling * rows
    variance = (sigma * r * scale).square().sum(0) / ((r / 4) ** 2 * (inputs - rows - 1))
    z = ((layer.weight - target) / variance.sqrt()[:, None]).detach()
    n = z.numel()
    # Errors of one output are correlated by about rows / inputs = 5 %: n counts as at least n / 2.
    assert abs(z.mean()) < 5 / (n / 2) ** 0.5
    assert abs(z.square().mean() - 1) < 5 * (2 / (n / 2)) ** 0.5


def test_the_read_out_shows_the_chip_and_not_the_target():
    torch.manual_seed(5)
    layer = nn.Linear(20, 12)
    target = layer.weight.detach().clone()
    mho.convert(layer, Hardware(cell="pcm-joshi-2020", array={"rows": ROWS}))
    mho.program(layer, seed=4)
    mho.at(layer, "1 d")
    shown = layer.analog["weight"]._present.weight.clone()
    assert (shown - target).abs().max() > 0.01
    mho.restore(layer, read_out=True)
    assert (layer.weight - shown).abs().max() <= 3e-5 * shown.abs().max()


def test_only_converted_models_can_be_restored():
    with pytest.raises(ConversionError, match="no analog layer to restore"):
        mho.restore(nn.Sequential(nn.Linear(3, 3)))


def test_a_read_out_needs_a_chip_and_changes_nothing_without():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    mho.convert(model, NOISY)
    mho.program(model[0], seed=1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(LifecycleError, match=r"1\.weight is not programmed"):
        mho.restore(model, read_out=True)
    assert isinstance(model[0], Analog)
    assert all(
        torch.equal(v, before[k]) for k, v in model.state_dict().items() if "record" not in k
    )


def test_a_class_derived_after_conversion_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    mho.convert(model, NOISY)
    derived = type("Derived", (type(model[1]),), {})
    model[1].__class__ = derived
    with pytest.raises(ConversionError, match="Derived was derived from an analog layer"):
        mho.restore(model)
    assert isinstance(model[0], Analog)


def test_a_part_may_be_restored():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    mho.convert(model, NOISY)
    mho.restore(model[0])
    assert type(model[0]) is nn.Linear
    assert isinstance(model[1], Analog)
