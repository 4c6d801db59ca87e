"""Do L1 and TopK batch norm make a network more tolerant to weight noise than the usual one?

The claim (Fagbohungbe and Qian, arXiv 2205.04886, 2022): replacing the standard deviation of batch
norm by a mean absolute deviation (L1) or by the largest deviations (TopK) keeps the accuracy and
improves the tolerance to noise on the weights. In use all three are the same affine map, so what
differs can only come from training.

    python reproductions/l1_batch_norm.py --quick
"""

from dataclasses import dataclass

import numpy as np
from _common import Mean, Report, new_axes, options
from _small_nets import LEVELS, ThinVgg, accuracy, load, sweep, trained
from torch import nn

import mho

NORMS = {"L2": nn.BatchNorm2d, "L1": mho.L1BatchNorm, "TopK": mho.TopKBatchNorm}


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    images: int
    tests: int
    draws: int


SIZES = {"full": Size(5, 12_000, 1000, 4), "quick": Size(3, 4000, 500, 2)}
SIZES["smoke"] = Size(2, 256, 100, 1)


@dataclass(frozen=True)
class Found:
    """Of one norm: accuracy without noise (runs,), and two sweeps (runs, levels)."""

    clean: np.ndarray
    noisy: np.ndarray
    recalibrated: np.ndarray


def measure(size: Size) -> dict[str, Found]:
    """Train every norm with the same seeds, and sweep the noise."""
    images, tests = load(size.images, size.tests)
    shown = list(images[0][:1024].split(512))
    rows: dict[str, list[tuple[float, np.ndarray, np.ndarray]]] = {name: [] for name in NORMS}
    for seed in range(size.runs):
        for name, norm in NORMS.items():
            key = "vgg-all" if name == "L2" else f"vgg-{name}"  # shared with batch_norm.py
            model = trained(key, lambda norm=norm: ThinVgg(norm), images, seed)
            plain = sweep(model, tests, size.draws, seed)
            again = sweep(model, tests, size.draws, seed, shown=shown)
            rows[name].append((accuracy(model, tests), plain, again))
        print(f"run {seed + 1} of {size.runs}")
    return {
        name: Found(*(np.array(column) for column in zip(*row, strict=True)))
        for name, row in rows.items()
    }


def draw(found: dict[str, Found]) -> object:
    """Draw the sweeps without and with recalibration."""
    figure, panels = new_axes(2, sharey=True)
    for axes, title in zip(panels, ("noisy", "recalibrated"), strict=True):
        for k, (name, values) in enumerate(found.items()):
            points = [Mean.of(column) for column in getattr(values, title).T]
            y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
            x = 100 * np.array(LEVELS)
            axes.errorbar(x, y, errors, fmt="o-", color=f"C{k}", label=name, markersize=3)
        axes.set_title({"noisy": "stale statistics"}.get(title, title), fontsize="medium")
        axes.set_xlabel("noise, % of the std of each weight tensor")
    panels[0].set_ylabel("normalized accuracy, %")
    panels[0].legend(frameon=False, fontsize="small")
    return figure


def report(found: dict[str, Found]) -> Report:
    """Compare with the usual norm, run by run."""
    parts, gains = [], []
    for name in ("L1", "TopK"):
        clean = Mean.of(found[name].clean - found["L2"].clean)
        gain = Mean.of(found[name].noisy.mean(1) - found["L2"].noisy.mean(1))
        after = Mean.of(found[name].recalibrated.mean(1) - found["L2"].recalibrated.mean(1))
        gains.append(gain)
        parts.append(
            f"{name} minus L2: accuracy {clean.percent()}, under noise {gain.percent()},"
            f" recalibrated {after.percent()}"
        )
    seen = [gain.above() for gain in gains]
    verdict = "reproduced" if all(seen) else "in part" if any(seen) else "not seen"
    claim = "L1 and TopK batch norm keep the accuracy and improve noise tolerance"
    return Report("l1-batch-norm", claim, "; ".join(parts), verdict, draw(found))


def main() -> None:
    """Train, disturb, and report."""
    size = options(__doc__).size
    report(measure(SIZES[size])).publish(size)


if __name__ == "__main__":
    main()
