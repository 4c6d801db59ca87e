"""PEFT adapters beside analog layers: the base on arrays and frozen, the adapter digital."""

import copy
import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn

import mho
from chips import assert_same, chip
from mho.errors import CheckpointError, LifecycleError
from mho.nn import Analog, AnalogLinear, sites

from .language import NOISELESS, STANDARD, TOKENS, build, run

# PEFT 0.21 asks Transformers 5 for a property under its former name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is:FutureWarning")

TARGETS = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"]}


def lora(name="llama", **options):
    return LoraConfig(
        r=2, lora_alpha=4, target_modules=TARGETS[name], fan_in_fan_out=name == "gpt2", **options
    )


def base(name="llama", hardware=STANDARD, programmed=False):
    """A converted model, calibrated where it must be."""
    model = build(name)
    mho.convert(model, hardware)
    mho.calibrate(model, [TOKENS])
    return mho.program(model, seed=3) if programmed else model


def fill(model, seed, adapter="default"):
    """Weights as after training, for one adapter."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in model.named_parameters():
        if ".lora_" in key and f".{adapter}." in key:
            value.data = 0.3 * torch.randn(value.shape, generator=generator)
    return model


def frozen(model):
    return {k: v.detach().clone() for k, v in model.state_dict().items() if ".lora_" not in k}


def train(model, adaptation=None, steps=12, seed=0):
    """Losses of a few steps on one batch, by the parameters that are free."""
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.02)
    adapted = mho.adapt(model, adaptation, optimizer) if adaptation else None
    model.train()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(input_ids=TOKENS, labels=TOKENS).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if adapted:
        adapted.remove()
    model.eval()
    return losses


@pytest.mark.parametrize("programmed", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_a_new_adapter_changes_nothing(name, programmed):
    """B = 0: the same output to the last bit, with the noise of the base on."""
    model = base(name, programmed=programmed)
    before = run(model)
    adapted = get_peft_model(model, lora(name))
    assert all(isinstance(m.base_layer, Analog) for m in adapted.modules()
               if isinstance(m, LoraLayer))  # fmt: skip
    assert torch.equal(run(adapted), before)
    assert not torch.equal(run(fill(adapted, 1)), before)


@pytest.mark.parametrize("programmed", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_training_moves_the_adapter_and_not_one_bit_of_the_base(name, programmed):
    model = get_peft_model(base(name, programmed=programmed), lora(name))
    trainable, total = model.get_nb_trainable_parameters()
    assert 0 < trainable < 0.1 * total
    before = frozen(model)
    noise = mho.Adaptation(noise=mho.AdditiveNoise(std=0.03))
    losses = train(model, noise)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert_same(frozen(model), before)
    with_gradient = {key for key, value in model.named_parameters() if value.grad is not None}
    assert with_gradient == {key for key, _ in model.named_parameters() if ".lora_" in key}


def test_adapters_are_swapped_by_name():
    """Each task exactly as it was, with the noise of the same seed; without one, the base."""
    model = base(programmed=True)
    plain = run(model)
    adapted = get_peft_model(model, lora(), adapter_name="similarity")
    adapted.add_adapter("polarity", lora())
    outputs = {}
    for seed, name in enumerate(("similarity", "polarity")):
        fill(adapted, seed, name)
        adapted.set_adapter(name)
        outputs[name] = run(adapted)
    assert not torch.equal(*outputs.values())
    for name in ("similarity", "polarity", "similarity"):
        adapted.set_adapter(name)
        assert torch.equal(run(adapted), outputs[name])
    with adapted.disable_adapter():
        assert torch.equal(run(adapted), plain)
    assert torch.equal(run(adapted.unload()), plain)


def test_an_adapter_file_goes_to_another_copy_of_the_base(tmp_path):
    model = get_peft_model(base(programmed=True), lora())
    train(model, steps=3)
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.glob("adapter_*")} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    loaded = PeftModel.from_pretrained(base(programmed=True), tmp_path)
    assert torch.equal(run(loaded), run(model))


# Merging ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_a_merged_adapter_is_on_the_arrays(name, tmp_path):
    """Arrays with neither noise nor converters: W x + B A x = (W + B A) x."""
    model = build(name)
    mho.convert(model, mho.Hardware(cell="pcm", array={"rows": 20}))
    adapted = fill(get_peft_model(model, lora(name)), 1)
    wanted = run(adapted)
    merged = adapted.merge_and_unload()
    assert merged is model
    assert sum(isinstance(m, Analog) for m in merged.modules()) == len(list(sites(merged)))
    torch.testing.assert_close(run(merged), wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(run(build(name)), wanted, atol=0.1)
    merged.save_pretrained(tmp_path)
    assert torch.equal(run(type(merged).from_pretrained(tmp_path)), run(merged))
    mho.program(merged, seed=2)
    on_cells = run(merged)
    assert (on_cells - wanted).norm() < (on_cells - run(build(name))).norm()


def test_what_merging_changes_is_what_the_adapter_sees():
    """The arrays get quantized inputs Q(x), a digital adapter all of x.

    merged(x) = unmerged(x) - B A (x - Q(x)) for DACs of 4 bits and a fixed range.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 9))
    levels = {"bits": 4, "range": {"kind": "fixed", "value": 2.0}}
    mho.convert(model, mho.Hardware(dac=levels))
    adapted = fill(get_peft_model(model, LoraConfig(r=3, lora_alpha=3, target_modules=["0"])), 1)
    layer = adapted.base_model.model[0]
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    x = 4 * torch.rand(6, 12) - 2
    quantized = (x * 7 / 2).round() * 2 / 7  # 15 levels, 7 on each side of zero
    with torch.no_grad():
        unmerged = adapted(x)
        merged = adapted.merge_and_unload()(x)
        lost = (x - quantized) @ product.T
    assert lost.norm() > 0.01 * merged.norm()
    torch.testing.assert_close(merged, unmerged - lost)


