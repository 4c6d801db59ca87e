"""Do eight-bit fixed-point units beside the arrays keep the accuracy of half-precision ones?

The claim (Ferro et al., 2024, arXiv 2402.07549): the affine correction of every column, with
batch norm in it, can be done in fixed point, with an unsigned scale of 1 + 7 bits and a signed
offset of 7 + 1, at a loss of 0.12 points (ResNet9, CIFAR-10) and 0.40 points (ResNet32, CIFAR-100)
against half precision, on a chip of phase-change memory.

Here a thin residual network of the same nine layers learns Fashion-MNIST, its batch norms are
folded, and it is put on arrays of 256 rows whose converters differ: a gain spread of 5 % and an
offset spread of 2 steps of 8 bits. Every column is calibrated by least squares on random inputs,
and the same chips then compute in single precision, half precision, and fixed point of fewer and
fewer bits. The output step of a layer is the finest with which its outputs and parameters fit.

    python reproductions/digital_unit.py --quick
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import Mean, Report, new_axes, options
from _examples import fashion
from _small_nets import load, trained
from torch import Tensor, nn

import mho

SCALES = (7, 5, 4, 3, 2, 1)
"""Bits of the unsigned scale after the point; there is one before it."""
OUTPUTS = (8, 6, 5, 4, 3)
"""Bits of an output, with the sign."""
TOLERANCE = 0.005


def block(before: int, after: int, pool: bool = False) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU, pooled or not."""
    layers = [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


class ThinResNet9(nn.Module):
    """ResNet9 with an eighth of the channels: 8, 16, two of 16, 32, 64, two of 64; then linear."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(block(1, 8, pool=True), block(8, 16))
        self.first = nn.Sequential(block(16, 16), block(16, 16))
        self.middle = nn.Sequential(block(16, 32, pool=True), block(32, 64, pool=True))
        self.second = nn.Sequential(block(64, 64), block(64, 64))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, 1, 28, 28) to scores (batch, 10)."""
        x = self.enter(x)
        x = self.middle(x + self.first(x))
        x = x + self.second(x)
        return self.head(x.amax((2, 3)))


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    images: int
    tests: int
    chips: int


SIZES = {"full": Size(3, 6000, 1000, 1), "quick": Size(2, 2000, 300, 1)}
SIZES["smoke"] = Size(2, 256, 100, 1)
Found = dict[str, np.ndarray]


def units() -> dict[str, dict[str, Any]]:
    """The digital units by name; `scale 7` is the published one."""
    found: dict[str, dict[str, Any]] = {"float": {"kind": "float"}, "half": {"kind": "half"}}
    for bits in SCALES:
        found[f"scale {bits}"] = {"scale": {"integer": 1, "fraction": bits}}
    for bits in OUTPUTS[1:]:
        found[f"output {bits}"] = {"output_bits": bits}
    fixed = {"kind": "fixed_point", "step": "parameters"}
    return {name: unit if "kind" in unit else {**fixed, **unit} for name, unit in found.items()}


def hardware(unit: dict[str, Any]) -> mho.Hardware:
    """Return arrays of 256 x 256, eight-bit converters that differ, and a digital unit."""
    parts: dict[str, Any] = {
        "array": {"rows": 256, "cols": 256},
        "dac": {"bits": 8, "range": "calibrated"},
        "adc": {"bits": 8, "bound": "calibrated", "gain_spread": 0.05, "offset_spread": 2 / 127},
        "digital": unit,
    }
    return mho.Hardware(**parts)


def on_chip(folded: nn.Module, unit: dict[str, Any], shown: list[Tensor], seed: int) -> nn.Module:
    """Return the model on a chip whose columns are not calibrated yet.

    Units in fixed point compute the ReLU as well, but for that of the last layer, which has none.
    """
    model = copy.deepcopy(folded)
    inside = {**unit, "relu": True} if unit["kind"] == "fixed_point" else unit
    mho.convert(model, mho.Rules([("head", hardware(unit)), ("*", hardware(inside))]))
    mho.calibrate(model, shown)
    return mho.program(model, seed=seed)


def measure(size: Size) -> Found:
    """Accuracy (runs, chips) by unit; `raw` is half precision before the columns are calibrated."""
    images, tests = load(size.images, size.tests)
    shown = list(images[0][:1024].split(256))
    found: dict[str, list[list[float]]] = {}
    for run in range(size.runs):
        model = trained("resnet9", ThinResNet9, images, run)
        digital = fashion.accuracy(model, *tests)
        mho.fold_batch_norm(model)
        rows: dict[str, list[float]] = {"digital": [digital] * size.chips}
        for seed in range(size.chips):
            for name, unit in units().items():
                chip = on_chip(model, unit, shown, seed)
                if name == "half":
                    rows.setdefault("raw", []).append(fashion.accuracy(chip, *tests))
                mho.compensate(chip, "columns")
                rows.setdefault(name, []).append(fashion.accuracy(chip, *tests))
                if name == "scale 7" and run == seed == 0:
                    print(mho.digital_report(chip, [tests[0]]))
        for name, row in rows.items():
            found.setdefault(name, []).append(row)
        print(f"run {run + 1} of {size.runs}")
    return {name: np.array(rows) for name, rows in found.items()}


def loss(found: Found, name: str, against: str = "half") -> Mean:
    """Accuracy that is lost against another unit on the same chips; mean over runs."""
    return Mean.of((found[against] - found[name]).mean(1))


def draw(found: Found) -> object:
    """Loss against half precision over the bits of the scale, and of the outputs."""
    figure, panels = new_axes(2, sharey=True)
    sweeps = (("scale", SCALES, "bits of the scale after the point"),)
    sweeps += (("output", OUTPUTS, "bits of an output"),)
    for axes, (what, bits, label) in zip(panels, sweeps, strict=True):
        points = [loss(found, "scale 7" if n == bits[0] else f"{what} {n}") for n in bits]
        y, errors = ([100 * getattr(p, key) for p in points] for key in ("value", "error"))
        axes.errorbar(bits, y, errors, fmt="o-", markersize=4, capsize=2)
        axes.axhline(100 * TOLERANCE, color="0.5", linestyle="--", linewidth=1)
        axes.set_xlabel(label)
        axes.set_xticks(bits)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_yticks(
            (0, 0.5, 1, 2, 5, 10, 20, 50), ("0", "0.5", "1", "2", "5", "10", "20", "50")
        )
    panels[0].set_ylabel("points lost against half precision", fontsize="medium")
    panels[0].annotate(
        "half a point", (max(SCALES), 100 * TOLERANCE), xytext=(0, 3), textcoords="offset points",
        ha="right", fontsize="small", color="0.4",
    )  # fmt: skip
    return figure


def report(found: Found) -> Report:
    """Compare the published formats with half precision, and look for the knee."""
    fixed, half = loss(found, "scale 7"), loss(found, "half", "float")
    knee = [n for n in SCALES if loss(found, f"scale {n}").value > TOLERANCE]
    mean = {name: f"{100 * found[name].mean():.2f}" for name in ("digital", "raw", "half")}
    first = f"the first above half a point is {max(knee)}" if knee else "none is above half a point"
    by_bits = ", ".join(f"{n}: {100 * loss(found, f'scale {n}').value:+.2f}" for n in SCALES)
    outputs = ", ".join(f"{n}: {100 * loss(found, f'output {n}').value:+.2f}" for n in OUTPUTS[1:])
    ours = (
        f"points lost by fixed point against half precision {fixed.percent()}, by half precision"
        f" against float {half.percent()}; by bits of the scale after the point {by_bits}; {first};"
        f" by bits of an output {outputs}."
        f" Accuracy: digital {mean['digital']} %, half precision {mean['raw']} % before and"
        f" {mean['half']} % after the columns are calibrated ({fixed.runs} runs)"
    )
    within = TOLERANCE - fixed.value > 2 * fixed.error
    claim = "(1, 7) and (7, 1) are within half a point of half precision"
    return Report("digital-unit", claim, ours, "reproduced" if within else "not seen", draw(found))


def main() -> None:
    """Train, fold, map, calibrate, and report."""
    size = options(__doc__).size
    report(measure(SIZES[size])).publish(size)


if __name__ == "__main__":
    main()
