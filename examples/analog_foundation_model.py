"""Make a language model stand analog hardware without the data that it was trained on.

The recipe of analog foundation models (Buechel et al., NeurIPS 2025, arXiv 2505.09663): the model
writes its own training data; a copy of it learns to answer as it does, under weight noise, with
weights clipped after every step, static 8-bit inputs of learned ranges, and 8-bit outputs. The
result is compared with the model itself on chips with the programming error of `afm-2025`, and
rounded to 4 bits for digital hardware.

    python examples/analog_foundation_model.py                    # characters, 15 minutes on a core
    python examples/analog_foundation_model.py --ablation         # with and without clip and noise
    python examples/analog_foundation_model.py --model smollm2    # 135 M parameters: hours

All that takes long is kept in a folder, so a run that was interrupted goes on where it stopped.
"""

import argparse
import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _language_model import (
    Task,
    characters,
    cross_entropy,
    generate,
    next_token_loss,
    random_windows,
    smollm2,
)  # fmt: skip
from _resume import Folder, train
from torch import nn

import mho

MODELS = {"characters": characters, "smollm2": smollm2}
DEFAULTS: dict[str, dict[str, Any]] = {
    "characters": {
        "length": 64, "held_out": 600, "teacher_steps": 1500, "sequences": 8192, "per_shard": 512,
        "top_k": 0, "clip": 1.75, "batch": 32, "steps": 2400, "rate": 1e-3, "range_rate": 3e-3,
    },
    "smollm2": {
        "length": 256, "held_out": 64, "teacher_steps": 0, "sequences": 4096, "per_shard": 16,
        "top_k": 50, "clip": 2.5, "batch": 4, "steps": 1000, "rate": 1e-5, "range_rate": 1e-5,
    },
}  # fmt: skip
HELP = {
    "clip": "standard deviations of a column that are kept; ",
    "rate": "learning rate of the student; ",
    "range_rate": "learning rate of its input ranges; ",
}
FREE = ("every", "instances", "held_out", "ablation", "folder")  # may change between runs


def options() -> argparse.Namespace:
    """Parse the command line; what depends on the model is filled in from `DEFAULTS`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--model", choices=MODELS, default="characters", help="default: %(default)s")
    add("--folder", type=Path, help="where to keep everything (default: .data/afm-MODEL)")
    add("--hardware", default="afm-training-2025", help="preset or YAML file (%(default)s)")
    add("--set", nargs="*", default=[], help="changes of the hardware, such as adc.bound=12")
    add("--noise", type=float, default=0.03, help="weight noise, share of the column's maximum")
    add("--ablation", action="store_true", help="train also without noise, without clip, and both")
    add("--instances", type=int, default=10, help="chips to program (default: %(default)s)")
    add("--every", type=int, default=100, help="steps between checkpoints (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of everything (default: %(default)s)")
    for name, value in DEFAULTS["characters"].items():
        text = f"{HELP.get(name, '')}default: {value}, smollm2: {DEFAULTS['smollm2'][name]}"
        add(f"--{name.replace('_', '-')}", type=type(value), help=text)
    args = parser.parse_args()
    for name, value in DEFAULTS[args.model].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    data = Path(__file__).resolve().parents[1] / ".data"
    args.folder = args.folder or data / f"afm-{args.model}"
    return args


def trained_teacher(task: Task, folder: Folder, args: argparse.Namespace) -> nn.Module:
    """Train the teacher on text, if it is not pretrained."""
    teacher = task.teacher
    if args.teacher_steps:

        def loss(step: int) -> torch.Tensor:
            batch = random_windows(task.train, args.length, task.bos, 32, step)
            return next_token_loss(teacher, batch)

        optimizer = torch.optim.AdamW(teacher.parameters(), lr=3e-3, weight_decay=0.01)
        steps, every = args.teacher_steps, args.every
        train(folder, "teacher", teacher, optimizer, loss, steps=steps, every=every)
    return teacher.eval()


def on_hardware(
    teacher: nn.Module, task: Task, data: torch.Tensor, args: argparse.Namespace
) -> nn.Module:
    """Return a copy of the teacher on the hardware, its ranges set to what its own text needs."""
    model = copy.deepcopy(teacher)
    mho.convert(model, mho.override(mho.load(args.hardware), args.set), where=task.where)
    batches = [part[:, :-1] for part in data[: 16 * args.batch].split(args.batch)]
    mho.calibrate(model, batches, method="quantile", quantile=0.9999)
    return model


def distilled(
    name: str,
    student: nn.Module,
    teacher: nn.Module,
    data: torch.Tensor,
    adaptation: mho.Adaptation,
    folder: Folder,
    args: argparse.Namespace,
) -> nn.Module:
    """Let a converted copy of the teacher learn to answer as the teacher does, on its text."""
    named = list(student.named_parameters())
    ranges = [p for key, p in named if key.endswith("input_range")]
    weights = [p for key, p in named if not key.endswith("input_range")]
    # Of the published code (config.yaml of Llama): Adam(0.9, 0.98, 1e-6), weight decay 0.01. Ranges
    # have a decay of their own, and in a run as short as ours need a higher rate than the weights.
    groups = [
        {"params": weights},
        {"params": ranges, "lr": args.range_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=args.rate, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01
    )
    adapted = mho.adapt(student, adaptation, optimizer, teacher=teacher)

    def loss(step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        batch = torch.randint(len(data), (args.batch,), generator=generator)
        return adapted.loss(student(data[batch, :-1], use_cache=False))

    train(folder, name, student, optimizer, loss, steps=args.steps, every=args.every)
    adapted.remove()
    return student


def adaptation(noise: float | None, clip: float | None) -> mho.Adaptation:
    """The recipe's values; noise and clip may be left out."""
    return mho.Adaptation(
        noise=None if noise is None else mho.AdditiveNoise(std=noise, relative_to="column"),
        clip=None if clip is None else {"kind": "column", "sigma": clip},  # pyright: ignore
        range_decay={"decay": 0.01, "keep": 0.95},  # pyright: ignore
        distillation={"temperature": 1.0, "share": 1.0},  # pyright: ignore
    )


