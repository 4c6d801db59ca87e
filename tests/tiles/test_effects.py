"""Every deterministic effect, alone and combined, against the literal product."""

import pytest
import torch

from mho.tiles import mvm

from .bench import Bench, dense, hardware, inputs

# A bound of 4 would make ties of single full-scale weights: code k gives k/4 steps.
LEVELS = {"dac": {"bits": 8}, "adc": {"bits": 8, "bound": 3.7}}
SCHEMES = {
    "one_pass": {},
    "analog": {"scheme": {"kind": "positive_negative"}},
    "digital": {"scheme": {"kind": "positive_negative", "sum": "digital"}},
    "serial_1": {"scheme": {"kind": "bit_serial", "slice_bits": 1}},
    "serial_2": {"scheme": {"kind": "bit_serial", "slice_bits": 2}},
    "serial_3": {"scheme": {"kind": "bit_serial", "slice_bits": 3}},
    "serial_8": {"scheme": {"kind": "bit_serial", "slice_bits": 8}},
}
RANGES = {
    "fixed": {"kind": "fixed", "value": 0.7},
    "calibrated": "calibrated",
    "learned": "learned",
    "per_token": "per_token",
}
EFFECTS = {
    "nothing": {},
    "dac_bits": {"dac": {"bits": 5}},
    "dac_steps": {"dac": {"steps": 20}},
    "adc_bits": {"adc": {"bits": 6, "bound": 2.0}},
    "adc_steps": {"adc": {"steps": 100, "bound": 2.0}},
    "adc_bound_only": {"adc": {"bound": 0.5}},
    "adc_extends": {"adc": {"bits": 6, "bound": 0.5, "overflow": "extend"}},
    "adc_bound_of_each_column": {"adc": {"bits": 7, "bound": "calibrated"}},
    "input_asymmetry": {"dac": {"asymmetry": 0.2}},
    "output_asymmetry": {"adc": {"asymmetry": 0.2}},
    "adc_gain": {"adc": {"gain_spread": 0.05}},
    "adc_offset": {"adc": {"offset_spread": 0.05}},
    "adc_offset_of_bound": {"adc": {"offset_spread": 0.05, "bound": 3.0}},
    "transfer": {"adc": {"bound": 3.0, "transfer": {"kind": "compressive", "nonlinearity": 0.3}}},
    "transfer_calibrated": {
        "adc": {
            "bound": 3.0,
            "transfer": {
                "kind": "compressive",
                "nonlinearity": 0.2,
                "nonlinearity_spread": 0.3,
                "slope_calibration": 0.5,
            },
        }
    },
    # A wire ratio of the size of the load: the cubic's every term counts.
    "wires": {"array": {"wires": {"kind": "first_order", "conductance_ratio": 100.0}}},
    "wires_stronger": {
        "array": {"wires": {"kind": "first_order", "scale": 1.7, "conductance_ratio": 300.0}}
    },
    "voltage_offset": {"adc": {"front_end": {"offset_spread": 0.1, "reference_weight": 0.0}}},
    "voltage_offset_of_reference": {"adc": {"front_end": {"offset_spread": 0.1}}},
    "series_resistance": {
        "adc": {"front_end": {"series_resistance": 0.1, "reference_weight": 0.0}}
    },
    "front_end": {
        "adc": {
            "front_end": {"offset_spread": 0.1, "series_resistance": 0.1, "reference_weight": 0.7}
        }
    },
    "bit_slices": {"mapping": {"kind": "bit_sliced", "bits": 6, "slice_bits": 2}},
    "fixed_scale": {"mapping": {"kind": "differential", "scaling": "fixed", "w_max": 2.5}},
    "tile_scale": {"mapping": {"kind": "differential", "scaling": "tile"}},
}
EVERYTHING = {
    "mapping": {"kind": "bit_sliced", "bits": 7, "slice_bits": 3},
    "dac": {"bits": 7, "asymmetry": 0.1},
    "adc": {
        "bits": 8,
        "bound": 3.0,
        "asymmetry": 0.1,
        "gain_spread": 0.05,
        "offset_spread": 0.02,
        "transfer": {"kind": "compressive", "nonlinearity": 0.1, "nonlinearity_spread": 0.2},
        "front_end": {"offset_spread": 0.05, "series_resistance": 0.05},
    },
}
ARRAYS = {"one": {}, "ragged": {"rows": 7, "cols": 5}, "greedy": {"rows": 4, "partition": "greedy"}}


