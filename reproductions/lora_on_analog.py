"""Can digital adapters on a frozen analog base do what full hardware-aware training does?

The claims (Li et al., Neuromorph. Comput. Eng. 6:014011, 2026, arXiv 2411.17367): low-rank adapters
that are trained through the noisy forward pass of a frozen analog network come within about a point
of full hardware-aware training with a fifteenth of the trainables (MobileBERT, SQuAD F1 at ten
years: 85.36 against 85.14); and when the converters change from 8 to 6 bits, training the adapters
alone brings back most of what is lost (60.81 to 74.23).

The network is a small vision transformer on Fashion-MNIST, all its linear layers on arrays; rank
and scaling are the paper's (8 would be more than a tenth here, so 4; alpha is 4 r).

    python reproductions/lora_on_analog.py --quick
"""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from _common import Mean, Report, new_axes, options
from _examples import fashion
from _small_nets import Images, load
from _transformer import pretrained, train_on
from torch import nn

import mho

RANK = 4
NOISE = mho.Adaptation(noise=mho.AdditiveNoise(std=0.067, relative_to="column"))  # as in the paper
TIMES = ("1 h", "10 y")
LAYERS = ["enter", "query", "key", "value", "out", "up", "down", "head"]
BITS = (6, 4)
WAYS = [
    "direct",
    "full",
    "adapters",
    *(f"{w}, {b} bits" for b in BITS for w in ("kept", "retrained")),
]
RATE = 2e-3  # of the adapters; full training has a quarter of it, as in the paper


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    chips: int
    images: int
    tests: int
    pretraining: int
    steps: int


SIZES = {
    "full": Size(3, 2, 20_000, 2000, 2000, 400),
    "quick": Size(2, 2, 10_000, 500, 400, 60),
    "smoke": Size(2, 1, 256, 100, 3, 2),
}


def on_hardware(model: nn.Module, images: Images, bits: int) -> nn.Module:
    """Put a model, with or without adapters, on arrays with such converters, and calibrate."""
    changes = {"dac.bits": bits, "adc.bits": bits}
    if any(True for _ in mho.sites(model)):
        mho.restore(model)
    mho.convert(model, mho.override(mho.load("standard-hwa-2023"), changes))
    mho.calibrate(model, list(images[0][:1000].split(250)))
    return model


def aware(model: nn.Module, images: Images, steps: int, rate: float, seed: int) -> nn.Module:
    """Train what may be trained through the noisy forward pass."""
    torch.manual_seed(seed)
    free = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(free, lr=rate)
    adapted = mho.adapt(model, NOISE, optimizer)
    train_on(model, images, steps, optimizer, seed)
    adapted.remove()
    return model


def with_adapters(model: nn.Module) -> Any:
    """Add an adapter to every linear layer, and freeze all else."""
    from peft import LoraConfig, get_peft_model

    layers = LoraConfig(r=RANK, lora_alpha=4 * RANK, lora_dropout=0.1, target_modules=LAYERS)
    return get_peft_model(model, layers)


