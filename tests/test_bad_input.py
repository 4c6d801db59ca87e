"""Bad input at every door: a specific error that says what is allowed, and nothing half done."""

import copy

import pytest
import torch
from torch import nn

import mho
from chips import PIXELS, assert_same, chip, cnn, converted, output
from mho.errors import (
    ConversionError,
    DataError,
    LifecycleError,
    PresetError,
    RangeError,
    SpecError,
)
from mho.nn import Analog, sites

LEVELS = {"bits": 8, "bound": 10.0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        # unknown or misspelled keys
        ({"adcs": {}}, r"adcs: unknown field \(did you mean 'adc'\?\); known fields: adc, array"),
        ({"adc": {"bit": 8}}, r"adc\.bit: unknown field \(did you mean 'bits'\?\)"),
        ({"cell": {"kind": "pcmm"}}, r"unknown cell kind 'pcmm' \(did you mean 'pcm'\?\)"),
        ({"cell": "pcmm"}, r"cell: no preset 'pcmm'.*\(did you mean 'pcm'\?\); known kinds: afm"),
        ({"cell": {"kind": "pcm", "gmax": 1}}, r"cell\.gmax: unknown field \(did you mean 'g_max'"),
        ({"dac": {"range": {"kind": "fixd"}}}, r"did you mean 'fixed'"),
        # wrong units
        ({"cell": {"kind": "pcm", "g_max": "25 us"}}, r"cell\.g_max: '25 us' is not in S"),
        ({"cell": {"kind": "pcm", "g_max": "25 foo"}}, r"cannot read '25 foo' as a quantity"),
        ({"noise": {"output": "4 uS"}}, r"noise\.output: Input should be a valid number"),
        # impossible ranges
        ({"adc": {"bits": 1, "bound": 1.0}}, r"adc\.bits: .*greater than or equal to 2 \(got 1\)"),
        ({"adc": {"bits": 7.5, "bound": 1.0}}, r"valid integer \(got 7\.5\)"),
        ({"adc": {"bound": -1.0}}, "bound must be above 0"),
        ({"adc": {"bound": float("nan")}}, "finite number"),
        ({"adc": {"bits": 8}}, "levels need a bound, such as"),
        ({"dac": {"bits": 8}}, "levels need a range, such as"),
        ({"adc": LEVELS}, r"give dac\.range, such as"),
        ({"array": {"rows": 0}}, r"array\.rows: .*greater than or equal to 1"),
        ({"cell": {"kind": "pcm", "g_max": "-1 uS"}}, "greater than 0"),
        ({"cell": {"kind": "pcm", "g_min": "30 uS"}}, "g_min=3e-05 S must be below g_max"),
        (
            {"cell": {"kind": "ideal", "faults": {"at_zero": 0.7, "random": 0.7}}},
            "must not exceed 1",
        ),
        ({"cell": 3}, "expected a mapping with 'kind', got 3"),
        ({"cell": "hermes-two-device"}, r"did you mean 'hermes-two-devices'\?"),
    ],
)
def test_descriptions(fields, message):
    with pytest.raises(mho.MhoError, match=message):
        mho.Hardware(**fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adc.bit": 6}, r"no field 'adc\.bit'.*did you mean 'bits'"),
        (["adc.bits"], "not of the form path=value"),
        (["adc.bits=["], "not YAML"),
        (["adc.bits=six"], r"valid integer.*\(got 'six'\)"),
        ({"adc.bits.x": 1}, "has no fields"),
    ],
)
def test_overrides(change, message):
    with pytest.raises(SpecError, match=message):
        mho.override(mho.load("standard-hwa-2023"), change)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds NoneType, expected a mapping"),
        (b"- 1", "holds list"),
        (b"schema: 1\nadc: [", "as YAML"),
        (b"\xff\xfe\x00\x01", "as YAML"),
        (b"adc: {}", "schema is None; this version reads `schema: 1`"),
        (b"schema: 9", "schema is 9"),
        (b"schema: 1\nadc: {bits: 8, bits: 6}", "key 'bits' is written twice"),
        (b"schema: 1\nadd: {}", r"did you mean 'adc'"),
        (b"schema: 1\n3: {}", "field names must be text"),
        (b"schema: 1\ncell: {kind: pcm, g_max: 25 kg}", "'25 kg' is not in S"),
        (b"schema: 1\ncell: !!python/object/new:os.system [ls]", "as YAML"),
    ],
)
def test_corrupt_hardware_files(content, message, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    for read in (mho.load, lambda path: mho.convert(cnn(), path)):
        with pytest.raises(PresetError, match=message) as error:
            read(file)
        assert "my.yaml" in str(error.value)


def test_missing_hardware_files(tmp_path):
    with pytest.raises(PresetError, match=r"did you mean 'standard-hwa-2023'.*known presets: afm"):
        mho.load("standard-hwa-2032")
    with pytest.raises(PresetError, match="no such file"):
        mho.load(tmp_path / "none.yaml")
    with pytest.raises(PresetError, match="cannot read"):
        mho.load(tmp_path)


class Odd(nn.Module):
    """A module with a weight matrix that no layer knows."""

    def __init__(self):
        super().__init__()
        self.linear, self.matrix = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return self.linear(x) @ self.matrix


def not_finite():
    model = cnn()
    with torch.no_grad():
        model[3].weight[2, 3] = torch.nan
    return model


ideal = mho.Hardware()


@pytest.mark.parametrize(
    ("build", "options", "error", "message"),
    [
        (not_finite, {}, DataError, r"3\.weight has values that are not finite; nothing was conv"),
        (Odd, {"strict": True}, ConversionError, r"no analog layer for Odd"),
        (nn.ReLU, {}, ConversionError, "no layer of the model becomes analog"),
        (cnn, {"where": lambda n, m: False}, ConversionError, "excluded by `where`"),
        (cnn, {"hardware": mho.Rules([("0", ideal), ("3", None)]), "strict": True}, None, ""),
        (cnn, {"hardware": mho.Rules([("encoder", ideal)])}, ConversionError, "no rule matches"),
        (cnn, {"hardware": 3}, SpecError, "not a Hardware"),
    ],
)
def test_conversion_happens_as_a_whole_or_not_at_all(build, options, error, message):
    model = build()
    before = copy.deepcopy(model.state_dict())
    types = [type(module) for module in model.modules()]
    arguments = {"hardware": ideal} | options
    if error is None:  # what a rule leaves digital is no refusal
        mho.convert(model, **arguments)
        return
    with pytest.raises(error, match=message):
        mho.convert(model, **arguments)
    assert [type(module) for module in model.modules()] == types
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert not model._load_state_dict_pre_hooks


def test_other_hardware_needs_a_restored_model():
    model = converted()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConversionError, match=r"call mho\.restore\(model\) before"):
        mho.convert(model, "standard-hwa-2023")
    assert_same(model.state_dict(), before)
    with pytest.raises(ConversionError, match="no analog layer to restore"):
        mho.restore(cnn())


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        (lambda m: mho.at(m, "1 d"), r"mho\.at needs a chip.*call mho\.program\(model, seed="),
        (mho.compensate, r"mho\.compensate needs a chip"),
        (lambda m: mho.restore(m, read_out=True), r"call mho\.program"),
        (lambda m: m(PIXELS), r"mho\.calibrate\(model, batches\) first"),
    ],
)
def test_verbs_that_come_too_early(verb, message):
    model = converted(batches=())
    with pytest.raises(LifecycleError, match=message):
        verb(model)
    assert all(isinstance(m, Analog) for m in (model[0], model[3]))
    assert list(model.state_dict()) == list(cnn().state_dict())


