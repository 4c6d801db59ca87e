"""Rounding to levels, against a literal loop; files of few bits give back every bit."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import mho
from mho.errors import CheckpointError, DataError, LifecycleError, RangeError
from mho.nn import sites

from .cases import FAMILIES, TORCH_WARNS, every_family

pytestmark = pytest.mark.filterwarnings(*TORCH_WARNS)


def oracle(w, bits):
    """Round a matrix (out, rows) number by number: s k / K with s = max |w| of each output."""
    top, rounded = 2 ** (bits - 1) - 1, np.zeros_like(w)
    for i, row in enumerate(w):
        s = max(abs(x) for x in row)
        for j, x in enumerate(row):
            k = np.rint(np.float32(x / s) * np.float32(top)) if s else 0
            rounded[i, j] = np.float32(k / np.float32(top)) * s
    return rounded


def same_bits(a, b):
    return torch.equal(a, b) and torch.equal(a.signbit(), b.signbit())


def states_equal(a, b):
    return a.keys() == b.keys() and all(same_bits(a[k], b[k]) for k in a if k[-6:] != "record")


# ---- the levels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(2, 9))
def test_against_the_loop(bits):
    torch.manual_seed(bits)
    layer = nn.Linear(33, 7)
    with torch.no_grad():
        layer.weight[3] = 0
    before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    mho.quantize(layer, bits=bits)
    assert np.array_equal(layer.weight.detach().numpy(), oracle(before.numpy(), bits))
    assert torch.equal(layer.bias, bias)
    levels = [len(row.unique()) for row in layer.weight]
    assert max(levels) <= 2**bits - 1
    assert torch.equal(layer.weight.abs().amax(1), before.abs().amax(1))


def test_the_error_is_that_of_uniform_rounding():
    """For weights spread evenly over the levels the error is even over a step: step^2 / 12.

    Its fourth moment is step^4 / 80, so the mean of n squares has the standard error
    step^2 sqrt((1/80 - 1/144) / n).
    """
    torch.manual_seed(0)
    n, top = 1_000_000, 7
    layer = nn.Linear(n, 1, bias=False)
    with torch.no_grad():
        layer.weight.uniform_(-1, 1)
        layer.weight[0, 0] = 1.0  # the scale; the outer half steps have the same mean square
    before = layer.weight.detach().double()
    mho.quantize(layer, bits=4)
    step = 1 / top
    squared = (layer.weight.detach().double() - before).square().mean().item()
    error = step**2 * math.sqrt((1 / 80 - 1 / 144) / n)
    assert abs(squared - step**2 / 12) < 5 * error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_again_changes_nothing(dtype, bits):
    torch.manual_seed(1)
    layer = nn.Linear(200, 30).to(dtype)
    mho.quantize(layer, bits=bits)
    once = layer.weight.detach().clone()
    again = mho.quantize(layer, bits=bits)
    assert same_bits(layer.weight.detach(), once)
    assert again.errors == {"weight": 0.0}


def test_one_scale_for_each_part_of_a_split_matrix():
    torch.manual_seed(2)
    layer = nn.Linear(10, 4)
    before = layer.weight.detach().clone()
    mho.convert(layer, mho.Hardware(array={"rows": 4}))  # rows 4 + 3 + 3
    mho.quantize(layer, bits=3)
    parts = [oracle(part.numpy(), 3) for part in before.split([4, 3, 3], dim=1)]
    assert np.array_equal(layer.weight.detach().numpy(), np.concatenate(parts, 1))


def test_one_scale_for_a_whole_array():
    torch.manual_seed(3)
    layer = nn.Linear(9, 5)
    flat = layer.weight.detach().clone().reshape(1, -1)
    mho.quantize(layer, bits=4, per="tile")
    assert np.array_equal(layer.weight.detach().numpy().reshape(1, -1), oracle(flat.numpy(), 4))


def test_a_column_of_a_transposed_convolution_is_one_output_channel():
    torch.manual_seed(4)
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2)  # weight (in, out / groups, 3, 3)
    before = layer.weight.detach().clone()
    mho.quantize(layer, bits=4)
    for channel in range(6):
        group, inside = divmod(channel, 3)
        own = before[2 * group : 2 * group + 2, inside].reshape(1, -1).numpy()
        found = layer.weight.detach()[2 * group : 2 * group + 2, inside].reshape(1, -1).numpy()
        assert np.array_equal(found, oracle(own, 4))


def test_tied_weights_once_and_where():
    torch.manual_seed(5)
    model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 4), nn.Linear(4, 8))
    model[2].weight = model[0].weight
    tied = model[2].weight.detach().clone()
    done = mho.quantize(model, where=~mho.named("2"))
    assert list(done.errors) == ["1.weight"]
    assert "1 matrices rounded to 4 bits" in str(done)
    assert torch.equal(model[2].weight, tied)
    assert list(mho.quantize(model).errors) == ["1.weight", "2.weight"]
    assert np.array_equal(model[0].weight.detach().numpy(), oracle(tied.numpy(), 4))


@pytest.mark.parametrize("clip", [None, "learned"])
def test_learned_clips_and_scales(tmp_path, clip):
    """Levels are those of what the arrays hold: the weights within a learned clip."""

    def build():
        torch.manual_seed(9)
        model = nn.Linear(40, 6)
        mho.convert(model, mho.Hardware())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        learned = {"kind": "learned", "sigma": 1.5} if clip else None
        mho.adapt(model, mho.Adaptation(clip=learned, output_scale=True), optimizer)
        return model

    model = build().eval()
    crossbar = model.analog["weight"]
    with torch.no_grad():
        crossbar.output_scale.uniform_(0.5, 2)
    held = crossbar.target(model.weight).detach()
    assert torch.equal(held, model.weight) == (clip is None)
    mho.quantize(model)
    assert np.array_equal(model.weight.detach().numpy(), oracle(held.numpy(), 4))
    path = mho.save_quantized(model, tmp_path / "model.safetensors")
    other, x = build().eval(), torch.randn(5, 40)
    mho.load_quantized(other, path)
    assert torch.equal(other(x), model(x))
    with pytest.raises(CheckpointError, match="load the state dict into the converted model"):
        mho.load_quantized(nn.Linear(40, 6), path)
    assert torch.equal(mho.restore(other).weight, crossbar.digital(model.weight))


def test_digital_and_converted_models_get_the_same_weights():
    torch.manual_seed(6)
    model = nn.Sequential(nn.Conv1d(3, 5, 2), nn.Flatten(), nn.Linear(15, 4))
    other = copy.deepcopy(model)
    mho.convert(other, "afm-2025")
    mho.quantize(model)
    mho.quantize(other)
    assert states_equal(model.state_dict(), other.state_dict())


# ---- files ---------------------------------------------------------------------------------------


@every_family
@settings(max_examples=8)
@given(data=st.data(), bits=st.integers(2, 8))
def test_a_file_gives_back_every_bit(family, data, bits, tmp_path_factory):
    module = data.draw(FAMILIES[family]()).module
    path = tmp_path_factory.mktemp("quantized") / "model.safetensors"
    mho.quantize(module, bits=bits)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    mho.save_quantized(module, path, bits=bits)
    mho.load_quantized(other, path)
    assert states_equal(module.state_dict(), other.state_dict())


def test_the_layout_of_a_file(tmp_path):
    """Two codes a byte, the first below; read here without any of the library's code."""
    torch.manual_seed(7)
    layer = nn.Linear(5, 3)
    mho.quantize(layer, bits=4)
    path = mho.save_quantized(layer, tmp_path / "layer.safetensors")
    with safe_open(path, "np") as file:
        about = file.metadata()
    assert about["format"] == "mho-quantized-1"
    assert json.loads(about["quantization"])["bits"] == 4
    stored = load_file(path)
    assert stored.keys() == {"weight.codes", "weight.scale", "bias"}
    codes = []
    for byte in stored["weight.codes"].tolist():
        codes += [byte % 16, byte // 16]
    signed = np.array([c - 16 if c > 7 else c for c in codes[:15]], np.float32).reshape(3, 5)
    scale = stored["weight.scale"].numpy().reshape(3, 1)
    assert np.array_equal(layer.weight.detach().numpy(), signed / np.float32(7) * scale)


def test_a_file_is_an_eighth(tmp_path):
    model = nn.Linear(512, 512, bias=False)
    mho.quantize(model)
    size = mho.save_quantized(model, tmp_path / "model.safetensors").stat().st_size
    codes, scales, header = 512 * 512 // 2, 4 * 512, 1024
    assert codes + scales < size < codes + scales + header


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_calibration_and_ties_travel(tmp_path, dtype):
    hardware = mho.Hardware(
        array={"rows": 4}, dac={"bits": 8, "range": "learned"}, adc={"bits": 8, "bound": 12}
    )

    def build():
        torch.manual_seed(8)
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.LayerNorm(6)).to(dtype)
        model[1].weight = model[0].weight
        return model

    model, x = build(), torch.randn(20, 6).to(dtype)
    mho.convert(model, hardware)
    mho.calibrate(model, [x])
    mho.quantize(model)
    path = mho.save_quantized(model, tmp_path / "model.safetensors")

    other = build()
    mho.convert(other, hardware)
    mho.load_quantized(other, path)
    assert states_equal(model.state_dict(), other.state_dict())
    assert torch.equal(other(x), model(x))
    assert other[1].weight is other[0].weight

    digital = build()  # no arrays: the scales of the file's parts count, its ranges do not
    mho.load_quantized(digital, path)
    assert torch.equal(digital[0].weight, model[0].weight)
    assert not list(sites(digital))


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 1}, "bits must be a whole number from 2 to 8, got 1"),
        ({"bits": 9}, "from 2 to 8, got 9"),
        ({"bits": 4.0}, "from 2 to 8, got 4.0"),
        ({"bits": True}, "from 2 to 8, got True"),
        ({"per": "row"}, "unknown per='row': use column or tile"),
    ],
)
def test_arguments(arguments, message, tmp_path):
    layer = nn.Linear(3, 3)
    before = layer.weight.detach().clone()
    with pytest.raises(RangeError, match=message):
        mho.quantize(layer, **arguments)
    with pytest.raises(RangeError, match=message):
        mho.save_quantized(layer, tmp_path / "x", **arguments)
    assert torch.equal(layer.weight, before)