MERGES = {
    "merge_and_unload": lambda model: model.merge_and_unload(),
    "safe merge": lambda model: model.merge_and_unload(safe_merge=True),
    "merge_adapter": lambda model: (model.merge_adapter(), model)[1],
}


@pytest.mark.parametrize("way", MERGES)
@pytest.mark.parametrize("name", TARGETS)
def test_cells_do_not_follow_a_merge_and_say_so(name, way):
    model = base(name, NOISELESS, programmed=True)
    adapted = fill(get_peft_model(model, lora(name)), 1)
    run(adapted)
    merged = MERGES[way](adapted)
    with pytest.raises(LifecycleError, match=r"frozen weight is not the one.*mho\.program"):
        run(merged)
    mho.program(merged, seed=4)
    if way == "merge_adapter":
        wanted = run(merged)
        adapted.unmerge_adapter()  # now the cells hold what the adapter would add once more
        with pytest.raises(LifecycleError, match="was an adapter merged into it"):
            run(adapted)
    else:
        fresh = copy.deepcopy(merged)
        mho.program(mho.erase(fresh), seed=4)
        wanted = run(fresh)
        assert torch.equal(run(merged), wanted)


@pytest.mark.parametrize("scaling", ["column", "tile"])
def test_a_merge_is_noticed_for_every_scaling_of_columns(scaling):
    hardware = mho.override(NOISELESS, {"mapping.scaling": scaling})
    model = get_peft_model(base(hardware=hardware, programmed=True), lora())
    merged = fill(model, 1).merge_and_unload()
    with pytest.raises(LifecycleError, match="frozen weight"):
        run(merged)


def test_a_merge_after_loading_is_noticed(tmp_path):
    base(programmed=True).save_pretrained(tmp_path)
    loaded = type(build("llama")).from_pretrained(tmp_path)
    merged = fill(get_peft_model(loaded, lora()), 1).merge_and_unload()
    with pytest.raises(LifecycleError, match="frozen weight"):
        run(merged)


def test_frozen_weights_that_nobody_changed_are_left_alone():
    """Neither casts of the model nor the life of its chip are taken for a merge."""
    model = base(programmed=True).requires_grad_(False)
    for cast in (torch.bfloat16, torch.float16, torch.float32):
        assert run(model.to(cast)).isfinite().all()
    mho.program(mho.at(model, "1 y"), seed=5)
    assert run(model).isfinite().all()
    zeros = nn.Linear(6, 4).requires_grad_(False)
    zeros.weight.data[1:] = 0
    mho.convert(zeros, NOISELESS)
    mho.program(zeros)
    assert zeros(torch.randn(2, 6)).isfinite().all()
    # Weights that are trained while cells stay are the owner's business, as before.
    trained = mho.program(base(), seed=1)
    with torch.no_grad():
        trained.lm_head.weight += 1
    assert run(trained).isfinite().all()


