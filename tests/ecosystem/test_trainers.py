"""Hardware-aware training in the loops of others: Trainer, Accelerate and Lightning."""

import copy

import lightning
import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments, set_seed

import mho
from chips import assert_same
from mho.nn import sites

from .language import VOCABULARY, build, run

LEARNED = mho.Hardware(
    cell="pcm",
    array={"rows": 20},
    dac={"bits": 8, "range": "learned"},
    adc={"bits": 8, "bound": 10.0},
)
"""No noise of its own, so that whatever noise there is in training is the adaptation's."""

ADAPTATION = mho.Adaptation(
    noise=mho.AdditiveNoise(std=0.03),
    clip={"kind": "column", "sigma": 2.5},
    range_decay={"decay": 0.01, "keep": 0.95},
    schedule={"kind": "ramp", "steps": 6},
)
STEPS = 8


class Text(Dataset):
    """Sequences in which each token follows from the one before."""

    def __init__(self):
        first = torch.randint(3, VOCABULARY, (32, 1), generator=torch.Generator().manual_seed(0))
        self.tokens = 3 + (first + 5 * torch.arange(8)) % (VOCABULARY - 3)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


def student(seed=0):
    """A converted and calibrated model, and an optimizer that is adapted to it."""
    model = build("llama, tied", seed)
    mho.convert(model, LEARNED)
    mho.calibrate(model, [Text().tokens[:16]], method="moving_std")
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    mho.adapt(model, ADAPTATION, optimizer)
    return model, optimizer


def state(model):
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def assert_clipped(model):
    """No weight of a column is above 2.5 of the standard deviations that the column has."""
    for site in sites(model):
        for part in site.matrix.detach().split(list(site.crossbar.geometry.partition.rows), 1):
            largest, std = part.abs().amax(1), part.std(1)
            assert (largest <= 2.5 * std * (1 + 1e-4)).all(), site.name


def assert_learned(model, before):
    """Noise was on, every weight and range moved, ranges stayed positive, weights are clipped."""
    assert model.training
    batch = {"input_ids": Text().tokens[:4], "labels": Text().tokens[:4]}
    with torch.no_grad():
        assert model(**batch).loss != model(**batch).loss
    for key, value in model.named_parameters():
        assert not torch.equal(value, before[key]), key
        assert value.isfinite().all(), key
        if key.endswith("input_range"):
            assert (value > 0).all(), key


# Trainer ------------------------------------------------------------------------------------------


def arguments(folder, **options):
    return TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=4,
        gradient_accumulation_steps=2, bf16=True, activation_checkpointing=True,
        activation_checkpointing_kwargs={"use_reentrant": False}, learning_rate=5e-3,
        logging_steps=1, save_steps=4, seed=3, use_cpu=True, report_to=[], disable_tqdm=True,
        **options,
    )  # fmt: skip