def kept(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of everything that does not belong to adapters."""
    state = model.state_dict()
    return {key: value.clone() for key, value in state.items() if ".lora_" not in key}


def measure_run(size: Size, run: int) -> tuple[np.ndarray, float, bool]:
    """Accuracy (ways, digital and times), the trainable share, and whether the base stayed."""
    images, tests = load(size.images, size.tests)
    base = pretrained(images, size.pretraining, run)
    score = partial(fashion.accuracy, x=tests[0], y=tests[1])
    rows: list[list[float]] = []

    def add(model: nn.Module) -> None:
        result = mho.evaluate(
            model, score, times=TIMES, instances=size.chips, seed=run * size.chips
        )
        rows.append([result.digital, *result.mean])
        print(f"run {run + 1} of {size.runs}, {WAYS[len(rows) - 1]}: {np.round(rows[-1], 4)}")

    add(on_hardware(copy.deepcopy(base), images, 8))
    full = on_hardware(copy.deepcopy(base), images, 8)
    add(aware(full, images, size.steps, RATE / 4, run))
    model = with_adapters(on_hardware(copy.deepcopy(base), images, 8))
    trainable, total = model.get_nb_trainable_parameters()
    before = kept(model)
    add(aware(model, images, size.steps, RATE, run))
    stayed = all(torch.equal(before[key], value) for key, value in kept(model).items())
    for bits in BITS:
        add(on_hardware(model, images, bits))
        retrained = on_hardware(copy.deepcopy(model), images, bits)
        add(aware(retrained, images, size.steps, RATE, run))
    return np.array(rows), trainable / total, stayed


def draw(found: np.ndarray) -> object:
    """A bar for each way and time."""
    figure, (axes,) = new_axes(width=6.4, height=3.4)
    labels = ("digital", *TIMES)
    for k, label in enumerate(labels):
        points = [Mean.of(column) for column in found[:, :, k].T]
        y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
        x = np.arange(len(WAYS)) + 0.27 * (k - 1)
        color = ("0.75", "C0", "C3")[k]
        axes.bar(x, y, 0.25, yerr=2 * np.array(errors), color=color, label=label)
    axes.set_ylim(max(0, 100 * found.min() - 5), 100 * found.max() + 4)
    axes.set_xticks(range(len(WAYS)), [way.replace(", ", ",\n") for way in WAYS], fontsize="small")
    axes.set_ylabel("accuracy, % (bars: 2 s.e.)")
    axes.legend(frameon=False, fontsize="small", ncols=3)
    return figure


def report(found: np.ndarray, share: float, stayed: bool) -> list[Report]:
    """Compare adapters with full training, and ask what they bring back."""
    late = found[:, :, -1]  # (runs, ways) at ten years
    direct, full, adapters = late[:, :3].T
    gain, gap = Mean.of(adapters - direct), Mean.of(adapters - full)
    base = "the base did not move" if stayed else "THE BASE MOVED"
    ours = (
        f"{share:.1%} trainable, {base}; at 10 y direct {100 * direct.mean():.2f} %, adapters"
        f" minus direct {gain.percent()}, adapters minus full training {gap.percent()}"
    )
    near = gap.above(-0.02)
    fits = stayed and share < 0.1 and near
    verdict = "reproduced" if fits and gain.above() else "in part" if fits or gain.above() else "no"
    claim = "adapters on a frozen analog base come close to full hardware-aware training"
    rows = [Report("lora", claim, ours, verdict, draw(found))]
    parts, seen = [], []
    for k, bits in enumerate(BITS):
        lost = Mean.of(adapters - late[:, 3 + 2 * k])
        back = Mean.of(late[:, 4 + 2 * k] - late[:, 3 + 2 * k])
        parts.append(f"{bits} bits lose {lost.percent()}, retraining brings {back.percent()} back")
        half = Mean.of(late[:, 4 + 2 * k] - 0.5 * (adapters + late[:, 3 + 2 * k]))
        seen.append(half.above() if lost.above() else None)
    verdict = "; ".join(
        f"{bits} bits: " + {True: "reproduced", False: "not seen", None: "no loss to bring back"}[s]
        for bits, s in zip(BITS, seen, strict=True)
    )
    claim = "retraining the adapters alone recovers from converters of fewer bits"
    return [*rows, Report("lora-bits", claim, "; ".join(parts), verdict)]


def main() -> None:
    """Train, change the converters, and report."""
    args = options(__doc__)
    size = SIZES[args.size]
    runs = [measure_run(size, run) for run in range(size.runs)]
    found = np.array([rows for rows, _, _ in runs])
    for row in report(found, runs[0][1], all(stayed for _, _, stayed in runs)):
        row.publish(args.size)


if __name__ == "__main__":
    main()