@pytest.mark.parametrize(
    "verb", [mho.program, lambda m: mho.at(m, 1), mho.erase, lambda m: mho.calibrate(m, [PIXELS])]
)
def test_verbs_need_a_converted_model(verb):
    with pytest.raises(LifecycleError, match=r"call mho\.convert\(model, hardware\) first"):
        verb(cnn())


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (-1, "finite and at least 0 s"),
        ("-1 s", "finite and at least 0 s"),
        (float("nan"), "finite and at least 0 s"),
        (float("inf"), "finite and at least 0 s"),
        ("1 parsec", "'1 parsec' is not in s"),
        ("soon", "cannot read 'soon' as a quantity"),
        (None, "expected a number in s"),
        (True, "expected a number in s"),
    ],
)
def test_times(time, message):
    model = mho.at(mho.program(converted(), seed=1), "1 d")
    before = chip(model)
    with pytest.raises(SpecError, match=message):
        mho.at(model, time)
    assert_same(chip(model), before)


def test_a_time_without_meaning_for_one_layer_leaves_all_at_the_old_one():
    """The second layer's cell was measured at fixed times only."""
    model = cnn()
    rules = mho.Rules([("0", mho.Hardware(cell="pcm")), ("3", mho.load("reram-wan-2022"))])
    mho.convert(model, rules)
    mho.calibrate(model, [PIXELS])
    mho.program(model, seed=1)
    before = chip(model)
    with pytest.raises(RangeError, match="measured at"):
        mho.at(model, "12345 s")
    assert_same(chip(model), before)