def merged(parts: dict, array: dict, **dac) -> dict:
    parts = {name: dict(part) for name, part in parts.items()}
    parts["array"] = {**parts.get("array", {}), **array}
    parts["dac"] = {**parts.get("dac", {}), **dac}
    return parts


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
def test_each_effect(effect, array):
    hw = hardware(**merged(effect, array))
    Bench.of(hw, dense(11, 17, hw)).check(inputs(6, 17))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("rule", RANGES.values(), ids=RANGES)
def test_each_scheme_and_range(scheme, rule):
    """With levels on both sides, and over ragged arrays, whose ranges differ."""
    hw = hardware(**merged(LEVELS, ARRAYS["ragged"], range=rule, **scheme))
    Bench.of(hw, dense(11, 17, hw)).check(inputs(6, 17))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_everything_at_once(scheme):
    array = {**ARRAYS["ragged"], "wires": {"kind": "first_order", "conductance_ratio": 500.0}}
    hw = hardware(**merged(EVERYTHING, array, range="calibrated", **scheme))
    Bench.of(hw, dense(11, 17, hw)).check(inputs(6, 17))


@pytest.mark.parametrize("total", ["analog", "digital"])
def test_polarity_spread(total):
    """Cells read differently by negative inputs."""
    scheme = {"kind": "positive_negative", "sum": total}
    hw = hardware(**merged(LEVELS, {**ARRAYS["ragged"], "polarity_spread": 0.1}, scheme=scheme))
    bench = Bench.of(hw, dense(11, 17, hw))
    bench.check(inputs(6, 17))
    bench.check(inputs(6, 17).abs())  # no read of negative polarity


def test_hits_tell_what_saturates():
    """One entry for each conversion; here two reads of ragged arrays."""
    scheme = {"kind": "positive_negative", "sum": "digital"}
    hw = hardware(**merged({"adc": {"bound": 1.0}}, {"rows": 7}, scheme=scheme))
    bench = Bench.of(hw, dense(11, 17, hw))
    x, hits = inputs(6, 17), []
    mvm(x, bench.operand, hw, bench.geometry, hits)
    assert len(hits) == 2
    first = 0
    for r, size in enumerate(bench.geometry.partition.rows):
        rows = slice(first, first + size)
        relative = bench.operand.weight[:, rows] / bench.operand.scale[r][:, None]
        for hit, part in zip(hits, (x.clamp(0, 1), (-x).clamp(0, 1)), strict=True):
            assert torch.equal(hit[r], (part[:, rows] @ relative.T).abs() >= 1)
        first += size
    assert hits[0].any()


def test_inputs_of_any_shape():
    hw = hardware(**merged(LEVELS, ARRAYS["ragged"]))
    bench = Bench.of(hw, dense(11, 17, hw))
    for shape in [(17,), (1, 17), (2, 3, 17), (2, 1, 2, 17)]:
        bench.check(inputs(*shape))


def test_nothing_without_a_range_is_the_matrix_product():
    """No range, no effect: neither clipped nor scaled."""
    hw = hardware(dac={"range": None}, array={"rows": 7})
    bench = Bench.of(hw, dense(11, 17, hw))
    x = inputs(6, 17, size=50.0)
    bench.check(x)
    exact = (x @ bench.operand.weight.T) * bench.operand.gain
    assert (bench.product(x) - exact).abs().max() <= bench.rounding(x)


def test_levels_are_exact_on_a_grid_that_floats_hold():
    """Integer arithmetic: weights k/64, inputs k/128, ADC steps of 1/64; ties to even."""
    random = torch.Generator().manual_seed(3)
    codes = torch.randint(-160, 161, (40, 23), generator=random)
    weights = torch.randint(-64, 65, (9, 23), generator=random)
    weights[:, 0] = 64  # a column scale of 1
    hw = hardware(dac={"steps": 256}, adc={"steps": 256, "bound": 2.0})
    bench = Bench.of(hw, dense(9, 23, hw))
    sums = codes.clamp(-128, 128) @ weights.T  # in units of 1/(128 * 64)
    steps, rest = sums.div(128, rounding_mode="floor"), sums % 128
    up = (rest > 64) | ((rest == 64) & (steps % 2 == 1))
    expected = (steps + up).clamp(-128, 128) / 64
    assert (rest == 64).any()
    assert (expected.abs() == 2).any()
    for dtype in (torch.float32, torch.float64):
        weight = (weights / 64).to(dtype)
        bare = Bench(hw, bench.geometry, type(bench.operand)(weight, torch.ones(1, 9, dtype=dtype)))
        assert torch.equal(bare.product((codes / 128).to(dtype)), expected.to(dtype))
