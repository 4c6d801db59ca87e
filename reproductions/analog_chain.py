"""Does a chain of arrays without converters work, and how far must its layers be partitioned?

The claim (Amin et al., ISCAS 2022, arXiv 2201.12480): from crossbar over difference amplifier and
analog sigmoid neuron to the next crossbar, the drops along the wires add up. A network of
400-120-84-10 fails on one array per layer, and has 94.84 % on MNIST, about 97 % digitally, with
16/8/8 partitions of the inputs and 8/8/1 of the outputs, whose partial sums are averaged by the
amplifiers.

The network here has ternary weights and binary pixels, and is trained with the chain's own product,
in which every partition of a column normalizes by its own conductance, on arrays without wires: one
network for each partition. The digital reference is the one of a single array per layer. Wires come
last, with the trained weights as they are; every network of wires is solved exactly. A control puts
the reference's weights on the finest partition without wires: what normalizing apart costs a
network that was not trained for it.

    python reproductions/analog_chain.py --quick
"""

import hashlib
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from _common import Mean, Report, cached, new_axes, options
from _mnist import digits
from torch import Tensor, nn
from torch.nn import functional as F

import mho

WIDTHS = (400, 120, 84, 10)
GAINS = (30.0, 30.0, 10.0)  # of the amplifiers of each layer, in the authors' simulator
SLOPE = 25465 / 8488  # of the neuron, whose resistors these are there
PARTITIONS = (
    ((1, 1, 1), (1, 1, 1)),
    mho.partition_counts(WIDTHS, 128, 128),
    mho.partition_counts(WIDTHS, 64, 64),
    mho.partition_counts(WIDTHS, 32, 32),
    ((16, 8, 8), (8, 8, 1)),
)
Images = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Size:
    """How much is done."""

    runs: int
    images: int
    tests: int
    epochs: int


SIZES = {"full": Size(3, 60_000, 10_000, 3), "quick": Size(2, 10_000, 1000, 4)}
SIZES["smoke"] = Size(2, 300, 100, 1)


def load(which: str, count: int) -> Images:
    """The first images, cropped to 20 x 20, as pixels of -1 and 1 (count, 400), and classes."""
    x, y = digits(which, count)
    return torch.tensor(np.where(x[:, 4:24, 4:24] > 127, 1.0, -1.0)).flatten(
        1
    ).float(), torch.tensor(y)


class Neuron(nn.Module):
    """An analog sigmoid, followed by one more line at the full drive, for the next layer's bias."""

    def forward(self, x: Tensor) -> Tensor:
        """Amplifier outputs (n, k) to drives (n, k + 1)."""
        return F.pad(torch.sigmoid(SLOPE * x), (0, 1), value=1.0)


class Chain(nn.Sequential):
    """Three layers, each with a row for its bias; scores are the last amplifiers' outputs."""

    def __init__(self) -> None:
        layers = [nn.Linear(n + 1, out, bias=False) for n, out in pairwise(WIDTHS)]
        for layer in layers:
            nn.init.uniform_(layer.weight, -1, 1)
        first, second, third = layers
        bias = nn.ConstantPad1d((0, 1), 1.0)
        super().__init__(bias, first, Neuron(), second, Neuron(), third)


def converted(model: Chain, across: tuple[int, ...], along: tuple[int, ...], wires: bool) -> None:
    """Put a chain on arrays, each layer in so many partitions of its inputs and outputs."""
    preset, rules = mho.load("imac-9nm"), []
    for place, gain, n, out, h, v in zip(
        (1, 3, 5), GAINS, WIDTHS[:-1], WIDTHS[1:], across, along, strict=True
    ):
        size = {"array.rows": math.ceil((n + 1) / h), "array.cols": math.ceil(out / v)}
        changes = {**size, "array.combine.gain": gain}
        own = mho.override(preset, changes if wires else {**changes, "array.wires": None})
        rules.append((str(place), own))
    mho.convert(model, mho.Rules(rules))
    for site, h, v in zip(mho.sites(model), across, along, strict=True):
        partition = site.crossbar.geometry.partition
        assert (len(partition.rows), len(partition.columns)) == (h, v)