@pytest.mark.parametrize("seed", [-1, 1.0, "7", True, 2**63, None])
def test_seeds(seed):
    model = mho.program(converted(), seed=1)
    before = chip(model)
    with pytest.raises(RangeError, match="whole number from 0"):
        mho.program(model, seed=seed)
    assert_same(chip(model), before)


@pytest.mark.parametrize("first", ["unprogrammed", "programmed"])
@pytest.mark.parametrize("fault", ["nan", "too large", "map"])
def test_programming_happens_as_a_whole_or_not_at_all(first, fault, tmp_path):
    """The last layer cannot be programmed: the first one is not either."""
    file = tmp_path / "map.csv"
    file.write_text("\n".join(["0,0,0,0,0,0,0,0"] * 75))
    good = mho.Hardware(cell="pcm")
    last = mho.Hardware(
        cell={"kind": "pcm", "faults": {"map": str(file)}},
        mapping={"kind": "differential", "scaling": "fixed", "w_max": 1.0},
    )
    model = cnn()
    mho.convert(model, mho.Rules([("0", good), ("3", last)]))
    if first == "programmed":
        mho.compensate(mho.at(mho.program(model, seed=1), "1 d"))
    with torch.no_grad():
        if fault != "map":
            model[3].weight[1, 1] = torch.nan if fault == "nan" else 1.5
    if fault == "map":
        file.write_text("\n".join(["0,0,0"] * 9))
    before = copy.deepcopy(model.state_dict())
    message = {
        "nan": "not finite; nothing was prog",
        "too large": r"w_max = 1\.0",
        "map": "fault map",
    }
    with pytest.raises(mho.MhoError, match=message[fault]):
        mho.program(model, seed=2)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    programmed = {site.crossbar.is_programmed for site in sites(model)}
    assert programmed == {first == "programmed"}


@pytest.mark.parametrize("stage", ["converted", "programmed"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_inputs_that_are_not_finite(stage, value):
    model = converted()
    if stage == "programmed":
        mho.program(model)
    bad = PIXELS.clone()
    bad[1, 0, 2, 2] = value
    with pytest.raises(DataError, match=r"0\.weight: the input has values that are not finite"):
        model(bad)
    # A sum of finite values that overflows is no such input.
    assert output(model, PIXELS * 1e38).isfinite().all()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Linear(12, 3), (2, 13), r"must be \(\.\.\., 12\), got \(2, 13\)"),
        (nn.Linear(12, 3), (2, 24), r"must be \(\.\.\., 12\), got \(2, 24\)"),
        (nn.Conv2d(4, 3, 3), (2, 5, 6, 6), r"must have 4 channels and 2 spatial axes, got \(2, 5"),
        (nn.Conv2d(4, 3, 3), (2, 8, 6, 6), "must have 4 channels"),
        (nn.Conv2d(4, 3, 3), (2, 2, 4, 6, 6), "2 spatial axes"),
        (nn.ConvTranspose1d(4, 3, 3), (2, 5, 6), "must have 4 channels and 1 spatial axes"),
    ],
)
def test_inputs_of_another_shape(layer, shape, message):
    """Also where several arrays would each take some rows of a longer input."""
    mho.convert(layer, mho.Hardware(cell="pcm", array={"rows": 6}))
    mho.program(layer)
    with pytest.raises(DataError, match=message):
        layer(torch.randn(shape))


def test_every_error_is_one_of_ours_and_of_pythons_kind():
    errors = mho.errors
    for error in vars(errors).values():
        if isinstance(error, type):
            assert issubclass(error, errors.MhoError)
    assert issubclass(SpecError, ValueError)
    assert issubclass(LifecycleError, RuntimeError)


def test_a_name_is_no_predicate():
    model = cnn()
    with pytest.raises(ConversionError, match=r"mho\.named\('fc'\)"):
        mho.convert(model, mho.Hardware(), where="fc")
    assert not list(sites(model))
