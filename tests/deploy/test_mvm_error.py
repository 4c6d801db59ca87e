"""The error of a matrix product against published figures, closed forms and an oracle by array."""

import math

import numpy as np
import pytest
import torch

import mho
from mho.errors import DataError, RangeError, SpecError

YEAR = 3.15e7
TILE = mho.Hardware(
    cell={"kind": "pcm", "g_max": "25 uS"},
    mapping={"kind": "differential", "scaling": "fixed", "w_max": 1.0},
    dac={"steps": 254, "range": {"kind": "fixed", "value": 1.0}},
    adc={"steps": 254, "bound": 10.0},
    noise={"output": 0.04},
)
"""The 512 x 512 tile of Le Gallo et al., APL Mach. Learn. 1:041102 (2023): weights 0.246 xi limited
to [-1, 1], half of the inputs zero, 8-bit converters, no wires and no read noise."""


def agrees(found: mho.MvmError, time: int, published: float, digits: int) -> bool:
    """Whether a published figure of one chip could be one of ours, rounded: 5 standard errors."""
    n = len(found.seeds)
    scatter = 5 * found.std[time] * math.sqrt(1 + 1 / n)
    return abs(found.mean[time] - published) < scatter + 0.5 * 10.0**-digits


@pytest.mark.parametrize(
    ("inputs", "published"), [("uniform", 0.135), ("gaussian", 0.137), ("positive", 0.132)]
)
def test_the_tile_has_its_published_error_after_a_second(inputs, published):
    """0.13 in the paper; the three digits are those of a separate NumPy program, one chip each."""
    found = mho.mvm_error(TILE, inputs=inputs, times=["1 s"], compensation="none", instances=5)
    assert found.shape == (512, 512)
    assert 0.12 < found.errors.min() <= found.errors.max() < 0.15
    assert agrees(found, 0, published, 3)


@pytest.mark.parametrize(
    ("compensation", "hour", "year"), [("none", 0.26, 0.52), ("global", 0.152, 0.22)]
)
def test_the_tile_drifts_and_is_mended_as_published(compensation, hour, year):
    found = mho.mvm_error(TILE, times=["1 h", YEAR], compensation=compensation, instances=5)
    assert agrees(found, 0, hour, 3 if compensation == "global" else 2)
    assert agrees(found, 1, year, 2)


def test_the_standard_model_after_an_hour():
    """About 15 % in Rasch et al. (2023), which does not say how weights were scaled.

    Found here: 13.6 % where each column has a scale of its own, as in the preset, and 15.5 % with
    one scale for the array. The published figure lies between the two.
    """
    preset = mho.load("standard-hwa-2023")
    tile = preset.with_fields(mapping={"kind": "differential", "scaling": "tile"})
    by_column, by_tile = (
        mho.mvm_error(hardware, times=["1 h"], instances=5) for hardware in (preset, tile)
    )
    assert by_column.errors.max() < 0.15 < by_tile.errors.min()
    assert agrees(by_column, 0, 0.136, 3)
    assert agrees(by_tile, 0, 0.155, 3)


@pytest.mark.parametrize(("devices", "published"), [(1, 0.216), (2, 0.146)])
def test_programming_error_of_the_hermes_chip(devices, published):
    """256 x 256, the same law of weights; two devices per polarity average their errors."""
    cell = mho.load(f"hermes-{('one-device', 'two-devices')[devices - 1]}").cell
    hardware = mho.Hardware(
        cell=cell.with_fields(drift=None, read=None),
        mapping={"kind": "differential", "scaling": "fixed", "w_max": 1.0},
    )
    found = mho.mvm_error(
        hardware, out=256, rows=256, sparsity=0, times=[0], compensation="none", instances=8
    )
    assert agrees(found, 0, published, 3)


# Against other ways to the same number ------------------------------------------------------------


def test_output_noise_alone_has_its_closed_form():
    """sigma sqrt(vectors out) / |Y|, with the exact product of a matrix of one's own."""
    weight = torch.eye(64)
    hardware = mho.Hardware(dac={"range": {"kind": "fixed", "value": 3.0}}, noise={"output": 0.1})
    found = mho.mvm_error(
        hardware, weight=weight, vectors=500, sparsity=0, times=[0], compensation="none"
    )
    # Inputs uniform on [-3, 3] have a mean square of 3; the noise is 0.1 times the range 3.
    n = 500 * 64
    wanted = math.sqrt(0.09 / 3)
    # Relative standard errors of the square root: 1/sqrt(2 n) of the noise, and of x^2,
    # sqrt((9/5 - 1) / n) / 2, of the signal.
    standard_error = wanted * math.sqrt((1 / (2 * n) + 0.2 / n) / len(found.seeds))
    assert abs(found.mean[0] - wanted) < 5 * standard_error


def test_without_any_effect_there_is_no_error():
    assert mho.mvm_error(mho.Hardware(), out=9, rows=7, times=[0, "1 y"]).errors.max() < 1e-6


