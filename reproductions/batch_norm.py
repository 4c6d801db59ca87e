"""Does batch norm make a network less tolerant to weight noise, and does recalibration help?

The claim (Fagbohungbe and Qian, IEEE Access 10:127728, 2022, arXiv 2205.07372): networks trained
with batch norm lose far more accuracy under noise on their weights than networks trained without,
and more so the more batch norms they have (VGG16 on CIFAR-10: an average normalized accuracy of
10.75 % with, 93.80 % without). Which tensors got noise there is not known, so both readings are
run: noise on the weights alone, and on all parameters and running statistics.

Recalibration, estimating the statistics anew on the noisy network from two batches, is ours.

    python reproductions/batch_norm.py --quick
"""

from dataclasses import dataclass

import numpy as np
from _common import Mean, Report, new_axes, options
from _small_nets import LEVELS, ThinVgg, load, sweep, trained

NETS = {"none": 0, "every second": 2, "all": 1}
TARGETS = ("weights", "all")
MIDDLE = LEVELS.index(0.2)


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    images: int
    tests: int
    draws: int


SIZES = {"full": Size(5, 12_000, 1000, 4), "quick": Size(3, 4000, 500, 2)}
SIZES["smoke"] = Size(2, 256, 100, 1)
Curves = dict[tuple[str, str], np.ndarray]


def measure(size: Size) -> Curves:
    """Normalized accuracy (runs, levels) for each net and each choice of what gets noise."""
    images, tests = load(size.images, size.tests)
    shown = list(images[0][:1024].split(512))
    curves: dict[tuple[str, str], list[np.ndarray]] = {}
    for seed in range(size.runs):
        for name, every in NETS.items():
            build = lambda every=every: ThinVgg(every=every)  # noqa: E731
            model = trained(f"vgg-{name.replace(' ', '-')}", build, images, seed)
            for targets in TARGETS:
                found = sweep(model, tests, size.draws, seed, targets=targets)
                curves.setdefault((name, targets), []).append(found)
            if every:
                found = sweep(model, tests, size.draws, seed, shown=shown)
                curves.setdefault((f"{name}, recalibrated", "weights"), []).append(found)
        print(f"run {seed + 1} of {size.runs}")
    return {key: np.array(found) for key, found in curves.items()}


def draw(curves: Curves) -> object:
    """Normalized accuracy over the noise level, one panel for each choice of targets."""
    figure, panels = new_axes(2, sharey=True)
    titles = ("noise on the weights", "noise on all parameters and statistics")
    for axes, targets, title in zip(panels, TARGETS, titles, strict=True):
        for k, name in enumerate(NETS):
            for suffix, style in (("", "o-"), (", recalibrated", "s--")):
                found = curves.get((name + suffix, targets))
                if found is not None:
                    show(axes, found, style, f"C{k}", f"batch norm: {name}{suffix}")
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("noise, % of the std of each tensor")
    panels[0].set_ylabel("normalized accuracy, %")
    panels[0].legend(frameon=False, fontsize="x-small", loc="lower left")
    return figure


def show(axes: object, found: np.ndarray, style: str, color: str, label: str) -> None:
    """Draw the mean over runs, with its standard error."""
    points = [Mean.of(column) for column in found.T]
    x = 100 * np.array(LEVELS)
    y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
    axes.errorbar(x, y, errors, fmt=style, color=color, label=label, markersize=3)  # pyright: ignore


def report(curves: Curves) -> list[Report]:
    """Compare the averages over levels, and ask what recalibration brings back."""
    average = {key: found.mean(1) for key, found in curves.items()}
    harm = {t: Mean.of(average["none", t] - average["all", t]) for t in TARGETS}
    more = Mean.of(average["every second", "weights"] - average["all", "weights"])
    lost = 1 - curves["all", "weights"][:, MIDDLE]
    back = lost - (1 - curves["all, recalibrated", "weights"][:, MIDDLE])
    enough = Mean.of(back - 0.5 * lost)
    ours = (
        f"average normalized accuracy without minus with: {harm['weights'].percent()} (noise on"
        f" weights), {harm['all'].percent()} (on all); half of the norms minus all:"
        f" {more.percent()}"
    )
    verdicts = ["reproduced" if h.above() else "not seen" for h in harm.values()]
    verdict = verdicts[0] if len(set(verdicts)) == 1 else f"{verdicts[0]}; on all: {verdicts[1]}"
    claim = "batch norm costs noise tolerance, the more of it the more"
    return [
        Report("batch-norm", claim, ours, verdict, draw(curves)),
        Report(
            "recalibration",
            "(ours) new statistics on the noisy network bring back at least half of the loss",
            f"at {LEVELS[MIDDLE]:.0%} noise {100 * lost.mean():.1f} % are lost and"
            f" {Mean.of(back).percent()} come back",
            "confirmed" if enough.above() else "not confirmed",
        ),
    ]


def main() -> None:
    """Train, disturb, and report."""
    size = options(__doc__).size
    for row in report(measure(SIZES[size])):
        row.publish(size)


if __name__ == "__main__":
    main()
