"""Is there a learning rate that balances accuracy and tolerance to weight noise?

The claim (Fagbohungbe and Qian, arXiv 2205.07856, 2022): the learning rate decides how tolerant a
network is to noise on its weights, and there is a sweet spot of rates between accuracy and
tolerance. That both ends of a wide grid train badly is nearly trivial; what informs is whether the
rate that is best under noise differs from the one that is best without.

    python reproductions/learning_rate.py --quick
"""

from dataclasses import dataclass

import numpy as np
from _common import Mean, Report, new_axes, options
from _examples import fashion
from _small_nets import LEVELS, Images, accuracy, load, sweep, trained
from torch import nn
from torch.nn import functional as F

import mho

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # of SGD with momentum 0.9


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    images: int
    tests: int
    draws: int


SIZES = {"full": Size(5, 12_000, 1000, 4), "quick": Size(3, 4000, 500, 2)}
SIZES["smoke"] = Size(2, 256, 100, 1)


def probe(model: nn.Module, images: Images) -> float:
    """Rise of the training loss under noise of 10 %: how sharp the minimum is."""
    x, y = images[0][:256], images[1][:256]
    loss = lambda model: F.cross_entropy(model(x), y)  # noqa: E731
    return mho.sharpness(model, loss, noise_level=0.1, draws=4).rise


def measure(size: Size) -> dict[str, np.ndarray]:
    """Accuracy, normalized accuracy under noise (averaged over levels), and sharpness.

    Each is (runs, rates).
    """
    images, tests = load(size.images, size.tests)
    found: dict[str, list[list[float]]] = {"clean": [], "normalized": [], "sharpness": []}
    for seed in range(size.runs):
        rows: dict[str, list[float]] = {key: [] for key in found}
        for rate in RATES:
            model = trained(f"lenet-sgd-{rate:g}", fashion.LeNet, images, seed, rate=rate)
            rows["clean"].append(accuracy(model, tests))
            rows["normalized"].append(float(sweep(model, tests, size.draws, seed).mean()))
            rows["sharpness"].append(probe(model, images))
        for key, row in rows.items():
            found[key].append(row)
        print(f"run {seed + 1} of {size.runs}")
    return {key: np.array(rows) for key, rows in found.items()}


def draw(found: dict[str, np.ndarray]) -> object:
    """Draw accuracies and sharpness over the learning rate."""
    figure, panels = new_axes(2)
    noisy = found["clean"] * found["normalized"]
    lines = {"without noise": found["clean"], "under noise": noisy}
    lines["under noise, normalized"] = found["normalized"]
    for k, (label, values) in enumerate(lines.items()):
        points = [Mean.of(column) for column in values.T]
        y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
        panels[0].errorbar(RATES, y, errors, fmt="o-", color=f"C{k}", label=label, markersize=3)
    panels[0].set_ylabel(f"accuracy, % (noise: mean of {len(LEVELS)} levels)")
    panels[0].legend(frameon=False, fontsize="small")
    panels[1].plot(RATES, found["sharpness"].T, "o-", color="0.4", markersize=3, alpha=0.6)
    panels[1].set_ylabel("rise of the loss at 10 % noise, by run")
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
    return figure


def report(found: dict[str, np.ndarray]) -> Report:
    """Find the best rates, and test whether the two differ."""
    noisy = found["clean"] * found["normalized"]
    best = {"clean": found["clean"].mean(0).argmax(), "noisy": noisy.mean(0).argmax()}
    tolerant = found["normalized"].mean(0).argmax()
    ours = (
        f"best rate without noise {RATES[best['clean']]:g}, under noise {RATES[best['noisy']]:g},"
        f" for the normalized accuracy {RATES[tolerant]:g}"
    )
    verdict = "not seen: one rate is best for both"
    if best["clean"] != best["noisy"]:
        gain = Mean.of(noisy[:, best["noisy"]] - noisy[:, best["clean"]])
        ours += f"; choosing it for noise gains {gain.percent()} there"
        verdict = "reproduced" if gain.above() else "not seen: no significant gain"
    claim = "a sweet spot of learning rates between accuracy and noise tolerance"
    return Report("learning-rate", claim, ours, verdict, draw(found))


def main() -> None:
    """Train, disturb, and report."""
    size = options(__doc__).size
    report(measure(SIZES[size])).publish(size)


if __name__ == "__main__":
    main()
