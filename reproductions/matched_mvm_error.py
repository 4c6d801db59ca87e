"""Which effect hurts most when all make the same error in a matrix product?

The claim (Rasch et al., Nat. Commun. 14:5282, 2023, sensitivity analysis, figure 4B): at a common
relative error of 20 %, what acts on the outputs of the arrays (output noise, ADC) costs a CNN more
accuracy than errors of the weights (programming) do; recurrent networks stand all of it better.

Each effect of `standard-hwa-2023` acts alone, scaled until the product of a random 512x512 matrix
has that error (`mho.sensitivity`). The networks are digital ones that were mapped directly.

    python reproductions/matched_mvm_error.py --quick
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from _common import Mean, Report, new_axes, options
from _tasks import FashionMnist, SpokenDigits, Task

import mho

ERROR = 0.2
OUTPUT = ("output noise", "ADC levels")  # what acts on the outputs, and the error of the weights
WEIGHTS = "programming error"
Losses = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Size:
    """How much is done: training runs, chips of each, and the two tasks."""

    runs: int
    chips: int
    tasks: dict[str, Callable[[], Task]]


SIZES = {
    "full": Size(5, 3, {"CNN": partial(FashionMnist, tests=2000), "RNN": SpokenDigits}),
    "quick": Size(
        2,
        2,
        {"CNN": partial(FashionMnist, images=20_000, tests=1000), "RNN": SpokenDigits},
    ),
    "smoke": Size(
        2,
        1,
        {
            "CNN": partial(FashionMnist, images=640, tests=100),
            "RNN": partial(SpokenDigits, epochs=1),
        },
    ),
}


def measure(size: Size) -> Losses:
    """Loss of normalized accuracy (runs,) for each network and effect that reaches the error."""
    found: Losses = {}
    for name, make in size.tasks.items():
        task, losses = make(), {}
        for run in range(size.runs):
            result = mho.sensitivity(
                task.digital(run),
                task.score,
                "standard-hwa-2023",
                parts=["effects"],
                time="1 h",
                chance=task.chance,
                target_error=ERROR,
                instances=size.chips,
                seed=run * size.chips,
                batches=task.calibration(),
            )
            print(f"{name}, run {run + 1} of {size.runs}\n{result}")
            for effect in result.matched:
                if effect.scores.size:
                    losses.setdefault(effect.name, []).append(result.loss(effect.scores)[0])
        found[name] = {k: np.array(v) for k, v in losses.items() if len(v) == size.runs}
    return found


def draw(found: Losses) -> object:
    """A bar for each effect and network; the error bar is two standard errors over runs."""
    figure, (axes,) = new_axes(width=6.4, height=3.4)
    effects = ranked(found)
    for k, (name, losses) in enumerate(found.items()):
        points = [Mean.of(losses[effect]) for effect in effects]
        y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
        x = np.arange(len(effects)) + 0.38 * (k - 0.5)
        axes.barh(x, y, 0.36, xerr=2 * np.array(errors), color=f"C{k}", label=name)
    axes.set_yticks(range(len(effects)), effects)
    axes.invert_yaxis()
    axes.set_xlabel(f"loss of normalized accuracy at a product error of {ERROR:.0%}, %")
    axes.legend(frameon=False)
    return figure


def ranked(found: Losses) -> list[str]:
    """Effects that every network has a loss for, the worst for the first network before others."""
    first, *others = found.values()
    common = [effect for effect in first if all(effect in other for other in others)]
    return sorted(common, key=lambda effect: -first[effect].mean())


def report(found: Losses) -> Report:
    """Compare output-side effects with the programming error, on the CNN."""
    cnn, effects = found["CNN"], ranked(found)
    parts = []
    for name, losses in found.items():
        worst = sorted(losses, key=lambda effect: -losses[effect].mean())[:3]
        said = ", ".join(f"{effect} {100 * losses[effect].mean():.1f} %" for effect in worst)
        parts.append(f"{name}: {said}; {WEIGHTS} {100 * losses[WEIGHTS].mean():.1f} %")
    gaps = [Mean.of(cnn[effect] - cnn[WEIGHTS]) for effect in OUTPUT if effect in effects]
    seen = [gap.above() for gap in gaps]
    verdict = "reproduced" if seen and all(seen) else "in part" if any(seen) else "not seen"
    claim = "at equal product error, output noise and ADC hurt a CNN more than programming errors"
    return Report("matched-error", claim, "; ".join(parts), verdict, draw(found))


def main() -> None:
    """Scale, score, and report."""
    size = options(__doc__).size
    report(measure(SIZES[size])).publish(size)


if __name__ == "__main__":
    main()
