"""A chip instance is a function of seed, weights and time, and of nothing else."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mho
from chips import EVERY_SPREAD, PIXELS, assert_same, chip, cnn, converted, output
from mho.nn import sites

DTYPES = [torch.float16, torch.bfloat16, torch.float64]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
DRAWN = (
    "programmed", "coefficient", "weight", "negative", "gain", "offset", "noise", "transfer",
    "front_end", "drive",
)  # fmt: skip


def of_short_weights(seed=0):
    """A converted model whose weights are the same number in every floating-point type."""
    model = converted(seed=seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16().half())
    return model


@pytest.fixture(scope="module")
def reference():
    model = converted()
    mho.at(mho.program(model, seed=7), "1 d")
    return chip(model)


def test_the_spreads_are_all_there_and_differ_from_chip_to_chip(reference):
    other = converted()
    mho.at(mho.program(other, seed=8), "1 d")
    other = chip(other)
    for layer in ("0.weight", "3.weight"):
        for name in DRAWN:
            mine, theirs = reference[f"{layer}.{name}"], other[f"{layer}.{name}"]
            assert mine.dtype == torch.float32
            # A half-normal offset is 0 on both chips for a quarter of the columns, and a cell at
            # zero may have been clamped there on both.
            assert (mine != theirs).float().mean() > 0.4, (layer, name)


def test_it_does_not_depend_on_what_was_called_before(reference):
    model = converted(batches=(PIXELS[:1], PIXELS[1:]))
    torch.manual_seed(123)
    np.random.seed(5)
    output(model, PIXELS[:1])
    mho.program(model, seed=3)
    mho.at(model, "1 y")
    mho.compensate(model)
    torch.randn(17), np.random.rand(3)
    model(PIXELS.repeat(2, 1, 1, 1))
    mho.program(model, seed=7)
    model(PIXELS)
    mho.at(model, "1 d")
    assert_same(chip(model), reference)


def test_a_layer_has_the_same_cells_whatever_else_is_converted(reference):
    model = cnn()
    mho.convert(model, EVERY_SPREAD, where=mho.linear)
    mho.calibrate(model, [PIXELS])
    mho.at(mho.program(model, seed=7), "1 d")
    alone = chip(model)
    assert len(alone) > 10
    assert_same(alone, {key: reference[key] for key in alone})


def test_equal_layers_do_not_share_their_draws():
    """Nor do their spreads: on 40 cells and 5 columns not one number is the same."""
    first = nn.Linear(8, 5)
    model = nn.Sequential(first, nn.Linear(5, 8), copy.deepcopy(first))
    mho.convert(model, EVERY_SPREAD)
    mho.calibrate(model, [torch.randn(20, 8)])
    mho.at(mho.program(model, seed=7), "1 d")
    found = chip(model)
    for name in ("coefficient", "gain", "offset", "noise", "transfer", "drive"):
        assert (found[f"0.weight.{name}"] != found[f"2.weight.{name}"]).all(), name


def test_the_weights_stay_and_programming_starts_from_them_anew(reference):
    model = converted()
    before = copy.deepcopy(dict(model.named_parameters()))
    mho.program(model, seed=7)
    mho.at(mho.program(model, seed=7), "1 d")
    assert_same(chip(model), reference)
    assert_same(dict(model.named_parameters()), before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cast", ["before", "after"])
def test_it_does_not_depend_on_the_type_of_the_model(dtype, cast):
    model, reference = of_short_weights(), of_short_weights()
    mho.at(mho.program(reference, seed=7), "1 d")
    if cast == "before":
        mho.program(model.to(dtype), seed=7)
    else:
        mho.program(model, seed=7).to(dtype)
    mho.at(model, "1 d")
    assert_same(chip(model), chip(reference))
    assert model(PIXELS.to(dtype)).dtype == dtype
    # There and back again: the masters were not rounded on the way.
    assert_same(chip(model.float()), chip(reference))


@pytest.mark.parametrize("device", DEVICES)
def test_it_does_not_depend_on_the_device(device, reference):
    model = mho.program(converted().to(device), seed=7)
    mho.at(model, "1 d")
    assert_same(chip(model), reference)
    assert all(value.device.type == device for value in chip(model).values())
    assert_same(chip(model.cpu()), reference)


def test_moving_a_model_moves_all_of_the_chip():
    """The meta device stands for any other: everything has to arrive there."""
    model = mho.program(converted(), seed=7)
    mho.at(model, "1 d")
    shapes = {key: value.shape for key, value in chip(model).items()}
    moved = chip(model.to("meta"))
    assert {key: value.shape for key, value in moved.items()} == shapes
    assert all(value.is_meta for value in moved.values())


TIMES = st.lists(st.sampled_from([0, 1.0, 3600, "1 d", "1 y", 2.5e8]), min_size=1, max_size=5)


@settings(max_examples=20)
@given(TIMES)
def test_time_is_idempotent_and_reversible(times):
    model = mho.program(converted(), seed=7)
    for time in [*times, "1 d", "1 d"]:
        mho.at(model, time)
    straight = mho.program(converted(), seed=7)
    assert_same(chip(mho.at(model, "1 d")), chip(mho.at(straight, 86400)))
    assert_same(chip(mho.at(model, 0)), chip(mho.program(straight, seed=7)))


def test_another_partition_gives_each_weight_the_same_cell():
    """Draws are named by the weight's own row and column, not by its place on an array."""
    cells = []
    for rows, columns in ((None, None), (20, 7), (9, 3)):
        hardware = mho.Hardware(
            cell="pcm",
            mapping={"kind": "differential", "scaling": "fixed", "w_max": 1.0},
            array={"rows": rows, "cols": columns},
        )
        model = mho.program(converted(hardware, batches=()), seed=7)
        mho.at(model, "1 d")
        kept = ("programmed", "coefficient", "weight")
        cells.append({k: v for k, v in chip(model).items() if k.rsplit(".")[-1] in kept})
    for other in cells[1:]:
        assert_same(other, cells[0])


