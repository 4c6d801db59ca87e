"""Does every algorithm train a perceptron on its arrays, and where does plain SGD fail?

A perceptron 784 - 256 - 128 - 10 with tanh learns Fashion-MNIST on arrays of published devices,
with the converters and the noise of their presets in every forward and backward pass. Controls are
the same network, digital, and ideal devices behind the same converters (`Exact`). Training is
short, 200 batches of 64 out of 10 000 images, the same for all, so accuracies compare algorithms
and are not the best that each can reach.

The claim of the second row (Wu et al., NeurIPS 2025, arXiv 2502.06309, on MNIST): on devices whose
steps fall as a power of the way to the bound, with bounds +-0.6, SGD by pulses stays below 15 %
while residual learning trains as well as on other devices.

    python reproductions/perceptron.py --quick
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from _common import Mean, Report, new_axes, options
from _examples import fashion
from torch import Tensor, nn
from torch.nn import functional as F

import mho
from mho.training import Algorithm

BATCH = 64
FINE, COARSE = "reram-sb-2018", "reram-om-2022"  # about 1000 and 20 states
ZERO = {"cell.device.subtract_symmetry_point": True}
RARELY = {"cell.device.refresh_every": 50}
BUFFERED: dict[str, Any] = {"columns": 196, "fast_learning_rate": 0.5}


@dataclass(frozen=True)
class Way:
    """An algorithm on a device.

    Attributes:
        name: for the table.
        preset: the hardware; None is a digital network.
        algorithm: what trains it.
        rate: learning rate.
        changes: of the preset.
    """

    name: str
    preset: str | None
    algorithm: Algorithm
    rate: float
    changes: dict[str, Any] = field(default_factory=dict)


WAYS = (
    Way("digital", None, mho.Exact(), 0.2),
    Way("exact", "gokmen-vlasov-2016", mho.Exact(), 0.2),
    Way("SGD", "gokmen-vlasov-2016", mho.PulsedSGD(), 0.2),
    Way("SGD, few states", COARSE, mho.PulsedSGD(), 0.2),
    Way("SGD, one-sided", "pcm-nandakumar-2020", mho.PulsedSGD(), 0.2, RARELY),
    Way("mixed precision", "pcm-nandakumar-2020", mho.MixedPrecision(), 0.2, RARELY),
    Way("Tiki-Taka", FINE, mho.TikiTaka(columns=112), 0.2, ZERO),
    Way("TTv2", COARSE, mho.TikiTakaV2(**BUFFERED), 0.2),
    Way("c-TTv2", COARSE, mho.ChoppedTikiTaka(**BUFFERED), 0.2),
    Way("AGAD", COARSE, mho.Agad(**BUFFERED), 0.2),
    Way("residual learning", FINE, mho.ResidualLearning(columns=112), 0.5, ZERO),
    Way("residual v2", FINE, mho.ResidualLearningV2(columns=112), 0.5, ZERO),
)
"""The learning rate is that of the digital network; that of residual learning is 0.2 / gamma, since
the array that follows the gradient counts by gamma only. No setting saw the images tested on."""


STEEP: dict[str, Any] = {
    "kind": "power_response", "step": 1e-3, "exponent": 2.0, "low": -0.6, "high": 0.6,
    "cycle_noise": 0.3,
}  # fmt: skip
"""Cells of the second row. There the largest weight of a layer begins at the bound, so that cells
use all of their range."""
STEEP_WAYS: dict[str, tuple[Algorithm, float]] = {
    "exact": (mho.Exact(), 0.2),
    "SGD": (mho.PulsedSGD(), 0.2),
    "residual learning": (mho.ResidualLearning(columns=112), 0.5),
}


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    images: int
    steps: int
    tests: int


SIZES = {
    "full": Size(2, 10_000, 200, 10_000),
    "quick": Size(2, 4000, 120, 2000),
    "smoke": Size(2, 128, 2, 100),
}


def network(seed: int) -> nn.Module:
    """Return the perceptron with initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, 256), nn.Tanh(), nn.Linear(256, 128), nn.Tanh(),
            nn.Linear(128, 10),
        )  # fmt: skip


