"""Networks that learn Fashion-MNIST on arrays of pulsed cells, as several reproductions train them.

The last 5000 of the 60 000 training images serve for choosing settings. No setting saw the images
that a reproduction reports on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from _common import Mean, new_axes
from _examples import fashion
from torch import Tensor, nn
from torch.nn import functional as F

import mho
from mho.training import Algorithm

CHOOSING = 5000
Images = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    images: int
    steps: int
    tests: int


@dataclass(frozen=True)
class Way:
    """An algorithm on hardware.

    Attributes:
        name: for the table.
        hardware: a preset, or a value; None is a digital network.
        algorithm: what trains it.
        rate: learning rate at the start.
        changes: of the hardware.
        fill: part of the cells' bound at which a layer's largest weight begins.
        convolutions: what trains convolutions, if it is another algorithm: they have a vector for
            each place of an image, and so more pulses at the same learning rate.
        slots: of the trains.
    """

    name: str
    hardware: str | mho.Hardware | None
    algorithm: Algorithm
    rate: float
    changes: dict[str, Any] = field(default_factory=dict)
    fill: float = 0.3
    convolutions: Algorithm | None = None
    slots: int = 31

    def described(self) -> mho.Hardware | None:
        """Return the hardware with its changes."""
        found = mho.load(self.hardware) if isinstance(self.hardware, str) else self.hardware
        if found is None or not self.changes:
            return found
        return mho.override(found, self.changes)


@cache
def _loaded(which: str) -> Images:
    """Return images from 0 to 1, and their classes."""
    x, y = fashion.load_images(which)
    return (x + 1) / 2, y


def training_images(count: int | None = None) -> Images:
    """Return the first of the images to train on, and their classes."""
    x, y = _loaded("train")
    return x[:-CHOOSING][:count], y[:-CHOOSING][:count]


def choosing_images(count: int) -> Images:
    """Return images and classes to choose settings on."""
    x, y = _loaded("train")
    return x[-CHOOSING:][:count], y[-CHOOSING:][:count]


def held_out_images(count: int) -> Images:
    """Return images and classes to report on."""
    x, y = _loaded("t10k")
    return x[:count], y[:count]


def batches(images: Images, size: int, steps: int, seed: int) -> Iterator[Images]:
    """Yield random batches."""
    (x, y), generator = images, torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(x), (size,), generator=generator)
        yield x[batch], y[batch]


def train(model: nn.Module, way: Way, shown: Iterable[Images], steps: int, seed: int) -> nn.Module:
    """Train in a way, the learning rate falling to 0 on a cosine; return the model for tests."""
    hardware = way.described()
    if hardware is not None:
        mho.convert(model, hardware)
    optimizer = torch.optim.SGD(model.parameters(), lr=way.rate)
    if hardware is not None:
        rules = [(None, way.algorithm)]
        if way.convolutions is not None:
            rules = [(mho.linear, way.algorithm), (mho.conv, way.convolutions)]
        for where, rule in rules:
            mho.attach(
                optimizer, model, rule, pulses=mho.Pulses(slots=way.slots), where=where, seed=seed,
                fill=way.fill,
            )  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the noise in products
        for images, classes in shown:
            optimizer.zero_grad()
            F.cross_entropy(model(images), classes).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def percent(values: np.ndarray) -> str:
    """Mean and standard error in percent."""
    mean = Mean.of(100 * values)
    return f"{mean.value:.1f} ± {mean.error:.1f}"


def listed(found: dict[str, np.ndarray]) -> str:
    """Return all accuracies as text."""
    return "%: " + "; ".join(f"{name} {percent(values)}" for name, values in found.items())


def draw_accuracies(found: dict[str, np.ndarray]) -> Any:
    """Accuracies of all runs, and a line at the digital network's."""
    figure, (axes,) = new_axes(width=5.6, height=1.2 + 0.19 * len(found))
    for row, values in enumerate(found.values()):
        axes.plot(100 * values, [row] * len(values), "o", color="C0", alpha=0.7)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.axvline(100 * found["digital"].mean(), color="0.5", linewidth=1)
    axes.set_xlabel("accuracy on Fashion-MNIST, %")
    return figure
