"""Checkpoints in every stage of a chip's life, and copies, pickles, casts and moves."""

import copy
import io
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

import mho
from chips import EVERY_SPREAD, PIXELS, assert_same, chip, cnn, converted, output
from mho.nn import Crossbar, sites

LEARNED = mho.override(EVERY_SPREAD, {"dac.range": "learned", "adc.bound": 10.0})
BOUNDED = mho.override(EVERY_SPREAD, {"adc.bound": "calibrated"})
STAGES = ("digital", "converted", "calibrated", "programmed", "aged", "compensated", "affine")


def at_stage(stage, hardware=EVERY_SPREAD, seed=0):
    """A model at one stage of its life; `converted` needs no calibration to be called."""
    if stage == "digital":
        return cnn(seed)
    if stage == "converted":
        return converted("state-independent", seed, batches=())
    model = converted(hardware, seed)
    if STAGES.index(stage) >= 3:
        mho.program(model, seed=7)
    if STAGES.index(stage) >= 4:
        mho.at(model, "30 d")
    if stage == "compensated":
        mho.compensate(model, "column")
    if stage == "affine":
        mho.compensate(model, "affine", [PIXELS])
    return model


def fresh(stage, hardware=EVERY_SPREAD):
    """Another model of the same build that has not lived yet: other weights, no calibration."""
    model = cnn(seed=99)
    if stage != "digital":
        mho.convert(model, "state-independent" if stage == "converted" else hardware)
    return model


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def through_safetensors(state):
    return safetensors.torch.load(safetensors.torch.save(dict(state)))


def assert_equal_models(first, second):
    assert_same(first.state_dict(), second.state_dict())
    assert torch.equal(output(first), output(second))
    if any(isinstance(m, Crossbar) and m.is_programmed for m in first.modules()):
        assert_same(chip(first), chip(second))
        for time in (0, "10 y"):
            assert_same(chip(mho.at(first, time)), chip(mho.at(second, time)))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("file", [dict, through_file, through_safetensors])
def test_round_trips_of_state_dicts(stage, file):
    model, other = at_stage(stage), fresh(stage)
    missing, unexpected = other.load_state_dict(file(model.state_dict()))
    assert not missing
    assert not unexpected
    assert_equal_models(model, other)


@pytest.mark.parametrize("hardware", [LEARNED, BOUNDED], ids=["learned", "bounded"])
@pytest.mark.parametrize("assign", [False, True])
def test_round_trips_of_everything_that_is_calibrated(hardware, assign):
    model, other = at_stage("aged", hardware), fresh("aged", hardware)
    other.load_state_dict(through_file(model.state_dict()), assign=assign)
    assert_equal_models(model, other)
    assert_same(dict(model.named_parameters()), dict(other.named_parameters()))


def test_a_checkpoint_replaces_the_whole_state():
    """Nothing of the model's own life stays: neither a chip nor its corrections."""
    model, other = at_stage("aged"), at_stage("affine", seed=3)
    mho.at(mho.program(other, seed=12), "10 y")
    mho.compensate(other, "affine", [PIXELS])
    other.load_state_dict(model.state_dict())
    assert_equal_models(model, other)


def test_keys_are_those_of_the_digital_model_until_there_is_something_to_keep():
    digital = cnn().state_dict()
    assert list(at_stage("converted").state_dict()) == list(digital)
    for stage in STAGES[2:]:
        state = at_stage(stage).state_dict()
        assert [key for key in state if ".analog." not in key] == list(digital)
        assert state.keys() > digital.keys()


def test_a_digital_checkpoint_loads_into_a_converted_model():
    digital, model = cnn(seed=5), converted("state-independent", batches=())
    model.load_state_dict(digital.state_dict())
    assert torch.equal(model[3].weight, digital[3].weight)


@pytest.mark.parametrize("strict", [True, False])
def test_a_digital_checkpoint_keeps_the_calibration_and_says_so(strict):
    digital, model = cnn(seed=5).state_dict(), at_stage("calibrated")
    before = copy.deepcopy(model.state_dict())
    with pytest.warns(UserWarning, match=r"calibration.*kept for 0\.weight, 3\.weight") as warning:
        missing, unexpected = model.load_state_dict(digital, strict=strict)
    assert warning[0].filename == __file__
    assert not missing
    assert not unexpected
    assert_same(model.state_dict(), {**before, **digital})


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("stage", ["digital", "calibrated"])
def test_a_checkpoint_without_chip_is_refused_by_a_programmed_model(stage, strict):
    model = at_stage("compensated")
    before = copy.deepcopy(model.state_dict())
    state = at_stage(stage, seed=5).state_dict()
    with pytest.raises(mho.errors.CheckpointError, match=r"no chip instance: call mho\.erase"):
        model.load_state_dict(state, strict=strict)
    assert_same(model.state_dict(), before)
    mho.erase(model)
    model.load_state_dict(at_stage("calibrated", seed=5).state_dict())
    assert_same(model.state_dict(), at_stage("calibrated", seed=5).state_dict())


