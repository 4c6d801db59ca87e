"""Where SGD by pulses learns nothing, and residual learning does.

The claim (Wu et al., NeurIPS 2025, arXiv 2502.06309, its MNIST experiments): on devices whose steps
fall as a power 1 or 2 of the way to bounds at +-0.6, SGD by pulses stays below 15 % with a
perceptron 784 - 256 - 128 - 10, while an array that learns the residual (there: Tiki-Taka with its
fast array in the weight) trains to 97 %.

The setting is the paper's where it gives one: sigmoids, batches of 10, learning rate 0.1 digitally
and 0.05 on arrays, gamma 0.4, one column of the residual array transferred per step at beta 0.01,
steps of 0.001 with 30 % cycle noise, trains of up to 32 slots, 7-bit inputs scaled by each vector's
largest, 9-bit outputs bounded at 12, output noise 0.06, and a learned scale behind every layer. The
largest weight of a layer begins at 0.3 of its bound. The paper trains for 30 epochs and halves the
learning rate after 15; here there are 3, and it falls to 0 on a cosine.

    python reproductions/power_response.py --quick
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _common import Mean, Report, new_axes, options
from _mnist import digits
from _networks_in_memory import CHOOSING, Images, Size, batches, listed
from torch import Tensor, nn
from torch.nn import functional as F

import mho
from mho.training import Algorithm

BATCH, DIGITAL_RATE, RATE = 10, 0.1, 0.05
EXPONENTS = (1.0, 2.0)
WAYS: dict[str, Algorithm | None] = {
    "digital": None,
    "SGD": mho.PulsedSGD(),
    "residual learning": mho.ResidualLearning(columns=1),
}


@dataclass(frozen=True)
class Followed(Size):
    """How much is done; `looks` is how often in a training its accuracy is taken."""

    looks: int


SIZES = {
    "full": Followed(2, 55_000, 16_500, 10_000, 6),
    "quick": Followed(2, 10_000, 1000, 2000, 2),
    "smoke": Followed(2, 100, 2, 100, 1),
}


class Factor(nn.Module):
    """A learned factor of all outputs of a layer; digital."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.factor * x


def network(seed: int) -> nn.Sequential:
    """Return the perceptron with initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(784, 256), Factor(), nn.Sigmoid(),
            nn.Linear(256, 128), Factor(), nn.Sigmoid(),
            nn.Linear(128, 10), Factor(),
        )  # fmt: skip


def hardware(exponent: float) -> mho.Hardware:
    """Return the arrays of the paper."""
    device: dict[str, Any] = {
        "kind": "power_response", "step": 1e-3, "exponent": exponent, "low": -0.6, "high": 0.6,
        "cycle_noise": 0.3,
    }  # fmt: skip
    return mho.Hardware.model_validate(
        {
            "cell": {"kind": "ideal", "device": device},
            "dac": {"bits": 7, "range": "per_token"},
            "adc": {"bits": 9, "bound": 12.0, "overflow": "retry"},
            "noise": {"output": 0.06},
        }
    )


def load(which: str, count: int) -> Images:
    """Images (n, 784) from 0 to 1, and classes; those for choosing settings are left out."""
    x, y = digits(which)
    x, y = (x[:-CHOOSING], y[:-CHOOSING]) if which == "train" else (x, y)
    return torch.from_numpy(x[:count] / 255.0).float().flatten(1), torch.from_numpy(y[:count])


def trained(
    way: str, exponent: float, size: Followed, seed: int, images: Images, tests: Images
) -> list[float]:
    """Train, and return the accuracy at each look; the last is at the end."""
    model, algorithm, found = network(seed), WAYS[way], []
    if algorithm is not None:
        mho.convert(model, hardware(exponent))
    rate = DIGITAL_RATE if algorithm is None else RATE
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    if algorithm is not None:
        mho.attach(optimizer, model, algorithm, pulses=mho.Pulses(slots=32), seed=seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, size.steps)
    looks = {round(size.steps * (k + 1) / size.looks) for k in range(size.looks)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the noise in products
        for step, (x, y) in enumerate(batches(images, BATCH, size.steps, seed), 1):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
            if step in looks:
                found.append(accuracy(model, tests))
    return found


@torch.no_grad()
def accuracy(model: nn.Module, tests: Images) -> float:
    """Part of the images that are classified right."""
    x, y = tests
    right = model.eval()(x).argmax(1) == y
    model.train()
    return float(right.float().mean())


def measure(size: Followed, seed: int) -> dict[str, np.ndarray]:
    """Accuracy (runs, looks) of each way and exponent; the digital network has none."""
    images, tests, found = load("train", size.images), load("t10k", size.tests), {}
    for way, algorithm in WAYS.items():
        for exponent in EXPONENTS if algorithm is not None else EXPONENTS[:1]:
            name = way if algorithm is None else f"{way}, power {exponent:g}"
            runs = [
                trained(way, exponent, size, seed + run, images, tests) for run in range(size.runs)
            ]
            found[name] = np.array(runs)
            print(f"{name}: {found[name].tolist()}", flush=True)
    return found


def draw(found: dict[str, np.ndarray], size: Followed) -> Any:
    """Accuracy over training, every run."""
    figure, (axes,) = new_axes(width=5.4)
    epochs = np.arange(1, size.looks + 1) * size.steps * BATCH / size.looks / size.images
    for k, (name, runs) in enumerate(found.items()):
        for number, run in enumerate(runs):
            label = None if number else name
            axes.plot(epochs, 100 * run, "o-", color=f"C{k}", markersize=3, label=label)
    axes.set(xlabel="epochs", ylabel="accuracy on MNIST, %", ylim=(0, 100))
    axes.legend(frameon=False, fontsize=7)
    return figure


def main() -> None:
    """Train in all ways, and report."""
    size = options(__doc__).size
    found = measure(SIZES[size], seed=100)
    ends = {name: runs[:, -1] for name, runs in found.items()}
    fails = all(ends[f"SGD, power {p:g}"].mean() < 0.15 for p in EXPONENTS)
    gaps = [ends["digital"] - ends[f"residual learning, power {p:g}"] for p in EXPONENTS]
    gains = [
        Mean.of(ends[f"residual learning, power {p:g}"] - ends[f"SGD, power {p:g}"]).above()
        for p in EXPONENTS
    ]
    trains = all(gap.mean() < 0.05 for gap in gaps)
    shows = all(gains)
    verdict = "reproduced" if fails and trains and shows else "in part" if shows else "not seen"
    claim = "with a steep power response SGD fails and residual learning does not"
    figure = draw(found, SIZES[size])
    Report("power-response", claim, listed(ends), verdict, figure).publish(size)


if __name__ == "__main__":
    main()