def test_erasing_gives_back_the_model_of_before():
    model, before = converted(), converted()
    mho.erase(mho.at(mho.program(model, seed=7), "1 d"))
    assert_same(model.state_dict(), before.state_dict())
    assert torch.equal(output(model), output(before))
    ideal = converted(mho.Hardware(cell="pcm"), batches=())
    mho.erase(mho.program(ideal))
    assert_same(ideal.state_dict(), cnn().state_dict())


def test_tied_weights_are_one_matrix_on_one_chip():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    mho.convert(model, mho.Hardware(cell="pcm"))
    mho.program(model, seed=7)
    assert len(list(sites(model))) == 1
    assert model[0].analog["weight"] is model[2].analog["weight"]


@pytest.mark.parametrize("bits", [None, 7, 8])
def test_the_gradient_of_a_programmed_layer_is_straight_through(bits):
    """dL/dW = d^T x as if W were what the cells hold, and dL/dx = d W_cells."""
    mapping = {"kind": "bit_sliced", "bits": bits, "slice_bits": 3} if bits else "differential"
    layer = nn.Linear(12, 5, bias=False)
    mho.convert(layer, mho.Hardware(cell="pcm", mapping=mapping))
    mho.program(layer, seed=2)
    # Single precision adds up a handful of numbers of order 1 here; double leaves rounding of 1e-7
    # of the float32 cells only.
    layer.double()
    x = torch.randn(9, 12, dtype=torch.float64, requires_grad=True)
    d = torch.randn(9, 5, dtype=torch.float64)
    y = layer(x)
    y.backward(d)
    cells = layer(torch.eye(12, dtype=torch.float64)).detach().T
    assert not torch.allclose(cells, layer.weight, atol=1e-3)
    torch.testing.assert_close(y, x @ cells.T)
    torch.testing.assert_close(x.grad, d @ cells)
    torch.testing.assert_close(layer.weight.grad, d.T @ x)