def test_parts_of_a_model_load_without_the_others():
    """Only what a partial checkpoint has is looked at."""
    model = at_stage("compensated")
    bias = torch.randn(8)
    model.load_state_dict({"3.bias": bias}, strict=False)
    assert torch.equal(model[3].bias, bias)
    assert_same(chip(model), chip(at_stage("compensated")))


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_converted_checkpoint_loads_into_a_digital_model(stage):
    model, digital = at_stage(stage), cnn(seed=5)
    weights = mho.digital_state_dict(model)
    assert list(weights) == list(digital.state_dict())
    digital.load_state_dict(weights)
    assert_same(digital.state_dict(), mho.digital_state_dict(through_file(model.state_dict())))
    state = through_safetensors(model.state_dict())
    keys = set(state)
    assert_same(digital.state_dict(), mho.digital_state_dict(state))
    assert set(state) == keys  # the file that was read is not changed
    mho.restore(model)
    assert_same(digital.state_dict(), model.state_dict())


OTHERS = {
    "adc.gain_spread": (0.07, r"adc\.gain_spread: 0\.07 here, 0\.05 stored"),
    "cell": ("hermes-two-devices", r"cell\.kind: hermes here, pcm stored"),
    "array.rows": (19, r"array\.rows: 19 here, 20 stored"),
}


@pytest.mark.parametrize("path", OTHERS)
@pytest.mark.parametrize("stage", ["calibrated", "compensated"])
def test_other_hardware_is_refused_with_the_difference(path, stage):
    value, message = OTHERS[path]
    model = converted(mho.override(EVERY_SPREAD, {path: value}))
    mho.program(model, seed=2)
    before = copy.deepcopy(model.state_dict())
    hardware = model[3].analog["weight"].hardware
    with pytest.raises(mho.errors.CheckpointError, match=message) as error:
        model.load_state_dict(at_stage(stage, seed=5).state_dict(), strict=False)
    assert "convert with that hardware" in str(error.value)
    assert_same(model.state_dict(), before)  # neither the chip, nor a single weight
    assert model[3].analog["weight"].hardware == hardware


def damaged(change):
    state = at_stage("compensated").state_dict()
    change(state, "3.analog.weight.")
    return state


def cast(state, prefix):
    for key, value in state.items():
        state[key] = value.half() if value.dtype == torch.float32 else value


