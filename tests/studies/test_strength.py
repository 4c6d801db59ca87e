"""Strengths of effects: every effect has one or a reason, and scaling moves nothing else."""

import math

import pytest

import mho
from chips import EVERY_SPREAD
from mho.deploy import EFFECTS, effects
from mho.studies._search import crossing
from mho.studies._strength import NO_STRENGTH, STRENGTHS, Strength, alone, in_words, strength

EVERYTHING = mho.override(
    EVERY_SPREAD, {"dac.asymmetry": 0.1, "adc.asymmetry": 0.1, "noise.input": 0.01}
)
BIT_SERIAL = EVERYTHING.with_fields(
    dac={"bits": 6, "range": "calibrated", "scheme": "bit_serial"},
    array={"rows": 20, "cols": 7},
)
SLICED = EVERYTHING.with_fields(mapping={"kind": "bit_sliced", "bits": 5, "slice_bits": 2})
PRESETS = [name for name in mho.presets() if name != "ideal"]
HARDWARE = {
    "everything": EVERYTHING,
    "bit serial": BIT_SERIAL,
    "sliced": SLICED,
    **{name: mho.load(name) for name in PRESETS},
}
KEEP_LEVELS = ("bit serial", "samsung-mram-2022")
# Bounds from data have no number to scale; one bit is how an input comes to its array at all.
REFUSED = {
    "intel-c2c-2022": {"ADC saturation"},
    "samsung-mram-2022": {"DAC levels"},
}


def test_every_effect_has_a_strength_or_a_reason():
    """Whoever adds an effect must say here how it is scaled, or why it is not."""
    assert STRENGTHS.keys() | NO_STRENGTH.keys() == {effect.name for effect in EFFECTS}
    assert not STRENGTHS.keys() & NO_STRENGTH.keys()
    for name in STRENGTHS:
        assert isinstance(strength(EVERYTHING, name), Strength)


@pytest.mark.parametrize("name", HARDWARE)
def test_every_strength_of_every_preset_is_found_and_scales_its_own_fields_only(name):
    hardware = HARDWARE[name]
    for effect in effects(hardware).keys() - NO_STRENGTH.keys():
        law = strength(hardware, effect)
        if effect in REFUSED.get(name, ()):
            assert isinstance(law, str)
            continue
        assert isinstance(law, Strength), effect
        for m in (0.25, 1.7):
            scaled = law.scaled(hardware, m)
            changed, asked = mho.diff(hardware, scaled), law.settings(hardware, m)
            assert changed.keys() <= asked.keys()
            assert changed
            if law.law == "times":
                fields = {path: value * m for path, value in law.present(hardware).items()}
                assert {p: v for p, (_, v) in changed.items()} == pytest.approx(fields)


@pytest.mark.parametrize("name", ["everything", "standard-hwa-2023", "bit serial"])
def test_the_limit_is_still_valid_hardware(name):
    hardware = HARDWARE[name]
    for effect in effects(hardware).keys() - NO_STRENGTH.keys():
        law = strength(hardware, effect)
        limit = law.limit(hardware)
        assert limit >= 1
        law.scaled(hardware, min(limit, 1e6))


def test_limits_are_those_of_the_fields():
    limits = {n: law.limit(EVERYTHING) for n, law in STRENGTHS.items()}
    assert limits["DAC asymmetry"] == pytest.approx(10, rel=1e-5)
    assert limits["stuck cells"] == pytest.approx(1 / 0.03)
    assert limits["ADC levels"] == limits["ADC saturation"] == 127
    assert limits["output noise"] == math.inf


def test_levels_become_wider_by_the_factor_and_saturation_keeps_their_width():
    hardware = mho.load("standard-hwa-2023")  # 127 steps on each side, bound 10
    wider = STRENGTHS["ADC levels"].scaled(hardware, 12.7)
    assert (wider.adc.half_steps, wider.adc.bits, wider.adc.bound) == (10, None, 10.0)
    lower = STRENGTHS["ADC saturation"].scaled(hardware, 12.7)
    assert lower.adc.half_steps == 10
    assert lower.adc.bound == pytest.approx(10 / 12.7)
    assert lower.adc.bound / 10 == pytest.approx(10 / 127)
    finer = STRENGTHS["DAC levels"].scaled(hardware, 0.1)
    assert finer.dac.half_steps == 1270
    text = in_words(STRENGTHS["DAC levels"].settings(hardware, 0.1))
    assert text == "dac.steps = 2540"


@pytest.mark.parametrize("name", HARDWARE)
def test_alone_leaves_one_effect_and_what_cannot_be_taken_away(name):
    hardware = HARDWARE[name]
    for effect in effects(hardware):
        left = set(effects(alone(hardware, effect)))
        stay = set(NO_STRENGTH) | ({"DAC levels"} if name in KEEP_LEVELS else set())
        assert effect in left
        assert left <= {effect} | stay


def test_effects_without_a_number_say_so():
    calibrated = mho.override(mho.load("standard-hwa-2023"), {"adc.bound": "calibrated"})
    assert "adc.bound" in strength(calibrated, "ADC saturation")
    mapped = mho.Hardware(cell={"kind": "pcm", "faults": {"map": "faults.csv"}})
    assert "no number" in strength(mapped, "stuck cells")
    assert "whole bits" in strength(SLICED, "weight levels")


@pytest.mark.parametrize("name", ["output noise", "read noise"])
def test_the_error_of_a_product_goes_with_the_strength_of_gaussian_noise(name):
    """The same chip and noise: twice the strength is twice the error, up to float32."""
    only_it = alone(mho.load("standard-hwa-2023"), name)
    options = {"out": 32, "rows": 32, "times": ["1 s"], "compensation": "none", "instances": 1}
    errors = [
        mho.mvm_error(STRENGTHS[name].scaled(only_it, m), **options).mean[0] for m in (1, 2, 8)
    ]
    assert errors[1] / errors[0] == pytest.approx(2, rel=1e-4)
    assert errors[2] / errors[0] == pytest.approx(8, rel=1e-4)


# The search ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [0.013, 0.5, 0.99, 1.01, 1.5, 5.7, 60.0])
def test_a_crossing_is_bracketed_to_the_stated_ratio(zero):
    asked = []

    def function(m):
        asked.append(m)
        return m - zero

    below, above = crossing(function, smallest=2**-7, largest=64, steps=4)
    assert below < zero <= above
    assert above / below <= 2 ** (2**-4) * (1 + 1e-12)
    assert len(asked) == len(set(asked)) <= 2 + 6 + 4


@pytest.mark.parametrize(
    ("zero", "expected", "calls"),
    [(100.0, (64, None), 2), (0.001, (None, 2**-7), 2), (64.0, None, None)],
)
def test_ends_are_asked_first(zero, expected, calls):
    asked = []

    def function(m):
        asked.append(m)
        return m - zero

    found = crossing(function, smallest=2**-7, largest=64, steps=2)
    if expected is None:
        assert found.above == 64
    else:
        assert found == expected
        assert len(asked) == calls


def test_a_limit_below_doubling_is_kept():
    found = crossing(lambda m: m - 1.4, smallest=0.1, largest=1.5, steps=5)
    assert found.below < 1.4 <= found.above <= 1.5
    assert crossing(lambda m: -1, smallest=0.1, largest=1.0, steps=5) == (1.0, None)
