"""Convolutions: pixel by pixel, as patches, and as the literal product; every effect on each."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from mho.tiles import Convolution

from .bench import Bench, hardware, inputs, partition
from .test_effects import ARRAYS, EFFECTS, EVERYTHING, LEVELS, SCHEMES, merged

PLAIN = {"kernel": (3, 2), "stride": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (0, 0))}
SHAPES = {
    "plain": PLAIN,
    "strided": {**PLAIN, "stride": (2, 1), "dilation": (1, 2)},
    "uneven": {**PLAIN, "padding": ((2, 1), (0, 1))},
    "reflect": {**PLAIN, "mode": "reflect"},
    "circular": {**PLAIN, "mode": "circular", "padding": ((1, 1), (1, 0))},
    "replicate": {**PLAIN, "mode": "replicate"},
    "grouped": {**PLAIN, "groups": 2},
    "depthwise": {**PLAIN, "groups": 4},
    "transposed": {**PLAIN, "transposed": True, "output_padding": (0, 0)},
    "transposed_strided": {
        "kernel": (3, 2),
        "stride": (2, 3),
        "dilation": (1, 2),
        "padding": ((1, 1), (0, 0)),
        "transposed": True,
        "output_padding": (1, 2),
        "groups": 2,
    },
    "one_dimension": {"kernel": (3,), "stride": (2,), "dilation": (1,), "padding": ((1, 1),)},
    "three_dimensions": {
        "kernel": (2, 1, 2),
        "stride": (1, 1, 1),
        "dilation": (1, 1, 1),
        "padding": ((1, 1), (0, 0), (0, 0)),
    },
}
# Rows of 7 hold one channel of 6 positions, rows of 14 two; rows of 4 cut channels apart.
SIZES = {"one": {}, "channel": {"rows": 7, "cols": 3}, "two": {"rows": 14}, "cut": {"rows": 4}}
CHANNELS, OUT = 4, 8


def convolution(hw, shape, channels=CHANNELS, out=OUT) -> Convolution:
    positions = 1
    for size in shape["kernel"]:
        positions *= size
    rows = channels // shape.get("groups", 1) * positions
    slices = len(hw.mapping.significance)
    return Convolution(out, partition(out, rows, hw, positions), slices, **shape)


def bench(shape, parts) -> Bench:
    hw = hardware(**parts)
    return Bench.of(hw, convolution(hw, shape))


def image(shape, batch=2) -> torch.Tensor:
    return inputs(batch, CHANNELS, *(4, 5, 3)[: len(shape["kernel"])])


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_with_everything(shape, size):
    array = {**size, "wires": {"kind": "first_order", "conductance_ratio": 500.0}}
    of_pixels = bench(shape, merged(EVERYTHING, array, range="calibrated"))
    x = image(shape)
    of_pixels.check(x)
    of_patches = replace(of_pixels, geometry=of_pixels.geometry.vectors)
    worst = (of_patches.product(x) - of_pixels.product(x)).abs().max()
    assert worst <= 2 * of_pixels.rounding(x)


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
def test_each_effect(effect):
    shape = SHAPES["grouped"]
    bench(shape, merged(effect, SIZES["channel"])).check(image(shape, 1))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("rule", ["per_token", "learned"])
def test_each_scheme(scheme, rule):
    """Ranges that differ by vector need the patches; a group's vector is its own."""
    shape = SHAPES["grouped"]
    bench(shape, merged(LEVELS, SIZES["channel"], range=rule, **scheme)).check(image(shape, 1))


def test_polarity_spread():
    parts = merged(LEVELS, {"polarity_spread": 0.1}, scheme="positive_negative")
    bench(PLAIN, parts).check(image(PLAIN))


@pytest.mark.parametrize("name", ["plain", "transposed_strided"])
def test_ideal_product_is_torchs(name):
    """The oracle's patches are torch's convolution."""
    shape = SHAPES[name]
    ideal = bench(shape, {"dac": {"range": None}})
    ideal = replace(ideal, operand=replace(ideal.operand, gain=None))
    x, groups = image(shape), shape.get("groups", 1)
    weight = ideal.operand.weight.reshape(OUT, CHANNELS // groups, *shape["kernel"])
    padding = tuple(before for before, _ in shape["padding"])
    if shape.get("transposed"):
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
        options = (shape["stride"], padding, shape["output_padding"], groups, shape["dilation"])
        expected = F.conv_transpose2d(x, weight, None, *options)
    else:
        options = (shape["stride"], padding, shape["dilation"], groups)
        expected = F.conv2d(x, weight, None, *options)
    allowed = ideal.rounding(x)
    assert (ideal.product(x) - expected).abs().max() <= allowed
    assert (ideal.literal(x) - expected).abs().max() <= allowed


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_batch_of_none(array):
    hw = hardware(**merged(LEVELS, array))
    assert Bench.of(hw, convolution(hw, PLAIN)).product(image(PLAIN)[:0]).shape == (0, OUT, 4, 4)