DAMAGES = {
    "weight": (lambda s, p: s.update({"3.weight": torch.zeros(8, 74)}), r"\(8, 74\) in the check"),
    "cells": (
        lambda s, p: s.update({p + "programmed": torch.zeros(2, 8, 74)}),
        r"programmed has shape \(2, 8, 74\) in the checkpoint, \(2, 8, 75\) here",
    ),
    "gain": (lambda s, p: s.update({p + "gain": torch.ones(3)}), r"gain has shape \(3,\)"),
    "nan": (lambda s, p: s[p + "programmed"].fill_(torch.nan), "programmed.*not finite"),
    "cast": (cast, "stored as torch.float16"),
    "no record": (lambda s, p: s.pop(p + "record"), "does not say which hardware"),
    "record": (lambda s, p: s[p + "record"][:9].fill_(65), "recorded hardware cannot be read"),
    "bytes": (lambda s, p: s[p + "record"].fill_(255), "recorded hardware cannot be read"),
    "half a chip": (lambda s, p: s.pop(p + "seed"), "part of a chip instance only; it lacks seed"),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("whole", [True, False])
def test_damaged_checkpoints_are_refused_as_a_whole(name, whole):
    change, message = DAMAGES[name]
    state, model = damaged(change), at_stage("aged", seed=5)
    before = copy.deepcopy(model.state_dict())
    into = model
    if not whole:  # a layer of its own is guarded as well
        into = model[3]
        state = {k.removeprefix("3."): v for k, v in state.items() if k.startswith("3.")}
    with pytest.raises(mho.errors.CheckpointError, match=message) as error:
        into.load_state_dict(state)
    assert ("3.weight: " if whole else "  weight: ") in str(error.value)
    assert_same(model.state_dict(), before)


def test_a_chip_keeps_its_name_in_another_model():
    """Random streams are named by the layer at programming, wherever the state is loaded."""

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = cnn(seed=99)

        def forward(self, x):
            return self.inner(x)

    model, wrapped = at_stage("aged"), Wrapped()
    mho.convert(wrapped, EVERY_SPREAD)
    state = model.state_dict()
    wrapped.load_state_dict({f"inner.{key}": value for key, value in state.items()})
    assert torch.equal(output(model), output(wrapped))
    assert_same(chip(mho.at(wrapped.inner, "1 y")), chip(mho.at(model, "1 y")))
    # Its own chips have the names of its own layers, as if nothing had been loaded.
    own = Wrapped()
    mho.convert(own, EVERY_SPREAD)
    mho.erase(model)
    own.load_state_dict({f"inner.{key}": value for key, value in model.state_dict().items()})
    assert_same(chip(mho.program(wrapped, seed=1)), chip(mho.program(own, seed=1)))


def test_the_file_does_not_follow_the_model():
    model = at_stage("aged")
    state = copy.deepcopy(model.state_dict())
    other = fresh("aged")
    other.load_state_dict(state)
    mho.compensate(mho.at(other, "10 y"))
    mho.program(other, seed=4)
    assert_same(state, model.state_dict())


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "save"])
def test_copies_and_pickles_are_models_of_their_own(stage, way):
    model = at_stage(stage, LEARNED)
    if way == "deepcopy":
        other = copy.deepcopy(model)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert_equal_models(model, other)
    if stage in STAGES[2:]:
        before = copy.deepcopy(model.state_dict())
        mho.at(mho.program(other, seed=4), "1 y")
        other[3].weight.data.zero_()
        assert_same(model.state_dict(), before)
        with pytest.raises(mho.errors.CheckpointError, match="chip"):  # the copy is guarded too
            other.load_state_dict(cnn().state_dict())
        mho.restore(other).load_state_dict(cnn().state_dict())


@pytest.mark.parametrize("stage", STAGES[3:])
def test_casts_do_not_round_a_chip(stage):
    model = at_stage(stage)
    untouched, kept = copy.deepcopy(model), chip(model)
    for cast in ("half", "bfloat16", "double", "float"):
        getattr(model, cast)()
        assert_same(chip(model), kept)
        assert model(PIXELS.to(model[3].weight.dtype)).isfinite().all()
    analog = {k: v for k, v in model.state_dict().items() if ".analog." in k}
    assert_same(analog, {k: v for k, v in untouched.state_dict().items() if ".analog." in k})


def test_a_half_precision_model_takes_a_chip_in_single_precision():
    model, other = at_stage("aged").half(), fresh("aged").half()
    other.load_state_dict(through_file(model.state_dict()))
    assert_same(chip(other), chip(model))


@pytest.mark.parametrize("assign", [False, True])
def test_from_the_meta_device_and_back(assign):
    model, other = at_stage("compensated"), at_stage("compensated")
    other.to("meta")
    assert "programmed" in repr(other)
    assert other(PIXELS.to("meta")).shape == (3, 8)
    if not assign:
        other.to_empty(device="cpu")
        with pytest.raises(mho.errors.LifecycleError, match="load its state dict"):
            other(PIXELS)
    other.load_state_dict(model.state_dict(), assign=assign)
    assert_equal_models(model, other)


def test_a_model_that_was_built_on_the_meta_device():
    with torch.device("meta"):
        other = cnn()
    mho.convert(other, EVERY_SPREAD)
    with pytest.raises(mho.errors.LifecycleError, match="meta device"):
        mho.program(other)
    model = at_stage("compensated")
    other.load_state_dict(model.state_dict(), assign=True)
    assert_equal_models(model, other)


def test_shared_layers_and_tied_weights():
    def build(seed):
        torch.manual_seed(seed)
        shared = nn.Linear(6, 6)
        model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(6, 6))
        model[3].weight = shared.weight
        mho.convert(model, mho.Hardware(cell="pcm"))
        return model

    model, other = build(1), build(2)
    mho.at(mho.program(model, seed=3), "1 d")
    other.load_state_dict(through_file(model.state_dict()))
    x = torch.randn(4, 6)
    assert torch.equal(model(x), other(x))
    assert len(list(sites(other))) == 1
    clone = copy.deepcopy(model)
    assert len(list(sites(clone))) == 1
    assert clone[0].weight is clone[3].weight
