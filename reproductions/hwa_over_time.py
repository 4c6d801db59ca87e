"""Does hardware-aware training beat direct mapping over the life of a chip?

The claim (Rasch et al., Nat. Commun. 14:5282, 2023; Le Gallo et al., APL Mach. Learn. 1:041102,
2023): a model that was trained on in the presence of the hardware's errors keeps more of its
accuracy on chips that drift than the same model as it was.

Three models go to `standard-hwa-2023` with global drift compensation, each in three ways: as they
are (direct mapping), after more digital training, and after as much training on the hardware, with
a recipe for each (`_tasks`). The last two start from the
same weights and see the same batches. A difference is that of a run, averaged over its chips; its
standard error is over runs. The verdict is about direct mapping, as the claim is.

    python reproductions/hwa_over_time.py --quick --models fashion
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from _common import Mean, Report, new_axes, options
from _tasks import FashionMnist, Spelling, SpokenDigits, Task
from _training import direct, hardware_aware

import mho

TIMES = ("1 s", "1 h", "1 y")
DIRECT, DIGITAL, AWARE = "direct mapping", "more digital training", "hardware-aware training"


@dataclass(frozen=True)
class Size:
    """How much is done: training runs, chips of each, further steps, and the task's own sizes."""

    runs: int
    chips: int
    steps: int
    task: Callable[[], Task]


SIZES: dict[str, dict[str, Size]] = {
    "fashion": {
        "full": Size(3, 3, 1500, partial(FashionMnist, tests=5000)),
        "quick": Size(2, 2, 800, partial(FashionMnist, images=20_000, tests=1000)),
        "smoke": Size(2, 1, 5, partial(FashionMnist, images=640, tests=100)),
    },
    "spoken": {
        "full": Size(3, 4, 600, SpokenDigits),
        "quick": Size(3, 3, 200, SpokenDigits),
        "smoke": Size(2, 1, 3, partial(SpokenDigits, epochs=1)),
    },
    "spelling": {
        "full": Size(3, 3, 600, Spelling),
        "quick": Size(2, 2, 100, partial(Spelling, tests=500)),
        "smoke": Size(2, 1, 2, partial(Spelling, tests=50)),
    },
}


def measure(task: Task, size: Size) -> dict[str, np.ndarray]:
    """Accuracy (runs, chips, digital and times) of each of the three ways."""
    found: dict[str, list[np.ndarray]] = {DIRECT: [], DIGITAL: [], AWARE: []}
    for run in range(size.runs):
        models = {
            DIRECT: lambda run=run: direct(task, 0, run),
            DIGITAL: lambda run=run: direct(task, size.steps, run),
            AWARE: lambda run=run: hardware_aware(task, size.steps, run),
        }
        for name, model in models.items():
            result = mho.evaluate(
                model(),
                task.score,
                times=TIMES,
                instances=size.chips,
                seed=run * size.chips,  # the same chips for all three, others for another run
            )
            digital = np.full((size.chips, 1), result.digital)
            found[name].append(np.hstack((digital, result.scores)))
            print(f"run {run + 1} of {size.runs}, {name}: digital, then {', '.join(TIMES)}:")
            print("    ", found[name][-1].mean(0).round(4))
    return {name: np.array(scores) for name, scores in found.items()}


def draw(task: Task, found: dict[str, np.ndarray]) -> object:
    """Accuracy over time; the error bar is two standard errors over runs."""
    figure, (axes,) = new_axes(width=5.6, height=3.4)
    labels = ("digital", *TIMES)
    for k, (name, scores) in enumerate(found.items()):
        points = [Mean.of(column) for column in scores.mean(1).T]
        x = np.arange(len(labels)) + 0.08 * (k - 1)
        y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
        axes.errorbar(x, y, 2 * np.array(errors), fmt="o", color=f"C{k}", label=name, capsize=2)
        axes.plot(x[1:], y[1:], color=f"C{k}")
        chips = 100 * scores.reshape(-1, len(labels))
        axes.plot(x, chips.T, ".", color=f"C{k}", alpha=0.25, markersize=3)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("time since programming")
    axes.set_ylabel("accuracy, % (bars: 2 standard errors)")
    axes.set_title(task.title, fontsize="medium")
    axes.legend(frameon=False, fontsize="small")
    return figure


def report(key: str, task: Task, found: dict[str, np.ndarray]) -> Report:
    """Hardware-aware training minus direct mapping, and minus as much digital training."""
    mean = {name: scores.mean(1) for name, scores in found.items()}  # (runs, digital and times)
    gains: dict[str, list[Mean]] = {DIRECT: [], DIGITAL: []}
    levels = []
    for time in ("1 h", "1 y"):
        k = 1 + TIMES.index(time)
        for other, means in gains.items():
            means.append(Mean.of(mean[AWARE][:, k] - mean[other][:, k]))
        levels.append(" / ".join(f"{100 * scores[:, k].mean():.2f}" for scores in mean.values()))
    hour, year = ([gain.percent() for gain in means] for means in zip(*gains.values(), strict=True))
    ours = (
        f"{hour[0]} at 1 h and {year[0]} at 1 y against direct mapping; {hour[1]} and {year[1]}"
        f" against as much digital training (direct / digital / aware: {' and '.join(levels)};"
        f" {len(mean[AWARE])} runs)"
    )
    above = [gain.above() for gain in gains[DIRECT]]
    verdict = "reproduced" if all(above) else "in part" if any(above) else "not seen"
    if len(mean[AWARE]) < 3:
        verdict += ", from two runs"  # whose standard error says little
    claim = f"{task.title}: hardware-aware training beats direct mapping at 1 h and 1 y"
    return Report(f"hwa-{key}", claim, ours, verdict, draw(task, found))


def main() -> None:
    """Train, age, and report, one model after the other."""
    args = options(__doc__, models=list(SIZES))
    for key in args.models:
        size = SIZES[key][args.size]
        task = size.task()
        report(key, task, measure(task, size)).publish(args.size)


if __name__ == "__main__":
    main()