def test_models_that_cannot_be_rounded():
    layer = nn.Linear(3, 3)
    mho.convert(layer, "afm-2025")
    mho.program(layer, seed=0)
    with pytest.raises(LifecycleError, match=r"weight is programmed.*mho.erase"):
        mho.quantize(layer)
    with pytest.raises(LifecycleError, match="weight has no values here"):
        mho.quantize(nn.Linear(3, 3, device="meta"))
    with pytest.raises(DataError, match="no layer that `where` admits"):
        mho.quantize(nn.Sequential(nn.ReLU()))
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[1].weight[0, 0] = math.nan
    with pytest.raises(DataError, match=r"1\.weight has values that are not finite"):
        mho.quantize(model)
    assert torch.equal(model[0].weight, before)


def test_weights_off_the_levels_are_not_saved(tmp_path):
    layer, path = nn.Linear(30, 3), tmp_path / "x.safetensors"
    with pytest.raises(DataError, match=r"not on the levels of 4 bits: call mho\.quantize"):
        mho.save_quantized(layer, path)
    mho.quantize(layer, bits=5)
    with pytest.raises(DataError, match="not on the levels of 4 bits"):
        mho.save_quantized(layer, path, bits=4)
    assert not path.exists()


def test_files_of_something_else(tmp_path):
    def stack(*layers):
        return nn.Sequential(*layers)

    saved, path = stack(nn.Linear(5, 3)), tmp_path / "x.safetensors"
    mho.quantize(saved)
    mho.save_quantized(saved, path)
    others = [
        (nn.Linear(5, 3), r"this model has no 0\.weight"),
        (stack(nn.Linear(5, 4)), r"0\.weight has another shape"),
        (stack(nn.Linear(6, 3)), r"0\.weight has another shape"),
        (stack(nn.Linear(5, 3, bias=False)), r"this model has no 0\.bias"),
        (stack(nn.Linear(5, 3), nn.LayerNorm(3)), r"the file has no 1\.weight"),
    ]
    for other, message in others:
        before = copy.deepcopy(other.state_dict())
        with pytest.raises(CheckpointError, match=message):
            mho.load_quantized(other, path)
        assert states_equal(other.state_dict(), before)
    with pytest.raises(CheckpointError, match="cannot be read"):
        mho.load_quantized(saved, tmp_path / "absent")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        mho.load_quantized(saved, path)
    save_file({"0.weight": torch.zeros(3, 5)}, path)
    with pytest.raises(CheckpointError, match=r"not written by mho\.save_quantized"):
        mho.load_quantized(saved, path)
