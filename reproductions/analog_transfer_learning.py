"""Does a network that was trained digitally on some classes learn others on its arrays?

The claims (Fagbohungbe et al., arXiv 2505.11067, on classes of CIFAR-10 and CIFAR-100): fine-tuned
by chopped Tiki-Taka v2 (c-TTv2), networks that are written onto arrays learn other classes almost
as well as digitally and better than from random weights; accuracy falls with the noise of that
write, and stays where the symmetry points of the fast cells are skewed or vary. Controls are
digital fine-tuning, training from random weights, SGD by pulses, and Tiki-Taka v2 (TTv2).

A CNN (LeNet of 8 and 16 filters) and a small vision transformer learn five classes of
Fashion-MNIST digitally, get a new output layer, and learn the other five with all layers on arrays
of soft-bounds cells of 100 states, behind 7-bit and 9-bit converters with noise: 200 batches of 32.
Skew is the mean error of the fast cells' reference and variability its spread, in relative weights
(bounds are at +-1); only fast arrays have them. Noise of the write is relative to a layer's largest
weight, which is at 0.3. Rates were chosen on images that are not reported on.

    python reproductions/analog_transfer_learning.py --quick
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from _common import Mean, Report, cached, new_axes, options
from _examples import fashion
from _networks_in_memory import (
    Images,
    Way,
    batches,
    held_out_images,
    percent,
    train,
    training_images,
)
from _transformer import VisionTransformer
from lenet_in_memory import network as lenet
from torch import nn
from torch.nn import functional as F

import mho
from mho.cells import SoftBounds
from mho.training import Algorithm

FIRST, THEN = (1, 3, 5, 7, 9), (0, 2, 4, 6, 8)
BATCH, WIDTH = 32, 64
RATE = 0.2
CELL = SoftBounds(
    step=0.02, step_spread=0.3, cycle_noise=0.3, low_spread=0.3, high_spread=0.3,
)  # fmt: skip
NOISES, ERRORS = (0.1, 0.3), (0.25, 0.5)
BOTH = ("TTv2", "c-TTv2")
FAST = {"CNN": (20.0, 4.0), "transformer": (5.0, 5.0)}
"""Learning rate of the fast arrays of linear layers and of convolutions, over the optimizer's."""


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    before: int
    steps: int
    tests: int
    images: int = 55_000
    points: int = 2


SIZES = {
    "full": Size(2, 300, 200, 5000),
    "quick": Size(2, 300, 40, 5000, points=1),
    "smoke": Size(2, 2, 2, 100, 500, points=1),
}


@dataclass(frozen=True)
class Case:
    """A training on the other classes.

    Attributes:
        algorithm: what trains; None is a digital network.
        pretrained: whether it begins with what the first classes gave.
        noise: of the write.
        skew: mean error of the fast cells' reference.
        variability: spread of that error.
    """

    algorithm: str | None
    pretrained: bool = True
    noise: float = 0.0
    skew: float = 0.0
    variability: float = 0.0


@dataclass
class Found:
    """Accuracies (runs,) of each case, for one network."""

    points: int
    values: dict[Case, np.ndarray] = field(default_factory=dict)

    def levels(self, name: str) -> tuple[float, ...]:
        """Return the levels of a sweep."""
        return levels(name, self.points)

    def of(self, algorithm: str | None, **setting: Any) -> np.ndarray:
        """Return those of a case."""
        return self.values[Case(algorithm, **setting)]


def levels(name: str, points: int) -> tuple[float, ...]:
    """Return how large a noise, skew or variability is."""
    return (NOISES if name == "noise" else ERRORS)[-points:]


def cases(points: int) -> list[Case]:
    """Return all cases, with controls first, and so many points of each sweep."""
    return [
        Case(None), Case(None, pretrained=False), Case("c-TTv2", pretrained=False),
        Case("SGD"), Case("TTv2"), Case("c-TTv2"),
        *(Case("c-TTv2", noise=noise) for noise in levels("noise", points)),
        *(Case(name, skew=e) for name in BOTH for e in levels("skew", points)),
        *(Case(name, variability=e) for name in BOTH for e in levels("variability", points)),
    ]  # fmt: skip


def rule(case: Case, fast_rate: float) -> Algorithm:
    """Return the algorithm of a case, with its fast cells."""
    fast = CELL.model_copy(update={
        "subtract_symmetry_point": True, "reference": case.skew,
        "reference_spread": case.variability,
    })  # fmt: skip
    buffered: dict[str, Any] = {
        "auto_scale": False, "buffer_granularity": 4, "fast_learning_rate": fast_rate,
        "fast_device": fast,
    }  # fmt: skip
    if case.algorithm == "TTv2":
        return mho.TikiTakaV2(**buffered)
    if case.algorithm == "c-TTv2":
        return mho.ChoppedTikiTaka(**buffered)
    return mho.PulsedSGD() if case.algorithm else mho.Exact()


def of_classes(images: Images, classes: tuple[int, ...]) -> Images:
    """Return the images of some classes, which are numbered anew."""
    x, y = images
    which = torch.isin(y, torch.tensor(classes))
    return x[which], torch.searchsorted(torch.tensor(classes), y[which])


def network(kind: str, seed: int) -> nn.Module:
    """Return a network of five outputs with initial weights of a seed."""
    if kind == "CNN":
        return lenet(seed, len(THEN))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VisionTransformer(WIDTH, len(THEN))