class Table:
    """Cross-entropies on held-out text, compared with the digital teacher's."""

    def __init__(self, task: Task, args: argparse.Namespace) -> None:
        self.loss = partial(cross_entropy, tokens=task.held_out[: args.held_out])
        self.args, self.teacher = args, math.nan
        print(f"\n{'held-out text':32} nats/token        perplexity   lost nats")

    def add(self, what: str, model: nn.Module, *, chips: bool = False) -> tuple[float, float]:
        """Print one line; return what is lost against the digital teacher, and its error."""
        losses = torch.tensor([self.loss(model)]).double()
        if chips:
            result = mho.evaluate(
                model, lambda m: -self.loss(m), times=["0 s"], compensation="none",
                instances=self.args.instances, seed=self.args.seed,
            )  # fmt: skip
            losses = -torch.from_numpy(result.scores).flatten()
        if math.isnan(self.teacher):
            self.teacher = losses.item()
        mean, n = losses.mean().item(), len(losses)
        error = losses.std().item() / math.sqrt(n) if n > 1 else 0.0
        print(f"{what:32} {mean:.4f} +- {error:.4f} {math.exp(mean):10.3f} "
              f"{mean - self.teacher:+11.4f}", flush=True)  # fmt: skip
        return mean - self.teacher, error


def main() -> None:
    """Teacher, data, student; then everything on chips and in 4 bits."""
    args = options()
    settings = {k: v for k, v in vars(args).items() if k not in FREE}
    folder = Folder(args.folder, settings)
    torch.manual_seed(args.seed)
    task = MODELS[args.model](args.length)
    teacher = trained_teacher(task, folder, args)
    write = partial(generate, teacher, task.bos, args.per_shard, args.length, top_k=args.top_k)
    shards = -(-args.sequences // args.per_shard)
    data = folder.shards("data", shards, lambda i: write(seed=args.seed + i))

    recipes = {"student": adaptation(args.noise, args.clip)}
    if args.ablation:
        recipes["student, clip only"] = adaptation(None, args.clip)
        recipes["student, noise only"] = adaptation(args.noise, None)
        recipes["student, neither"] = adaptation(None, None)
    students = {}
    for name, recipe in recipes.items():
        torch.manual_seed(args.seed)
        fresh = on_hardware(teacher, task, data, args)
        students[name] = distilled(name, fresh, teacher, data, recipe, folder, args)

    table = Table(task, args)
    table.add("teacher, digital", teacher)
    direct = on_hardware(teacher, task, data, args)
    table.add("teacher on hardware", direct)
    unadapted, error = table.add("teacher on chips", direct, chips=True)
    verdicts = []
    for name, student in students.items():
        clean, _ = table.add(f"{name} on hardware", student)
        lost, own = table.add(f"{name} on chips", student, chips=True)
        ratio = lost / unadapted
        of_ratio = math.hypot(own / unadapted, ratio * error / unadapted)
        verdicts.append(
            f"{name}: perplexity {math.exp(clean) - 1:+.1%} without chip noise; on chips it loses "
            f"{ratio:.1%} +- {of_ratio:.1%} of what the teacher loses"
        )
    rounded = copy.deepcopy(teacher)
    mho.quantize(rounded, bits=4, where=task.where)
    table.add("teacher, 4 bits", rounded)
    for name, student in students.items():
        mho.quantize(student, bits=4)
        table.add(f"{name}, 4 bits", student)
        mho.save_quantized(student, folder.path / f"{name}-4bit.safetensors", bits=4)
    print("\n" + "\n".join(verdicts))


if __name__ == "__main__":
    main()
