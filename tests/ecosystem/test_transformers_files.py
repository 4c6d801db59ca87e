"""save_pretrained and from_pretrained of converted models, in every stage of a chip's life."""

import copy
import json
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

import mho
from chips import assert_same, chip
from mho.nn import sites

from .language import NOISELESS, STANDARD, TOKENS, build, run

LEARNED = mho.override(STANDARD, {"dac.range": "learned"})
STAGES = ("converted", "calibrated", "programmed", "compensated")
BATCH = {"input_ids": TOKENS}


def at_stage(model, stage, hardware=STANDARD):
    """Convert a model and let it live, in place; `converted` needs no calibration to be run."""
    mho.convert(model, NOISELESS if stage == "converted" else hardware)
    if stage != "converted":
        decoder = {"decoder_input_ids": TOKENS} if model.config.is_encoder_decoder else {}
        mho.calibrate(model, [{**BATCH, **decoder}])
    if stage in STAGES[2:]:
        mho.at(mho.program(model, seed=7), "30 d")
    if stage == "compensated":
        mho.compensate(model, "column")
    return model


def through(model, folder, **options):
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder, **options)


def assert_equal_models(first, second):
    assert_same(first.state_dict(), second.state_dict())
    assert_same(dict(first.named_parameters()), dict(second.named_parameters()))
    assert torch.equal(run(first), run(second))


def layers(model):
    return {site.name: site.crossbar.hardware for site in sites(model)}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_loaded_model_is_the_saved_one_to_the_last_bit(name, stage, tmp_path):
    model = at_stage(build(name), stage)
    loaded = through(model, tmp_path)
    assert_equal_models(model, loaded)
    assert layers(loaded) == layers(model)
    if stage in STAGES[2:]:
        assert_same(chip(loaded), chip(model))
        for each in (model, loaded):
            mho.at(each, "10 y")
        assert_same(chip(loaded), chip(model))
    if stage != "converted":  # the same layers, so the same chips
        for each in (model, loaded):
            mho.program(each, seed=9)
        assert_same(chip(loaded), chip(model))


@pytest.mark.parametrize("name", ["llama, tied", "phi3", "gpt-neox", "bert", "t5"])
def test_every_architecture_comes_back(name, tmp_path):
    model = at_stage(build(name), "compensated")
    loaded = through(model, tmp_path)
    assert_equal_models(model, loaded)
    if name in ("llama, tied", "t5"):
        head, table = loaded.get_output_embeddings(), loaded.get_input_embeddings()
        assert head.weight is table.weight
        with safe_open(tmp_path / "model.safetensors", "pt") as file:
            saved = set(file.keys())
        assert len(saved & {"lm_head.weight", "model.embed_tokens.weight", "shared.weight"}) == 1


def test_learned_ranges_and_shards(tmp_path):
    model = at_stage(build("llama, tied"), "compensated", LEARNED)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 10
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert_equal_models(model, loaded)
    assert isinstance(loaded.lm_head.analog["weight"].input_range, nn.Parameter)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_in_bfloat16_the_chip_stays_in_float32(stage, tmp_path):
    build("llama").save_pretrained(tmp_path / "digital")
    digital = AutoModelForCausalLM.from_pretrained(tmp_path / "digital", dtype="bfloat16")
    model = at_stage(digital, stage)
    loaded = through(model, tmp_path / "analog", dtype="bfloat16")
    assert_equal_models(model, loaded)
    assert run(loaded).dtype == torch.bfloat16
    # A file in single precision, loaded in half: the weights are cast, what the arrays are is not.
    single = at_stage(build("llama"), stage)
    cast = through(single, tmp_path / "single", dtype=torch.bfloat16)
    arrays = [
        {key: value for key, value in each.state_dict().items() if ".analog." in key}
        for each in (single, cast)
    ]
    assert_same(*arrays)
    assert cast.dtype == torch.bfloat16
    assert run(cast).isfinite().all()