def pretrained(kind: str, size: Size, seed: int) -> nn.Module:
    """Return a network that knows the first classes; its output layer is new."""
    model, fresh = network(kind, seed), network(kind, seed + 1000)
    images = of_classes(training_images(size.images), FIRST)

    def learn() -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, size.before)
        for x, y in batches(images, 2 * BATCH, size.before, seed):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()

    cached(f"five-classes-{kind.lower()}-{size.images}-{size.before}-{seed}", model, learn)
    name = "head" if kind == "transformer" else "9"
    model.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
    return model


@torch.no_grad()
def disturb(model: nn.Module, noise: float, seed: int) -> None:
    """Add noise to the weights, relative to the largest of their layer."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            drawn = torch.randn(module.weight.shape, generator=generator)
            module.weight += noise * module.weight.abs().max() * drawn


def accuracy(kind: str, case: Case, size: Size, seed: int, tests: Images) -> float:
    """Learn the other classes, and test on them."""
    model = pretrained(kind, size, seed) if case.pretrained else network(kind, seed + 1000)
    if case.noise:
        disturb(model, case.noise, seed)
    hardware = mho.override(mho.load("reram-om-2022"), {"cell.device": CELL.model_dump()})
    linear, convolutional = (rule(case, rate) for rate in FAST[kind])
    way = Way(
        "", hardware if case.algorithm else None, linear, RATE,
        convolutions=convolutional if kind == "CNN" else None,
    )  # fmt: skip
    shown = batches(of_classes(training_images(size.images), THEN), BATCH, size.steps, seed)
    train(model, way, shown, size.steps, seed)
    return fashion.accuracy(model, *of_classes(tests, THEN))


def measure(kind: str, size: Size, seed: int) -> Found:
    """Accuracy of each run, for each case."""
    found, tests = Found(size.points), held_out_images(2 * size.tests)
    for case in cases(size.points):
        runs = [accuracy(kind, case, size, seed + run, tests) for run in range(size.runs)]
        found.values[case] = np.array(runs)
        print(f"{kind}, {case}: {100 * found.values[case]}", flush=True)
    return found


def falls(found: Found, algorithm: str, name: str, level: float) -> Mean:
    """Return by how much accuracy falls up to a level of an error, over runs."""
    return Mean.of(found.of(algorithm) - found.of(algorithm, **{name: level}))


def answers(found: Found) -> tuple[str, dict[str, bool]]:
    """Return what was found in words, and which claims hold."""
    chopped, digital = found.of("c-TTv2"), found.of(None)
    scratch = found.of("c-TTv2", pretrained=False)
    claims = {
        "near digital": Mean.of(digital - chopped).value < 0.03,
        "above random weights": Mean.of(chopped - scratch).above(),
        "above SGD": Mean.of(chopped - found.of("SGD")).above(),
        "falls with noise": falls(found, "c-TTv2", "noise", NOISES[-1]).above(),
    }
    said = [
        f"digital {percent(digital)}, from random weights "
        f"{percent(found.of(None, pretrained=False))}; c-TTv2 {percent(chopped)}, from random "
        f"weights {percent(scratch)}; SGD {percent(found.of('SGD'))}; TTv2 "
        f"{percent(found.of('TTv2'))}; c-TTv2 with write noise "
        + ", ".join(f"{n:g}: {percent(found.of('c-TTv2', noise=n))}" for n in found.levels("noise"))
    ]
    for name in ("skew", "variability"):
        both = [falls(found, each, name, ERRORS[-1]) for each in BOTH]
        apart = found.of("c-TTv2", **{name: ERRORS[-1]}) - found.of("TTv2", **{name: ERRORS[-1]})
        claims[f"stands {name} better than TTv2"] = Mean.of(apart).above()
        said.append(
            f"{name} {ERRORS[-1]:g} costs TTv2 {both[0].percent()} and c-TTv2 {both[1].percent()}"
        )
    return "; ".join(said), claims


def draw(found: Found) -> Any:
    """Accuracy over write noise, skew and variability."""
    figure, panels = new_axes(3, width=3.0, sharey=True)
    for axes, name in zip(panels, ("noise", "skew", "variability"), strict=True):
        levels = (0.0, *found.levels(name))
        for color, algorithm in (("C0", "TTv2"), ("C1", "c-TTv2")):
            if name == "noise" and algorithm == "TTv2":
                continue
            means = [Mean.of(100 * found.of(algorithm, **{name: x} if x else {})) for x in levels]
            axes.errorbar(
                levels, [m.value for m in means], [2 * m.error for m in means], fmt="o-",
                color=color, capsize=2, label=algorithm,
            )  # fmt: skip
        axes.axhline(100 * found.of(None).mean(), color="0.5", linewidth=1, label="digital")
        scratch = found.of("c-TTv2", pretrained=False)
        axes.axhline(100 * scratch.mean(), color="C1", linestyle=":", label="from random weights")
        axes.set_xlabel({"noise": "noise of the write"}.get(name, f"{name} of the reference"))
    panels[0].set_ylabel("accuracy on the other classes, %")
    panels[1].legend(frameon=False, fontsize=7)
    return figure


def main() -> None:
    """Transfer each network, and report its row."""
    arguments = options(__doc__, networks=["CNN", "transformer"])
    for kind in arguments.networks:
        found = measure(kind, SIZES[arguments.size], seed=100)
        said, claims = answers(found)
        held = [name for name, holds in claims.items() if holds]
        missed = [name for name, holds in claims.items() if not holds]
        verdict = "reproduced" if not missed else "in part" if held else "not seen"
        verdict += f" (not: {', '.join(missed)})" if held and missed else ""
        claim = f"c-TTv2 fine-tunes a {kind} on arrays and stands errors of its reference"
        key = f"transfer-{kind.lower()}"
        Report(key, claim, f"%: {said}", verdict, draw(found)).publish(arguments.size)


if __name__ == "__main__":
    main()
