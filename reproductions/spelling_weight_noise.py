"""Does adaptation bring back what 5 % weight noise takes from a pretrained recurrent network?

The claim (the goal that Rasch et al., Nat. Commun. 14:5282, 2023, set for hardware-aware training):
a network that is trained on with noise on its weights is nearly as accurate under such noise as the
digital network is without.

The network is g2p-en; every weight gets noise of 5 % of the largest weight of its column, and
nothing else is analog. The adaptation trains with such noise and clips every column at 2.5 standard
deviations, which makes its largest weight, and the noise with it, smaller. The clip (2 or 2.5) and
the targets (labels, or the published network's answers) were chosen on the words for choosing. The
verdict is about the network as published. More digital training alone lifts the network's accuracy
too, so the same share is also given for the loss after as many digital steps.

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
    cell={  # pyright: ignore
        "kind": "composed",
        "g_max": 1e-6,  # of no consequence: everything is relative to it
        "signed": True,
        "programming": {
            "kind": "gaussian",
            "std": {"kind": "constant", "value": NOISE},
            "full_scale": 1.0,
        },
    },
    mapping={"kind": "signed", "scaling": "column"},  # pyright: ignore
)
RECIPE = mho.Adaptation(
    noise=mho.AdditiveNoise(std=NOISE, relative_to="column"),
    clip={"kind": "column", "sigma": 2.5},  # pyright: ignore
)
WAYS = ("as published", "more digital training", "adapted")


@dataclass(frozen=True)
class Size:
    """How much is done: training runs, noisy networks of each, further steps, and words."""

    runs: int
    chips: int
    steps: int
    words: int


SIZES = {"full": Size(2, 5, 1500, 2000), "quick": Size(2, 3, 200, 500), "smoke": Size(2, 1, 2, 50)}


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
    back = [Mean.of(recovered(found, way)) for way in (0, 1)]
    published_back, digital_back = (f"{100 * b.value:.0f} ± {100 * b.error:.0f} %" for b in back)
    ours = (
        f"as published {published[0]:.1f} to {published[1]:.1f} %; adapted, under noise,"
        f" {adapted[1]:.1f} %: {published_back} of the loss is back. After as much digital training"
        f" {digital[0]:.1f} to {digital[1]:.1f} %, of which {digital_back} is back"
        f" ({len(found)} runs)"
    )
    share = back[0]
    if share.above(0.5):
        verdict = "reproduced"
    elif share.value >= 0.5:
        verdict = "half is back, within the error"
    else:
        verdict = "in part" if share.above() else "not seen"
    claim = "adaptation recovers at least half of what 5 % weight noise takes"
    return Report("spelling-noise", claim, ours, verdict, draw(found))


def recovered(found: np.ndarray, way: int) -> np.ndarray:
    """Share of what noise takes from a network that the adapted one has more, (runs,)."""
    clean, noisy = found[:, way].T
    return (found[:, 2, 1] - noisy) / (clean - noisy)


def main() -> None:
    """Train, disturb, and report."""
    size = options(__doc__).size
    report(measure(SIZES[size])).publish(size)


if __name__ == "__main__":
    main()