class Eyes(nn.Module):
    """A convolution and torch's attention."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        y = self.conv(x).flatten(2).transpose(1, 2)
        return self.attention(y, y, y, need_weights=False)[0]


def eyes(target, programmed):
    torch.manual_seed(0)
    model = Eyes().eval()
    mho.convert(model, mho.Hardware(cell="pcm", dac={"bits": 8, "range": "per_token"}))
    if programmed:
        mho.program(model, seed=1)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=[target]))
    return adapted, torch.randn(2, 1, 3, 3)


@pytest.mark.parametrize("programmed", [False, True])
def test_adapters_of_convolutions_are_digital(programmed):
    adapted, x = eyes("conv", programmed)
    assert type(adapted.base_model.model.conv.lora_A["default"]) is nn.Conv2d
    with torch.no_grad(), adapted.disable_adapter():
        plain = adapted(x)
    with torch.no_grad():
        assert torch.equal(adapted(x), plain)
        fill(adapted, 1)
        assert not torch.allclose(adapted(x), plain, atol=0.01)
    layer = adapted.base_model.model.conv
    with torch.no_grad():
        delta = layer.lora_B["default"](layer.lora_A["default"](x)) * layer.scaling["default"]
        torch.testing.assert_close(layer(x), layer.base_layer(x) + delta)


def test_adapters_that_merge_themselves_are_not_lost_on_programmed_attention():
    """PEFT adds them to the weights of nn.MultiheadAttention for the time of each forward."""
    adapted, x = eyes("attention", programmed=False)
    plain = adapted(x)
    assert not torch.allclose(fill(adapted, 1)(x), plain, atol=0.01)
    adapted, x = eyes("attention", programmed=True)
    assert adapted(x).isfinite().all()
    with pytest.raises(LifecycleError, match="not the one that was programmed"):
        fill(adapted, 1)(x)


# Adapters of another base -------------------------------------------------------------------------


def widen(folder):
    """Turn the adapter's file into one of a base with 48 features."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    state = {
        k: torch.cat((v, v[:, :16]), 1) if "lora_A" in k else v for k, v in load_file(file).items()
    }
    save_file(state, file)


def deepen(folder):
    """Turn the adapter's file into one of a base with a third block."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    state = load_file(file)
    state |= {k.replace(".layers.1.", ".layers.2."): v.clone() for k, v in state.items()}
    save_file(state, file)


FOREIGN = {
    "shape": (widen, r"other shapes: \(2, 48\) in the adapter, \(2, 32\) here"),
    "depth": (deepen, r"layers\.2\.self_attn.*no such layer"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_an_adapter_of_another_base_is_refused_and_nothing_lost(kind, tmp_path):
    change, message = FOREIGN[kind]
    model = fill(get_peft_model(base(programmed=True), lora(), adapter_name="own"), 1, "own")
    wanted, before = run(model), copy.deepcopy(model.state_dict())
    model.save_pretrained(tmp_path)
    change(tmp_path / "own")
    with pytest.raises(CheckpointError, match=message):
        model.load_adapter(tmp_path / "own", "other")
    after = model.state_dict()
    assert_same({key: after[key] for key in before}, before)
    assert torch.equal(run(model), wanted)
    model.delete_adapter("other")
    assert model.state_dict().keys() == before.keys()
    # A bare base: its weights, its chip and what it computes stay as they were as well.
    bare = base(programmed=True)
    plain, kept = run(bare), chip(bare)
    with pytest.raises(CheckpointError, match=message):
        PeftModel.from_pretrained(bare, tmp_path / "own")
    assert torch.equal(run(bare), plain)
    assert_same({key.replace(".base_layer", ""): v for key, v in chip(bare).items()}, kept)


# Another converter --------------------------------------------------------------------------------


def test_adapters_stay_digital_when_the_base_is_converted_anew():
    adapted = fill(get_peft_model(base(), lora()), 1)
    weights = {key: value.clone() for key, value in adapted.state_dict().items() if "lora" in key}
    mho.restore(adapted)
    assert not any(isinstance(m, Analog) for m in adapted.modules())
    other = mho.override(STANDARD, {"dac.bits": 6, "adc.bits": 6})
    receipt = mho.convert(adapted, other)
    reasons = {reason for name, reason in receipt.digital.items() if "lora_" in name}
    assert reasons == {"belongs to an adapter, which is digital"}
    for layer in adapted.modules():
        if isinstance(layer, LoraLayer):
            assert type(layer.base_layer) is AnalogLinear
            assert type(layer.lora_A["default"]) is nn.Linear
    now = adapted.state_dict()
    assert_same({key: now[key] for key in weights}, weights)
    # The chip is that of the same layers without adapters.
    plain = base(hardware=other)
    mho.calibrate(adapted, [TOKENS])
    renamed = {
        key.removeprefix("base_model.model.").replace(".base_layer", ""): value
        for key, value in chip(mho.program(adapted, seed=8)).items()
    }
    alone = chip(mho.program(plain, seed=8))
    assert renamed.keys() == alone.keys()
    for key in ("scale", "programmed", "seed"):
        same = {name for name in alone if name.endswith(f".{key}")}
        assert_same({n: renamed[n] for n in same}, {n: alone[n] for n in same})


def test_a_converted_model_with_adapters_is_saved_as_itself_after_unloading(tmp_path):
    model = base()
    adapted = get_peft_model(model, lora())
    names = list(json.loads(model.config.to_json_string())["quantization_config"]["layers"])
    assert "model.layers.0.self_attn.q_proj" in names
    assert not any("base_layer" in name or "lora" in name for name in names)
    plain = adapted.unload()
    plain.save_pretrained(tmp_path)
    assert torch.equal(run(type(plain).from_pretrained(tmp_path)), run(plain))