def test_errors_by_array_against_numpy():
    """Programming error only: each array's own conductances times its own part of the inputs."""
    hardware = mho.load("pcm-joshi-2020").with_fields(array={"rows": 20, "cols": 7})
    hardware = hardware.with_fields(cell=hardware.cell.with_fields(read=None, drift=None))
    torch.manual_seed(4)
    weight = torch.randn(12, 30)
    found = mho.mvm_error(hardware, weight=weight, times=[0], compensation="none", instances=2)
    assert found.arrays.shape == (2, 1, 2, 2)
    assert np.isfinite(found.arrays).all()
    # An error of a whole whose parts are independent lies between the least and the largest.
    assert found.arrays.min() < found.errors.mean() < found.arrays.max()
    layer = torch.nn.Linear(30, 12, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    mho.convert(layer, hardware)
    mho.program(layer, seed=1)
    now = layer.analog["weight"]._present.weight.double().numpy()
    exact = weight.double().numpy()
    for r, rows in enumerate((slice(0, 15), slice(15, 30))):
        for c, columns in enumerate((slice(0, 6), slice(6, 12))):
            x = inputs_of(seed=1, vectors=256, rows=30)[:, rows]
            y = x @ exact[columns, rows].T
            error = np.linalg.norm(x @ now[columns, rows].T - y) / np.linalg.norm(y)
            assert found.arrays[1, 0, r, c] == pytest.approx(error, rel=1e-4)


def inputs_of(seed, vectors, rows):
    """The inputs of an instance, uniform on [-1, 1] and half of them zero."""
    from mho.ops import Stream

    stream = Stream(seed, "mvm error")
    x = 2 * stream.uniform("input", (vectors, rows)).double() - 1
    return (x * (stream.uniform("sparsity", (vectors, rows)) >= 0.5)).numpy()


def test_arrays_of_sliced_weights_with_drivers_of_their_own():
    hardware = mho.load("standard-hwa-2023").with_fields(
        array={"rows": 20, "cols": 7},
        mapping={"kind": "bit_sliced", "bits": 7, "slice_bits": 3},
        noise={"input": 0.01, "output": 0.01},
    )
    found = mho.mvm_error(hardware, out=13, rows=50, times=["1 s"], instances=3)
    assert found.arrays.shape == (3, 1, 3, 2)
    assert found.arrays.min() < found.errors.mean() < found.arrays.max()


# The result and its arguments ---------------------------------------------------------------------


def test_the_same_seeds_give_the_same_figures_and_leave_random_numbers_alone():
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    size = {"out": 20, "rows": 30, "vectors": 10, "times": ["1 s", "1 d"]}
    both = mho.mvm_error("standard-hwa-2023", instances=2, seed=5, **size)
    second = mho.mvm_error("standard-hwa-2023", instances=1, seed=6, **size)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(both.errors[1], second.errors[0])
    assert len(set(both.errors.ravel())) == 4


def test_the_result_reads_well(tmp_path):
    hardware = mho.load("standard-hwa-2023").with_fields(array={"rows": 20, "cols": 20})
    found = mho.mvm_error(
        hardware, out=30, rows=30, times=[0, "1 s", "1 y"], instances=3, compensation="affine"
    )
    text = str(found)
    for part in ("30x30 on 4 arrays", "affine", "3 instances", "1 y", "worst array"):
        assert part in " ".join(text.split())
    row = found.rows()[1]
    assert row["time"] == "1 s"
    assert row["error"] == pytest.approx(found.errors[:, 1].mean())
    # Student's t with 2 degrees of freedom: 4.303 at 97.5 %.
    assert row["half_width_95"] == pytest.approx(4.3027 * row["std"] / math.sqrt(3), rel=1e-4)
    assert found.plot(tmp_path / "error.svg").stat().st_size > 5_000
    one = mho.mvm_error(mho.Hardware(), out=3, rows=3, times=[0], instances=1)
    assert "on 1 array," in str(one)
    assert math.isnan(one.std[0])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"out": 0}, RangeError, "out must be"),
        ({"rows": 2.5}, RangeError, "rows must be"),
        ({"vectors": -1}, RangeError, "vectors must be"),
        ({"sparsity": 1.0}, RangeError, "sparsity"),
        ({"inputs": "cauchy"}, RangeError, "uniform, gaussian, positive"),
        ({"compensation": "local"}, RangeError, "local"),
        ({"instances": 0}, RangeError, "instances"),
        ({"times": []}, RangeError, "times"),
        ({"times": ["-1 s"]}, SpecError, "-1 s"),
        ({"weight": torch.ones(3)}, DataError, "matrix"),
        ({"weight": torch.full((2, 2), math.nan)}, DataError, "not finite"),
        ({"weight": torch.zeros(2, 2)}, DataError, "zero"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        mho.mvm_error("pcm-joshi-2020", **arguments)
