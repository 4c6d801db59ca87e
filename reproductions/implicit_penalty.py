"""Which function does stochastic gradient descent by pulses minimize?

The claim (Wu et al., NeurIPS 2024, arXiv 2406.12774, and NeurIPS 2025, arXiv 2502.06309, theorem
1): where steps fall linearly to bounds at -tau and tau, it converges not to the minimum of the loss
f but to that of f(w) + Sigma / (2 tau) w^2, Sigma being the mean size of the gradient's noise,
wherever it begins and however small the learning rate. Tiki-Taka and residual learning do not.

Here f = (w - 0.4)^2 / 2 with Gaussian noise of standard deviation s on its gradient, so
Sigma = s sqrt(2 / pi) and the weight should end at 0.4 / (1 + Sigma / tau). Each cell of an array
is one experiment of its own.

    python reproductions/implicit_penalty.py --quick
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _common import Mean, Report, new_axes, options
from _in_memory import descend
from torch import Tensor

import mho
from mho.cells import SoftBounds
from mho.training import Algorithm

GOAL = 0.4
NOISES = (0.125, 0.25, 0.5)
STARTS = (-0.6, 0.9)
TAUS = (1.0, 2.0, 4.0)
RATE = 0.002
RATES = (0.032, 0.008, 0.002)
HARDEST = 1.0, 0.5  # tau and s at which learning rates and algorithms are compared
TRANSFER = 0.1  # learning rate of transfers, relative to that of the gradient
ALGORITHMS = ("pulsed SGD", "Tiki-Taka", "residual learning")


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        cells: experiments of each setting.
        spans: duration, in units of 1 / learning rate; the second half is averaged.
    """

    cells: int
    spans: float


SIZES = {"full": Size(100, 12.0), "quick": Size(30, 6.0), "smoke": Size(4, 0.05)}


def algorithm(name: str, rate: float) -> Algorithm:
    """Return an algorithm whose transfers are as slow in proportion at every learning rate."""
    return {
        "pulsed SGD": mho.PulsedSGD(),
        "Tiki-Taka": mho.TikiTaka(columns=None, transfer_learning_rate=TRANSFER),
        "residual learning": mho.ResidualLearning(beta=TRANSFER * rate),
    }[name]


