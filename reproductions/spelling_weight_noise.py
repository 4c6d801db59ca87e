"""Does adaptation bring back what 5 % weight noise takes from a pretrained recurrent network?

The claim (the goal that Rasch et al., Nat. Commun. 14:5282, 2023, set for hardware-aware training):
a network that is trained on with noise on its weights is nearly as accurate under such noise as the
digital network is without.

The network is g2p-en; every weight gets noise of 5 % of the largest weight of its column, and
nothing else is analog. The loss of direct mapping is that of the network after as many digital
steps, which is the better of the two networks without adaptation.

    python reproductions/spelling_weight_noise.py --quick
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from _common import Mean, Report, new_axes, options
from _tasks import Spelling
from _training import hardware_aware, trained_digitally
from torch import nn

import mho

NOISE = 0.05
HARDWARE = mho.Hardware(
    cell={
        "kind": "composed",
        "g_max": 1e-6,  # of no consequence: everything is relative to it
        "signed": True,
        "programming": {
            "kind": "gaussian",
            "std": {"kind": "constant", "value": NOISE},
            "full_scale": 1.0,
        },
    },
    mapping={"kind": "signed", "scaling": "column"},
)  # pyright: ignore
RECIPE = mho.Adaptation(noise=mho.AdditiveNoise(std=NOISE, relative_to="column"))
WAYS = ("as published", "more digital training", "trained with noise")


@dataclass(frozen=True)
class Size:
    """How much is done: training runs, noisy networks of each, further steps, and words."""

    runs: int
    chips: int
    steps: int
    words: int


SIZES = {"full": Size(4, 5, 600, 2000), "quick": Size(2, 3, 150, 500), "smoke": Size(2, 1, 2, 50)}


def measure(size: Size) -> np.ndarray:
    """Word accuracy (runs, ways, digital and noisy)."""
    task, rows = Spelling(tests=size.words), []
    for run in range(size.runs):
        ways: list[Callable[[], nn.Module]] = [
            partial(trained_digitally, task, 0, run),
            partial(trained_digitally, task, size.steps, run),
            partial(hardware_aware, task, size.steps, run, RECIPE, HARDWARE),
        ]
        row = []
        for way, name in zip(ways, WAYS, strict=True):
            model = way()
            if name != WAYS[2]:
                mho.convert(model, HARDWARE)
            result = mho.evaluate(
                model,
                task.score,
                times=[0],
                instances=size.chips,
                seed=run * size.chips,
                compensation="none",
            )
            row.append((result.digital, result.mean[0]))
            print(f"run {run + 1} of {size.runs}, {name}: {row[-1][0]:.4f}, noisy {row[-1][1]:.4f}")
        rows.append(row)
    return np.array(rows)


def draw(found: np.ndarray) -> object:
    """Word accuracy without and with noise, a bar for each way."""
    figure, (axes,) = new_axes(width=5.0)
    for k, label in enumerate(("without noise", f"with {NOISE:.0%} noise")):
        points = [Mean.of(found[:, way, k]) for way in range(len(WAYS))]
        y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
        x = np.arange(len(WAYS)) + 0.38 * (k - 0.5)
        axes.bar(x, y, 0.36, yerr=2 * np.array(errors), color=("0.7", "C0")[k], label=label)
    axes.set_xticks(range(len(WAYS)), WAYS, fontsize="small")
    axes.set_ylim(50, 80)
    axes.set_ylabel("word accuracy, % (bars: 2 s.e.)")
    axes.legend(frameon=False, fontsize="small", ncols=2)
    return figure


def report(found: np.ndarray) -> Report:
    """Ask how much of the loss of direct mapping is left after adaptation."""
    published, digital, adapted = 100 * found.mean(0)
    lost = found[:, 1, 0] - found[:, 1, 1]
    left = found[:, 1, 0] - found[:, 2, 1]  # against the better digital network
    half = Mean.of(0.5 * lost - left)
    recovered = 1 - left.mean() / lost.mean()
    ours = (
        f"as published {published[0]:.1f} to {published[1]:.1f} %; after more digital training"
        f" {digital[0]:.1f} to {digital[1]:.1f} %; adapted, under noise, {adapted[1]:.1f} %:"
        f" {recovered:.0%} of the loss is back"
    )
    verdict = "reproduced" if half.above() else "in part" if recovered > 0 else "not seen"
    claim = "adaptation recovers at least half of what 5 % weight noise takes"
    return Report("spelling-noise", claim, ours, verdict, draw(found))


def main() -> None:
    """Train, disturb, and report."""
    size = options(__doc__).size
    report(measure(SIZES[size])).publish(size)


if __name__ == "__main__":
    main()