def trained_by_trainer(folder, resume=None, **options):
    model, optimizer = student()
    before = state(model)
    trainer = Trainer(
        model, arguments(folder, **options), train_dataset=Text(), optimizers=(optimizer, None)
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer, model, before


def test_trainer(tmp_path):
    """Mixed precision, accumulation, checkpointing, a schedule of the rate, and clipping."""
    trainer, model, before = trained_by_trainer(tmp_path / "whole")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == STEPS
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert_learned(model, before)
    assert_clipped(model)
    assert trainer.optimizer.param_groups[0]["adaptation_step"] == STEPS
    # Resumed halfway, knowing nothing but the checkpoint: the same to the last bit.
    checkpoint = str(tmp_path / "whole" / "checkpoint-4")
    resumed, again, _ = trained_by_trainer(tmp_path / "half", checkpoint)
    assert resumed.state.global_step == STEPS
    assert_same(state(again), state(model))
    # What the trainer saved is a converted model, and loads as one.
    loaded = type(model).from_pretrained(tmp_path / "whole" / f"checkpoint-{STEPS}")
    assert_same(state(loaded), state(model))
    plain = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # without autocast
    assert torch.equal(run(loaded), run(plain.eval()))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is:FutureWarning")
def test_trainer_with_an_adapter_that_is_merged_afterwards(tmp_path):
    """The adapter learns around a noisy base that stays as it is; merged, it goes on the arrays."""
    model = build("llama")
    mho.convert(model, LEARNED, where=~mho.named("lm_head"))
    mho.calibrate(model, [Text().tokens[:16]], method="moving_std")
    adapted = get_peft_model(
        model, LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj"])
    )
    before = state(adapted)
    free = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(free, 2e-2)
    mho.adapt(adapted, mho.Adaptation(noise=mho.AdditiveNoise(std=0.03)), optimizer)
    trainer = Trainer(
        adapted, arguments(tmp_path), train_dataset=Text(), optimizers=(optimizer, None)
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    for key, value in adapted.state_dict().items():
        assert torch.equal(value, before[key]) != (".lora_" in key), key
    wanted = {
        key: layer.get_delta_weight("default").detach() + layer.base_layer.weight.detach()
        for key, layer in adapted.base_model.model.named_modules()
        if hasattr(layer, "lora_A")
    }
    merged = adapted.merge_and_unload()
    for key, weight in wanted.items():
        assert torch.equal(merged.get_submodule(key).weight, weight)
    assert {site.name for site in sites(merged)} == {site.name for site in sites(model)}
    mho.program(merged, seed=1)
    for site in sites(merged):
        layer = site.name.removesuffix(".weight")
        if layer in wanted:
            columns = site.crossbar.column_scale(wanted[layer])
            assert torch.equal(site.crossbar.scale, columns)  # the merged weights were written


# Accelerate ---------------------------------------------------------------------------------------


def test_accelerate(tmp_path):
    model, optimizer = student()
    before = state(model)
    set_seed(5)
    accelerator = Accelerator(
        cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2, project_dir=tmp_path
    )
    loader = DataLoader(Text(), batch_size=4)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    model, optimizer, loader, rate = accelerator.prepare(model, optimizer, loader, rate)
    losses, steps = [], 0

    def epoch():
        nonlocal steps
        for batch in loader:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                rate.step()
                optimizer.zero_grad()
                steps += accelerator.sync_gradients
                losses.append(loss.item())

    model.train()
    epoch()
    accelerator.save_state(tmp_path / "middle")
    epoch()
    assert steps == 8
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert optimizer.param_groups[0]["adaptation_step"] == steps  # not one per micro-batch
    assert_learned(model, before)
    assert_clipped(model)
    wanted = copy.deepcopy(state(model))
    accelerator.load_state(tmp_path / "middle")
    assert optimizer.param_groups[0]["adaptation_step"] == 4
    epoch()
    assert_same(state(model), wanted)


# Lightning ----------------------------------------------------------------------------------------


class Lit(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = build("llama, tied").train()  # Lightning leaves modes as they are
        mho.convert(self.model, LEARNED)
        mho.calibrate(self.model, [Text().tokens[:16]], method="moving_std")
        self.losses = []

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.model.parameters(), 5e-3)
        # Lightning fills in a checkpoint before it asks for optimizers, so the weights are clipped
        # once more: with a fixed bound that changes nothing at all.
        fixed = ADAPTATION.with_fields(clip={"kind": "fixed", "value": 0.45})
        mho.adapt(self.model, fixed, optimizer)
        return optimizer

    def training_step(self, batch, index):
        # Lightning's checkpoints do not hold the state of chance.
        torch.manual_seed(100 * self.current_epoch + index)
        loss = self.model(**batch).loss
        self.losses.append(loss.item())
        return loss


def fit(folder, epochs, checkpoint=None):
    set_seed(6)
    module = Lit()
    before = state(module.model)
    trainer = lightning.Trainer(
        accelerator="cpu", precision="bf16-mixed", accumulate_grad_batches=2, max_epochs=epochs,
        gradient_clip_val=1.0, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(Text(), batch_size=4), ckpt_path=checkpoint)
    return trainer, module, before


def test_lightning(tmp_path):
    trainer, whole, before = fit(tmp_path, 2)
    assert trainer.global_step == STEPS
    assert sum(whole.losses[-4:]) < 0.9 * sum(whole.losses[:4])
    assert_learned(whole.model, before)
    assert max(site.weight.abs().max() for site in sites(whole.model)) == torch.tensor(0.45)
    assert trainer.optimizers[0].param_groups[0]["adaptation_step"] == STEPS
    first, _, _ = fit(tmp_path, 1)
    file = tmp_path / "first.ckpt"
    first.save_checkpoint(file)
    _, resumed, _ = fit(tmp_path, 2, file)
    assert len(resumed.losses) == STEPS
    assert_same(state(resumed), state(whole))