def settle(
    name: str, tau: float, noises: Tensor, starts: Tensor, rate: float, spans: float, seed: int
) -> np.ndarray:
    """Return the mean weight of each cell over the second half of a run, (cells,).

    Pulses are half as large as the learning rate, so that most of the weight's own spread comes
    from the noise of the gradient.
    """
    device = SoftBounds(step=rate / 2, low=-tau, high=tau, cycle_noise=0.3)
    generator, one = torch.Generator().manual_seed(seed), torch.ones(1, 1)

    def vectors(weight: Tensor) -> tuple[Tensor, Tensor]:
        noise = noises * torch.randn(len(noises), generator=generator)
        return one, (weight[:, 0] - GOAL + noise)[None]

    rule, steps = algorithm(name, rate), max(4, round(spans / rate))
    total = torch.zeros(len(noises), dtype=torch.float64)
    for step, state in descend(rule, device, starts[:, None], vectors, steps, rate, seed=seed):
        if step > steps // 2:
            total += rule.weight(state)[:, 0]
    return (total / (steps - steps // 2)).numpy()


def law(size: Size) -> dict[tuple[float, float, float], Mean]:
    """Weights of pulsed SGD for each (tau, noise, start)."""
    found = {}
    for seed, tau in enumerate(TAUS):
        settings = [(s, w) for s in NOISES for w in STARTS]
        noises, starts = torch.tensor(settings).repeat_interleave(size.cells, 0).T
        weights = settle("pulsed SGD", tau, noises, starts, RATE, size.spans, seed)
        for (s, w), values in zip(settings, weights.reshape(len(settings), -1), strict=True):
            found[tau, s, w] = Mean.of(values)
            ratio = values.mean() / expected(tau, s)
            print(f"tau {tau:g}, s {s:g}, from {w:g}: {found[tau, s, w]}, {ratio:.3f} of the law")
    return found


def removed(size: Size) -> dict[tuple[str, float], Mean]:
    """Distance of the weight from the minimum of f, for each algorithm and learning rate."""
    (tau, s), found = HARDEST, {}
    noises = torch.full((2 * size.cells,), s)
    for name in ALGORITHMS:
        for seed, rate in enumerate(RATES, len(TAUS)):
            # The transfers make a slower loop, so there it lasts longer.
            spans = size.spans * (1 if name == "pulsed SGD" else 4)
            starts = torch.full_like(noises, GOAL)
            weights = settle(name, tau, noises, starts, rate, spans, seed)
            found[name, rate] = Mean.of(GOAL - weights)
            print(f"{name}, learning rate {rate:g}: distance {found[name, rate]}")
    return found


def expected(tau: float, s: float) -> float:
    """Minimum of f(w) + Sigma / (2 tau) w^2."""
    return GOAL / (1 + s * math.sqrt(2 / math.pi) / tau)


def draw(found: dict[tuple[float, float, float], Mean], rest: dict[tuple[str, float], Mean]) -> Any:
    """Left: the penalty that was found over the law's. Right: the distance that is left."""
    figure, (left, right) = new_axes(2)
    for k, start in enumerate(STARTS):
        for tau, colour in zip(TAUS, ("C0", "C1", "C2"), strict=True):
            x = [s * math.sqrt(2 / math.pi) / tau for s in NOISES]
            y = [GOAL / found[tau, s, start].value - 1 for s in NOISES]
            left.plot(x, y, "ox"[k], color=colour, label=f"tau {tau:g}, from {start:g}")
    end = max(NOISES) * math.sqrt(2 / math.pi) / min(TAUS)
    left.plot([0, end], [0, end], color="0.5", linewidth=1, zorder=0)
    left.set(xlabel="Sigma / tau", ylabel="0.4 / w - 1")
    left.legend(frameon=False, fontsize=7)
    for name in ALGORITHMS:
        means = [rest[name, rate] for rate in RATES]
        values, errors = [m.value for m in means], [2 * m.error for m in means]
        right.errorbar(RATES, values, errors, fmt="o-", capsize=2, label=name)
    right.axhline(GOAL - expected(*HARDEST), color="0.5", linewidth=1, zorder=0)
    right.set(xscale="log", xlabel="learning rate", ylabel="0.4 - w at tau 1, s 0.5")
    right.set_ylim(bottom=0)
    right.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    right.minorticks_off()
    right.legend(frameon=False, fontsize=7)
    return figure


def main() -> None:
    """Run all cells, and compare with the law."""
    size = options(__doc__).size
    found, rest = law(SIZES[size]), removed(SIZES[size])
    off = {key: mean.value / expected(*key[:2]) - 1 for key, mean in found.items()}
    worst = max(off.values(), key=abs)
    apart = max(abs(found[t, s, STARTS[0]].value - found[t, s, STARTS[1]].value)
                for t in TAUS for s in NOISES)  # fmt: skip
    x, y = np.array([
        (s * math.sqrt(2 / math.pi) / t, GOAL / mean.value - 1) for (t, s, _), mean in found.items()
    ]).T  # fmt: skip
    slope = float(x @ y / (x @ x))
    least = {name: rest[name, RATES[-1]] for name in ALGORITHMS}
    share = {name: least[name].value / least["pulsed SGD"].value for name in ALGORITHMS[1:]}
    falls = all(
        rest[name, RATES[0]].value - least[name].value
        > 2 * math.hypot(rest[name, RATES[0]].error, least[name].error)
        for name in share
    )
    ours = (
        f"within {100 * abs(worst):.1f} % of the law in all {len(found)} settings, whatever the "
        f"start (apart by at most {apart:.4f}); penalty = {slope:.3f} Sigma / tau. Of the distance "
        f"{least['pulsed SGD'].value:.4f} at learning rate {RATES[-1]:g}, "
        + " and ".join(f"{name} leaves {100 * value:.1f} %" for name, value in share.items())
    )
    holds = abs(worst) < 0.02
    gone = falls and max(share.values()) < 0.1
    verdict = "reproduced" if holds and gone else "in part" if holds or gone else "not seen"
    claim = "pulsed SGD minimizes f + Sigma / (2 tau) w^2; Tiki-Taka and residual learning f"
    Report("implicit-penalty", claim, ours, verdict, draw(found, rest)).publish(size)


if __name__ == "__main__":
    main()
