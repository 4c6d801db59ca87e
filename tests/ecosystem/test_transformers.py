"""Models of Hugging Face Transformers: what becomes analog, and that they go on working."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

import mho
from mho.nn import Analog, sites

from .language import (
    BUILDERS,
    CAUSAL,
    NOISELESS,
    PROJECTIONS,
    STANDARD,
    TOKENS,
    VOCABULARY,
    answer,
    build,
    run,
)


@pytest.mark.parametrize("name", BUILDERS)
def test_on_ideal_hardware_nothing_changes(name):
    digital = build(name)
    model = copy.deepcopy(digital)
    receipt = mho.convert(model, mho.Hardware(), strict=True)
    assert receipt.analog
    assert torch.equal(run(model), run(digital))
    if model.can_generate():
        assert torch.equal(answer(model), answer(digital))


@pytest.mark.parametrize("name", CAUSAL)
def test_every_projection_is_on_arrays_and_nothing_else(name):
    """Keys and scores are products of activations: only products with weights run on arrays."""
    model = build(name)
    receipt = mho.convert(model, NOISELESS, where=~mho.named("lm_head"))
    suffixes = PROJECTIONS[name.partition(",")[0]]
    assert len(receipt.analog) == 2 * len(suffixes)
    assert all(sum(n.endswith(suffix) for n in receipt.analog) == 2 for suffix in suffixes)
    calls = []
    for site in sites(model):
        site.crossbar.register_forward_hook(lambda crossbar, *_: calls.append(crossbar.name))
    run(model)
    assert sorted(calls) == sorted(f"{name}.weight" for name in receipt.analog)


@pytest.mark.parametrize("name", CAUSAL)
def test_generation_with_a_cache_is_generation_without(name):
    """The cache holds keys and values as the arrays made them; noise would be drawn otherwise."""
    model = build(name)
    digital = answer(model)
    mho.convert(model, NOISELESS)
    mho.program(model, seed=3)
    mho.at(model, "1 d")
    with_cache = answer(model, use_cache=True)
    assert torch.equal(with_cache, answer(model, use_cache=False))
    assert not torch.equal(with_cache, digital)  # it is a chip indeed
    # Not only the likeliest token: the logits of the last position, with and without.
    with torch.no_grad():
        past = model(TOKENS[:, :-1], use_cache=True).past_key_values
        last = model(TOKENS[:, -1:], past_key_values=past).logits[:, -1]
    torch.testing.assert_close(last, run(model)[:, -1], rtol=1e-4, atol=1e-4)


def test_noise_is_drawn_for_every_token_that_is_generated():
    model = build("llama")
    mho.convert(model, mho.override(NOISELESS, {"noise.output": 0.3}))
    texts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        texts.append(answer(model))
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])


@pytest.mark.parametrize("name", ["gpt2", "phi3", "gpt-neox"])
def test_a_fused_projection_is_its_parts_side_by_side(name):
    """Every column has a scale of its own, so columns may stand on one array or on several."""
    hardware = mho.Hardware(
        cell="pcm", dac={"bits": 8, "range": "per_token"}, noise={"output": 0.0}
    )
    path = PROJECTIONS[name][0]
    model = build(name)
    layer = next(m for n, m in model.named_modules() if n.endswith(path))
    transposed = type(layer).__name__ == "Conv1D"
    weight = (layer.weight.t() if transposed else layer.weight).detach().clone()
    bias = None if layer.bias is None else layer.bias.detach().clone()
    mho.convert(model, hardware)
    x = torch.randn(3, 5, weight.shape[1])
    parts = []
    for rows in torch.arange(len(weight)).chunk(3):
        part = torch.nn.Linear(weight.shape[1], len(rows), bias=bias is not None)
        part.weight.data = weight[rows].clone()
        if bias is not None:
            part.bias.data = bias[rows].clone()
        mho.convert(part, hardware)
        parts.append(part(x))
    torch.testing.assert_close(layer(x), torch.cat(parts, -1))


@pytest.mark.parametrize("name", ["llama, tied", "gpt2"])
def test_tied_weights_stay_tied_and_look_ups_digital(name):
    model = build(name)
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    mho.convert(model, NOISELESS)
    mho.program(model, seed=1)
    assert isinstance(head, Analog)
    assert not isinstance(table, Analog)
    assert head.weight is table.weight
    assert torch.equal(table(TOKENS), table.weight[TOKENS])
    model.zero_grad()
    model(TOKENS, labels=TOKENS).loss.backward()
    both = table.weight.grad.clone()
    model.zero_grad()
    hidden = model.base_model(TOKENS).last_hidden_state.detach()
    head(hidden).square().mean().backward()
    unseen = torch.ones(VOCABULARY, dtype=torch.bool)
    unseen[TOKENS.flatten()] = False
    # A token that is not in the text has a gradient from the head alone, one that is from both.
    assert both[unseen].abs().sum() > 0
    assert table.weight.grad[unseen].abs().sum() > 0


def test_rules_put_layers_on_different_hardware():
    model = build("llama")
    small = mho.override(NOISELESS, {"array.rows": 12, "dac.bits": 6})
    receipt = mho.convert(
        model, mho.Rules([("lm_head", None), ("mlp", small), ("self_attn", NOISELESS)])
    )
    assert receipt.digital["lm_head"] == "left digital by a rule"
    for site in sites(model):
        assert site.crossbar.hardware == (small if ".mlp." in site.name else NOISELESS)
    assert receipt.hardware == (NOISELESS, small)
    # 32 rows are 3 arrays of 12 or 2 of 20; 48 and 32 columns are 2 arrays of 24 each.
    arrays = {entry.name: entry.arrays for entry in receipt.entries if entry.analog}
    assert arrays["model.layers.0.mlp.up_proj"] == 6
    assert arrays["model.layers.1.self_attn.o_proj"] == 4


@pytest.mark.parametrize("name", ["llama, tied", "gpt2", "t5"])
def test_bfloat16_throughout(name, tmp_path):
    """Weights, activations and gradients in bfloat16; chips and ranges as exact as ever."""
    single = build(name)
    single.save_pretrained(tmp_path)
    half = type(single).from_pretrained(tmp_path, dtype=torch.bfloat16)
    wanted = run(single)
    rounding = (run(half).float() - wanted).norm()
    # Levels so fine that they hide nothing: then an analog product rounds its input and its output
    # where a digital one rounds its output, so that there is at most twice the rounding.
    for each in (single, half):
        mho.convert(each, mho.override(NOISELESS, {"dac.bits": 16, "adc.bits": 16}))
    assert run(half).dtype == torch.bfloat16
    assert (run(half).float() - run(single)).norm() < 2 * rounding
    mho.restore(half)
    mho.convert(half, STANDARD)
    batch = {"input_ids": TOKENS, "labels": TOKENS}
    mho.calibrate(half, [batch])
    mho.program(half, seed=2)
    half.train()
    half(**batch).loss.backward()
    for key, value in half.named_parameters():
        assert value.dtype == value.grad.dtype == torch.bfloat16, key
        assert value.grad.isfinite().all(), key
    for site in sites(half):
        buffers = {k: v.dtype for k, v in site.crossbar.named_buffers() if v.is_floating_point()}
        assert {d for k, d in buffers.items() if k != "seconds"} == {torch.float32}
    assert answer(half.eval()).shape[1] >= 13


def test_conversion_while_loading_is_conversion_after_loading(tmp_path):
    digital = build("llama, tied")
    digital.save_pretrained(tmp_path, max_shard_size="20KB")
    rules = mho.Rules([("mlp", STANDARD), ("*", NOISELESS)])
    config = mho.analog_config(rules, where=~mho.named("lm_head"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)
    receipt = mho.convert(digital, rules, where=~mho.named("lm_head"))
    assert [site.name.removesuffix(".weight") for site in sites(loaded)] == receipt.analog
    for model in (digital, loaded):
        mho.calibrate(model, [TOKENS])
        mho.at(mho.program(model, seed=5), "1 h")
    assert torch.equal(run(loaded), run(digital))
    assert (
        loaded.config.to_dict()["quantization_config"]
        == (digital.config.to_dict()["quantization_config"])
    )
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    # It is an ordinary model: it may be trained, cast and taken back.
    assert not loaded.is_quantized
    assert loaded.train().half().dtype == torch.float16
    mho.restore(loaded)
    assert not hasattr(loaded.config, "quantization_config")
