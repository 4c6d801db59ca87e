"""Errors of a description: the path, the value, the allowed range, the nearest name."""

import pytest

import mho
from mho.cells import Hermes, Pcm
from mho.circuits import ADC, DAC
from mho.errors import MhoError, SpecError
from mho.spec import Spec, Variant
from mho.tiles import Hardware

FIXED = {"kind": "fixed", "value": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"nose": {}},
            r"nose: unknown field \(did you mean 'noise'\?\); known fields: adc, array,",
        ),
        ({"adc": {"bitz": 8}}, r"adc.bitz: unknown field \(did you mean 'bits'\?\)"),
        ({"cell": {"kind": "pcm", "gmax": 1}}, r"cell.gmax: unknown field \(did you mean 'g_max'"),
        ({"cell": {"kind": "pmc"}}, r"cell: unknown cell kind 'pmc' \(did you mean 'pcm'\?\)"),
        ({"cell": {"g_max": 1e-6}}, "cell: unknown cell kind None; known kinds: afm, "),
        ({"dac": {"range": "fxed"}}, r"dac.range: unknown range kind 'fxed' \(did you mean"),
        ({"dac": {"range": {"kind": "fixed", "value": 0}}}, r"dac.range.value: .* \(got 0\)"),
        ({"dac": {"range": 3}}, r"dac.range: expected a mapping with 'kind', got 3"),
        ({"adc": {"bits": 17}}, r"adc.bits: .* less than or equal to 16 \(got 17\)"),
        ({"adc": {"bits": "8"}}, r"adc.bits: .*integer \(got '8'\)"),
        ({"adc": {"bits": 8.0}}, r"adc.bits: .*integer \(got 8.0\)"),
        ({"adc": {"steps": 7}}, r"adc.steps: .*multiple of 2 \(got 7\)"),
        ({"adc": {"rounding": "up"}}, r"adc.rounding: .*'nearest' or 'stochastic' \(got 'up'\)"),
        ({"noise": {"output": -1}}, r"noise.output: .*greater than or equal to 0 \(got -1\)"),
        ({"noise": {"output": "loud"}}, r"noise.output: .* number.*\(got 'loud'\)"),
        ({"noise": {"output": float("nan")}}, r"noise.output: .*finite"),
        ({"cell": {"kind": "pcm", "g_max": "25 us"}}, r"cell.g_max: '25 us' is not in S"),
        ({"cell": {"kind": "pcm", "g_max": "a lot"}}, r"cell.g_max: cannot read 'a lot'"),
        ({"array": {"rows": 0}}, r"array.rows: .*greater than or equal to 1 \(got 0\)"),
        ({"mapping": {"kind": "pairs", "factors": [1, "x"]}}, r"mapping.factors.1: .*\(got 'x'\)"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)
def test_one_fault(fields, message):
    with pytest.raises(SpecError, match=message) as error:
        Hardware(**fields)
    assert str(error.value).startswith("Hardware is not valid:\n")


def test_all_faults_at_once():
    with pytest.raises(SpecError) as error:
        Hardware(adc={"bits": 1}, noise={"output": -1}, dak={})
    text = str(error.value)
    assert all(path in text for path in ("adc.bits", "noise.output", "dak: unknown field"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise": {"output": 0.1}}, "give dac.range, such as"),
        ({"adc": {"bound": 10}}, "give dac.range, such as"),
        ({"noise": {"input": 0.1}}, "give dac.range, such as"),
        ({"dac": {"bits": 8}}, "levels need a range"),
        ({"dac": {"bits": 8, "steps": 254, "range": FIXED}}, "give bits or steps, not both"),
        ({"dac": {"scheme": "bit_serial", "range": FIXED}}, "bit-serial input needs bits"),
        ({"dac": {"range": FIXED}, "adc": {"bits": 8}}, "levels need a bound"),
        ({"dac": {"range": FIXED}, "adc": {"overflow": "retry"}}, "overflow: retry need"),
        ({"dac": {"range": FIXED}, "adc": {"transfer": "compressive"}}, "transfer curve need"),
        ({"dac": {"range": FIXED}, "adc": {"bound": 0}}, "bound must be above 0"),
        ({"dac": {"range": FIXED}, "adc": {"bound": -3.0}}, "bound must be above 0"),
        ({"dac": {"range": "per_token"}, "adc": {"bound": "calibrated"}}, "does not follow"),
        ({"array": {"polarity_spread": 0.1}}, "needs dac.scheme: positive_negative"),
        ({"cell": "afm"}, "goes with `mapping: signed`"),
        ({"mapping": "signed"}, "goes with `mapping: signed`"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)
def test_combinations_that_mean_nothing(fields, message):
    with pytest.raises(SpecError, match=message):
        Hardware(**fields)


def test_a_spec_by_itself_names_itself():
    for build, name in [
        (lambda: DAC(bits=8), "DAC"),
        (lambda: ADC(bit=8), "ADC"),
        (lambda: Pcm(g_max=-1), "Pcm"),
        (lambda: Hermes(devices=3), "Hermes"),
    ]:
        with pytest.raises(SpecError, match=f"^{name} is not valid"):
            build()


def test_every_error_is_one_of_ours_and_of_pythons():
    assert issubclass(SpecError, MhoError)
    assert issubclass(SpecError, ValueError)
    assert mho.MhoError is MhoError


def test_a_new_member_is_known_at_once():
    """A family is open: declaring a kind is all it takes, in fields, errors and kinds as text."""
    from typing import Literal

    class Vehicle(Variant):
        """A family."""

    class Boat(Vehicle):
        kind: Literal["boat"] = "boat"
        length: float = 1.0

    class Owner(Spec):
        has: Vehicle | None = None

    try:
        assert Owner(has="boat") == Owner(has={"kind": "boat"}) == Owner(has=Boat())
        assert Owner(has=Boat(length=2)).has.length == 2
        with pytest.raises(SpecError, match=r"has: unknown vehicle kind 'coat' \(did you mean"):
            Owner(has="coat")
        with pytest.raises(SpecError, match=r"has.lenth: unknown field \(did you mean 'length'"):
            Owner(has={"kind": "boat", "lenth": 3})
    finally:
        del Variant.families["vehicle"]