def trained(images: Images, size: Size, partition: tuple, seed: int) -> Chain:
    """Train a chain on a partition without wires; Adam at 0.02, falling to 0 on a cosine."""
    torch.manual_seed(seed)
    model, (x, y) = Chain(), images
    state = model.state_dict()
    converted(model, *partition, wires=False)

    def train() -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        clip = mho.Adaptation(clip={"kind": "fixed", "value": 1.0})  # pyright: ignore
        adapted = mho.adapt(model, clip, optimizer)
        steps = torch.cat([torch.randperm(len(x)) for _ in range(size.epochs)]).split(200)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(steps))
        model.train()
        for batch in steps:
            optimizer.zero_grad()
            F.cross_entropy(SLOPE * model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
        adapted.remove()

    settings = Path(__file__).read_text("utf8").partition("def converted")[2].partition("\n@")[0]
    digest = hashlib.sha256((settings + mho.to_yaml(mho.load("imac-9nm"))).encode()).hexdigest()[:8]
    key = f"{digest}-{partition[0][0]}x{partition[1][0]}-{len(x)}x{size.epochs}-{seed}"
    cached(f"analog-chain-{key}", model, train)
    found = Chain()
    found.load_state_dict({key: model.state_dict()[key] for key in state})
    return found


@torch.no_grad()
def on_arrays(model: Chain, tests: Images, partition: tuple, wires: bool) -> tuple[float, Tensor]:
    """Accuracy of a chain on a partition, and the first amplifiers' outputs for 24 images."""
    own = Chain()
    own.load_state_dict(model.state_dict())
    converted(own, *partition, wires=wires)
    mho.program(own.eval(), seed=0)  # cells without errors: solves every network once
    x, y = tests
    score = (own(x).argmax(1) == y).float().mean()
    return float(score), own[1](own[0](x[:24]))


def measure(size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return accuracies and correlations.

    Accuracies (runs, partitions, with wires or without), correlations (runs, partitions), and the
    control's accuracies (runs,).
    """
    images, tests = load("train", size.images), load("t10k", size.tests)
    scores, correlations, controls = [], [], []
    for seed in range(size.runs):
        scores.append([])
        correlations.append([])
        reference = trained(images, size, PARTITIONS[0], seed)
        controls.append(on_arrays(reference, tests, PARTITIONS[-1], False)[0])
        for partition in PARTITIONS:
            model = trained(images, size, partition, seed)
            (with_wires, y), (without, ideal) = (
                on_arrays(model, tests, partition, wires) for wires in (True, False)
            )
            scores[-1].append((with_wires, without))
            both = torch.stack([y.flatten(), ideal.flatten()])
            correlations[-1].append(float(torch.corrcoef(both)[0, 1]))
            print(f"run {seed + 1}, {partition}: {with_wires:.2%}, without wires {without:.2%}")
    return np.array(scores), np.array(correlations), np.array(controls)


def amplifiers(partition: tuple) -> int:
    """How many difference amplifiers a chain takes: one per output and partition of inputs."""
    return sum(h * out for h, out in zip(partition[0], WIDTHS[1:], strict=True))


def draw(scores: np.ndarray, correlations: np.ndarray) -> object:
    """Accuracy and correlation over the partitions."""
    figure, (left, right) = new_axes(2)
    names = [f"{h[0]}x{v[0]}" for h, v in PARTITIONS]
    at = np.arange(len(names))
    for k, label in ((1, "without wires"), (0, "with wires")):
        points = [Mean.of(column) for column in 100 * scores[:, :, k].T]
        y, errors = [p.value for p in points], [p.error for p in points]
        left.errorbar(at, y, errors, fmt="o-", color=f"C{1 - k}", label=label, markersize=4)
    left.axhline(94.84, color="0.5", ls=":", label="published, 16x8")
    left.set_ylabel("accuracy, %")
    left.legend(frameon=False, fontsize="small")
    right.plot(at, correlations.T, "o-", color="C1", markersize=4)
    right.set_ylabel("correlation, layer 1")
    right.set_ylim(0, 1)
    for axes in (left, right):
        axes.set_xticks(at, names)
        axes.set_xlabel("partitions of the first layer, inputs x outputs")
    return figure


def report(scores: np.ndarray, correlations: np.ndarray, controls: np.ndarray) -> list[Report]:
    """Compare with the digital network, and the correlations with their limits."""
    digital, chain = scores[:, 0, 1], scores[:, -1, 0]
    loss, whole = Mean.of(digital - chain), Mean.of(scores[:, 0, 0])
    close, fails = Mean.of(0.03 - (digital - chain)).above(), 1 - whole.value > 0.3
    ladder = correlations.mean(0)
    order = bool((np.diff(correlations, axis=1) > 0).all())
    limits = bool((correlations[:, 0] < 0.5).all() and (correlations[:, 3] > 0.9).all())
    limits = limits and bool((correlations[:, 4] > 0.97).all())
    steps = ", ".join(f"{100 * s:.2f}" for s in scores[:, :, 0].mean(0))
    return [
        Report(
            "analog-chain",
            "one array per layer fails, 16/8/8 x 8/8/1 stays within 3 points of digital",
            f"digitally {100 * Mean.of(digital).value:.2f} %; on the partitions {steps} %; 16/8/8 x"
            f" 8/8/1 loses {loss.percent()} with {amplifiers(PARTITIONS[-1])} amplifiers instead of"
            f" {amplifiers(PARTITIONS[0])}; not trained for it, and without wires, the digital"
            f" network has {100 * controls.mean():.2f} % there",
            "reproduced" if close and fails else "in part" if close or fails else "not seen",
            draw(scores, correlations),
        ),
        Report(
            "correlation-ladder",
            "(ours) with more partitions, the outputs come close to those without wires",
            f"correlations {', '.join(f'{c:.3f}' for c in ladder)}",
            "confirmed" if order and limits else "not confirmed",
        ),
    ]


def main() -> None:
    """Train, partition, solve, and report."""
    size = options(__doc__).size
    for row in report(*measure(SIZES[size])):
        row.publish(size)


if __name__ == "__main__":
    main()