def test_rules_and_predicates_are_saved_as_the_layers_that_they_chose(tmp_path):
    model = build("llama, tied")
    rules = mho.Rules([
        ("lm_head", None), (lambda name, module: ".mlp." in name, NOISELESS), (mho.linear, STANDARD)
    ])  # fmt: skip
    mho.convert(model, rules)
    mho.calibrate(model, [TOKENS])
    loaded = through(model, tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert saved["quant_method"] == "mho"
    assert [mho.Hardware(**fields) for fields in saved["hardware"]] == [STANDARD, NOISELESS]
    assert saved["layers"]["model.layers.1.mlp.up_proj"] == 1
    assert saved["layers"]["model.layers.0.self_attn.v_proj"] == 0
    assert "lm_head" not in saved["layers"]
    assert layers(loaded) == layers(model)
    assert type(loaded.lm_head) is nn.Linear


def test_what_is_saved_is_what_is_there(tmp_path):
    """The config follows the model: through restoring a part, copies, pickles, more conversion."""
    model = at_stage(build("llama"), "calibrated")
    mho.restore(model.lm_head)
    assert_equal_models(model, through(model, tmp_path / "part"))
    twin, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    mho.restore(model.model.layers[0])
    for each in (twin, pickled):
        assert layers(through(each, tmp_path / "copy")) == layers(each)
    assert len(layers(twin)) == len(layers(model)) + 7
    mho.restore(twin)
    assert "quantization_config" not in twin.config.to_dict()
    assert type(through(twin, tmp_path / "digital").lm_head) is nn.Linear
    mho.convert(model, STANDARD)
    mho.calibrate(model, [TOKENS])
    assert_equal_models(model, through(model, tmp_path / "whole"))


def test_a_part_that_was_converted_is_saved_with_the_whole(tmp_path):
    model = build("llama")
    mho.convert(model.model, STANDARD)
    mho.calibrate(model, [TOKENS])
    loaded = through(model, tmp_path)
    assert layers(loaded) == layers(model)
    assert_equal_models(model, loaded)


def test_a_part_that_is_restored_or_converted_leaves_the_rest_of_the_record(tmp_path):
    model = build("llama")
    mho.convert(model, STANDARD, where=mho.named("lm_head"))
    mho.convert(model.model, NOISELESS)
    mho.calibrate(model, [TOKENS])
    loaded = through(model, tmp_path / "both")
    assert layers(loaded) == layers(model)
    assert len(layers(model)) == 15
    mho.restore(model.model)
    assert layers(through(model, tmp_path / "head")) == layers(model)
    assert list(layers(model)) == ["lm_head.weight"]


def test_two_models_of_one_config_are_saved_each_as_it_is(tmp_path):
    made = build("llama")
    student, teacher = (type(made)(made.config) for _ in range(2))
    assert student.config is teacher.config
    mho.convert(student, STANDARD)
    assert type(through(teacher, tmp_path / "teacher").lm_head) is nn.Linear
    assert layers(through(student, tmp_path / "student")) == layers(student)


def test_a_model_of_foreign_codes_is_refused():
    model = build("llama")
    model.is_quantized = True  # as Transformers marks it
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(mho.errors.ConversionError, match="hold weights, not codes"):
        mho.convert(model, STANDARD)
    assert type(model.lm_head) is nn.Linear


def test_with_and_without_a_head(tmp_path):
    model = at_stage(build("llama"), "programmed")
    model.save_pretrained(tmp_path / "whole")
    base = AutoModel.from_pretrained(tmp_path / "whole")
    assert_same(model.model.state_dict(), base.state_dict())
    base.save_pretrained(tmp_path / "base")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "base")  # its head begins at random
    assert_same(again.model.state_dict(), base.state_dict())
    assert type(again.lm_head) is nn.Linear
    # BERT's other way round: a classifier over a base that was saved with its head.
    bert = at_stage(build("bert"), "calibrated")
    bert.save_pretrained(tmp_path / "bert")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert")
    assert_equal_models(bert, loaded)


FRESH = """
import logging, sys
import mho
import transformers
from transformers import AutoModelForCausalLM
transformers.logging.disable_progress_bar()
heard = []
handler = logging.Handler()
handler.emit = lambda entry: heard.append(entry.getMessage())
logging.getLogger("transformers").addHandler(handler)
model, info = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
assert type(model.lm_head).__name__ == "Linear"
assert any("Unknown quantization type, got mho" in text for text in heard), heard
assert "lm_head.analog.weight.record" in info["unexpected_keys"]
mho.register_transformers()
model, info = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
assert not info["unexpected_keys"] and not info["missing_keys"], info
import torch
torch.save(model.state_dict(), sys.argv[2])
"""


def test_a_fresh_process_needs_one_call_and_says_so_without_it(tmp_path):
    model = at_stage(build("llama"), "programmed")
    model.save_pretrained(tmp_path)
    command = [sys.executable, "-c", FRESH, str(tmp_path), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(torch.load(tmp_path / "state"), dict(model.state_dict()))


def edited(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config["quantization_config"])
    (folder / "config.json").write_text(json.dumps(config))


def rewritten(folder, change):
    file = folder / "model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file, {"format": "pt"})


CELLS = "model.layers.0.mlp.up_proj.analog.weight.programmed"
DAMAGES = {
    "other hardware": (
        lambda folder: edited(folder, lambda c: c["hardware"][0]["noise"].update(output=0.05)),
        r"noise\.output: 0\.05 here, 0\.04 stored",
    ),
    "later version": (
        lambda folder: edited(folder, lambda c: c.update(spares=2)),
        "spares, which this version of mho does not know",
    ),
    "layer left out": (
        lambda folder: edited(folder, lambda c: c["layers"].pop("lm_head")),
        r"arrays for lm_head\.analog.*no analog layer",
    ),
    "cells cut": (
        lambda folder: rewritten(folder, lambda s: s.update({CELLS: s[CELLS][:, :3].clone()})),
        r"programmed has shape \(2, 3, 32\) in the checkpoint, \(2, 48, 32\) here",
    ),
    "half a chip": (
        lambda folder: rewritten(folder, lambda s: s.pop(CELLS)),
        "part of a chip instance only; it lacks programmed",
    ),
    "weights not finite": (
        lambda folder: rewritten(folder, lambda s: s["lm_head.weight"].fill_(torch.nan)),
        r"lm_head\.weight has values that are not finite",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused(name, tmp_path):
    damage, message = DAMAGES[name]
    at_stage(build("llama"), "programmed").save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(mho.MhoError, match=message):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_weights_that_stay_on_disk_are_refused(tmp_path):
    at_stage(build("llama"), "programmed").save_pretrained(tmp_path / "model")
    with pytest.raises(mho.errors.ConversionError, match="left on disk or in another memory"):
        AutoModelForCausalLM.from_pretrained(
            tmp_path / "model",
            device_map={"model": "cpu", "lm_head": "disk"},
            offload_folder=str(tmp_path / "offload"),
        )


def test_weights_given_as_a_state_dict_come_without_silent_loss(tmp_path):
    model = at_stage(build("llama"), "calibrated")
    state = model.state_dict()
    loaded, info = type(model).from_pretrained(
        None, config=model.config, state_dict=state, output_loading_info=True
    )
    assert any("lm_head.analog" in key for key in info["unexpected_keys"])
    loaded.load_state_dict(state)
    assert_equal_models(model, loaded)
