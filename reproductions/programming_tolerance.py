"""How much more programming noise than PCM has do an RNN and a CNN stand?

The claim (Rasch et al., Nat. Commun. 14:5282, 2023, figure 5): after hardware-aware training,
recurrent networks tolerate a multiple of the standard programming noise (an LSTM on Penn Treebank
3.3 times) and CNNs hardly more than it (ResNet-18 on ImageNet 1.2 times), before the normalized
accuracy at one hour falls to 99 %.

The networks are those of `hwa_over_time.py`, trained on `standard-hwa-2023`; from there one effect
at a time is made stronger (`mho.sensitivity`). The reference is the same network, digital.

    python reproductions/programming_tolerance.py --quick
"""

import hwa_over_time as over_time
import numpy as np
from _common import Mean, Report, new_axes, options
from _training import hardware_aware

import mho

NETWORKS = {"CNN": "fashion", "RNN": "spoken"}
PROGRAMMING = "programming error"
Multiples = dict[str, dict[str, np.ndarray]]


def measure(size: str) -> Multiples:
    """Tolerated multiples (runs,) for each network and effect; 0 where even less is too much."""
    found: Multiples = {}
    for name, key in NETWORKS.items():
        settings = over_time.SIZES[key][size]
        task, multiples = settings.task(), {}
        for run in range(min(settings.runs, 5)):
            result = mho.sensitivity(
                hardware_aware(task, settings.steps, run),
                task.score,
                parts=["tolerances"],
                time="1 h",
                chance=task.chance,
                instances=min(settings.chips, 3),
                seed=run * settings.chips,
                steps=3,
            )
            print(f"{name}, run {run + 1}\n{result}")
            for item in result.tolerances:
                multiples.setdefault(item.name, []).append(item.multiple)
        found[name] = {effect: np.array(values) for effect, values in multiples.items()}
    return found


def draw(found: Multiples) -> object:
    """Multiples of every effect; a dot is a run, a bar their geometric mean."""
    figure, (axes,) = new_axes(width=6.4, height=3.4)
    effects = [e for e, values in found["CNN"].items() if (values > 0).all()]
    for k, (name, multiples) in enumerate(found.items()):
        for y, effect in enumerate(effects):
            values = multiples.get(effect, np.empty(0))
            values = values[values > 0]
            if not len(values):
                continue
            row = y + 0.3 * (k - 0.5)
            axes.plot(values, np.full(len(values), row), ".", color=f"C{k}", alpha=0.5)
            middle = np.exp(np.log(values).mean())
            axes.plot(
                [middle], [row], "|", color=f"C{k}", markersize=14, label=name if not y else None
            )
    axes.set_yticks(range(len(effects)), effects)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.axvline(1, color="0.5", linewidth=1)
    axes.set_xlabel("strength at which the normalized accuracy is still 99 %, x standard")
    if axes.get_legend_handles_labels()[1]:  # where nothing is tolerated, nothing is drawn
        axes.legend(frameon=False)
    return figure


def report(found: Multiples) -> Report:
    """Compare the logarithms of the multiples for the programming error.

    A network that is below 99 % with hardly any of it is so because of something else, and says
    nothing about it.
    """
    claim = "after hardware-aware training an RNN tolerates more programming noise than a CNN"
    runs = {name: multiples[PROGRAMMING] for name, multiples in found.items()}
    logs = {name: np.log2(values[values > 0]) for name, values in runs.items()}
    said = ", ".join(
        f"{name} {2 ** values.mean():.2f}x ({len(values)} of {len(runs[name])} runs)"
        if len(values)
        else f"{name} below 99 % without it in all runs"
        for name, values in logs.items()
    )
    if min(len(values) for values in logs.values()) < 2:
        verdict = "cannot be told: other effects alone take runs below 99 %"
        return Report("tolerance", claim, said, verdict, draw(found))
    means = {name: Mean.of(values) for name, values in logs.items()}
    gap = means["RNN"].value - means["CNN"].value
    error = float(np.hypot(means["RNN"].error, means["CNN"].error))  # other tasks, so independent
    ours = f"{said}; ratio {2**gap:.2f}, within a factor of {2 ** (2 * error):.2f} (2 s.e.)"
    verdict = "reproduced" if gap > 2 * error else "opposite" if gap < -2 * error else "not seen"
    return Report("tolerance", claim, ours, verdict, draw(found))


def main() -> None:
    """Train, make effects stronger, and report."""
    size = options(__doc__).size
    report(measure(size)).publish(size)


if __name__ == "__main__":
    main()