def batches(size: Size, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random batches of the first images."""
    x, y = fashion.load_images("train")
    x, generator = (x[: size.images] + 1) / 2, torch.Generator().manual_seed(seed)
    for _ in range(size.steps):
        batch = torch.randint(len(x), (BATCH,), generator=generator)
        yield x[batch], y[batch]


def held_out(size: Size) -> tuple[Tensor, Tensor]:
    """Return the images that are tested on."""
    x, y = fashion.load_images("t10k")
    return (x[: size.tests] + 1) / 2, y[: size.tests]


def accuracy(
    hardware: mho.Hardware | None, rule: Algorithm, rate: float, size: Size, seed: int,
    tests: tuple[Tensor, Tensor], fill: float = 0.3,
) -> float:  # fmt: skip
    """Train from the weights of a seed, the learning rate falling to 0 on a cosine, and test."""
    model = network(seed)
    if hardware is not None:
        mho.convert(model, hardware)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    if hardware is not None:
        mho.attach(optimizer, model, rule, seed=seed, fill=fill)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, size.steps)
    model.train()
    for images, classes in batches(size, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(images), classes).backward()
        optimizer.step()
        schedule.step()
    return fashion.accuracy(model.eval(), *tests)


def measure(size: Size, seed: int, ways: tuple[Way, ...] = WAYS) -> dict[str, np.ndarray]:
    """Accuracy of each run, for each way."""
    found, tests = {}, held_out(size)
    for way in ways:
        hardware = None if way.preset is None else mho.load(way.preset)
        if hardware is not None and way.changes:
            hardware = mho.override(hardware, way.changes)
        found[way.name] = np.array([
            accuracy(hardware, way.algorithm, way.rate, size, seed + run, tests)
            for run in range(size.runs)
        ])  # fmt: skip
        print(f"{way.name}: {found[way.name]}", flush=True)
    return found


def steep(size: Size, seed: int) -> dict[str, np.ndarray]:
    """Accuracy of each run on the power response, for each algorithm."""
    found, tests = {}, held_out(size)
    hardware = mho.Hardware(cell={"kind": "ideal", "device": STEEP})  # pyright: ignore
    for name, (rule, rate) in STEEP_WAYS.items():
        found[name] = np.array([
            accuracy(hardware, rule, rate, size, seed + run, tests, fill=1.0)
            for run in range(size.runs)
        ])  # fmt: skip
        print(f"power response, {name}: {found[name]}", flush=True)
    return found


def draw(found: dict[str, np.ndarray]) -> Any:
    """Accuracies of all runs."""
    figure, (axes,) = new_axes(width=5.6, height=3.4)
    for row, values in enumerate(found.values()):
        axes.plot(100 * values, [row] * len(values), "o", color="C0", alpha=0.7)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.axvline(100 * found["digital"].mean(), color="0.5", linewidth=1)
    axes.set_xlabel("accuracy on Fashion-MNIST, %")
    return figure


def percent(values: np.ndarray) -> str:
    """Mean and standard error in percent."""
    mean = Mean.of(100 * values)
    return f"{mean.value:.1f} ± {mean.error:.1f}"


def main() -> None:
    """Train in all ways, and report both rows."""
    arguments = options(__doc__, rows=["perceptron", "power-response"])
    size = SIZES[arguments.size]
    if "perceptron" in arguments.rows:
        found = measure(size, seed=100)
        ours = "%: " + "; ".join(f"{name} {percent(values)}" for name, values in found.items())
        behind = {n: 100 * (found["digital"] - v).mean() for n, v in found.items()}
        near = [name for name, gap in behind.items() if gap < 5 and name != "digital"]
        verdict = f"within 5 % of digital: {len(near)} of {len(found) - 1}"
        claim = "every algorithm trains the perceptron in memory"
        Report("perceptron", claim, ours, verdict, draw(found)).publish(arguments.size)
    if "power-response" in arguments.rows:
        found = steep(size, seed=100)
        ours = "%: " + "; ".join(f"{name} {percent(values)}" for name, values in found.items())
        fails = 100 * found["SGD"].mean() < 15
        trains = 100 * (found["exact"] - found["residual learning"]).mean() < 5
        gain = Mean.of(found["residual learning"] - found["SGD"]).above()
        verdict = "reproduced" if fails and trains else "in part" if gain else "not seen"
        claim = "with a steep power response SGD fails and residual learning does not"
        Report("power-response", claim, ours, verdict).publish(arguments.size)


if __name__ == "__main__":
    main()
