"""Is a matrix written better by the errors of its products than cell by cell?

The claim (Buechel et al., IEDM 2022, arXiv 2305.16647): gradient-descent programming needs no
high-resolution reads of single cells, makes up for errors of the columns' converters, and so leaves
a smaller error of the products than write and verify, with settings that do not depend on the
weights. The paper's constants are not public, so the pulses, column errors and batch are ours.

Cells have the programming error of phase-change memory (Joshi et al., 2020) on every pulse, and
devices differ by 5 %. Write and verify and gradient descent get as many rounds and as many reads of
the array: one product takes as long as one row of cells, and four of either are made for each row
and round. The tolerance of write and verify is chosen on another chip, for each way to read.

    python reproductions/gradient_programming.py --quick
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _common import Mean, Report, new_axes, options
from torch import Tensor, nn

import mho

BOUND = {64: 5.0, 256: 10.0}  # as the standard deviation of a column's sum grows
NOISE, GAIN, OFFSET = 0.02, 0.03, 0.005
W_MAX = 3.3  # weights end at 3, which leaves cells some room for corrections
PULSE = mho.OneShot(spread=0.05)
TOLERANCES = (0.01, 0.02, 0.04, 0.08)
READS = {
    "the column's converter": {},
    "8 bits over one cell": {"read": {"bits": 8, "bound": 1.0, "noise": NOISE}},
    "the same, zero taken": {
        "read": {"bits": 8, "bound": 1.0, "noise": NOISE}, "auto_zero": True
    },
}  # fmt: skip
GRADIENT = "gradient descent"


@dataclass(frozen=True)
class Size:
    """How much is done."""

    sides: tuple[int, ...]
    chips: int
    rounds: int


SIZES = {
    "full": Size((64, 256), 5, 30),
    "quick": Size((64, 256), 2, 15),
    "smoke": Size((64,), 2, 2),
}


@dataclass(frozen=True)
class Outcome:
    """Relative errors on one chip.

    Attributes:
        product: of the products.
        fitted: of the products after an affine fit of each column.
        weight: of the weights that the cells hold.
        rounds: of gradient descent's own products, round by round.
    """

    product: float
    fitted: float
    weight: float
    rounds: tuple[float, ...]


def hardware(side: int, real: bool) -> mho.Hardware:
    """8-bit converters with column errors and noise, or ideal ones."""
    cell = {
        "kind": "composed",
        "g_max": 25e-6,
        "programming": mho.load("pcm-joshi-2020").cell.programming,
    }
    fields: dict[str, Any] = {
        "cell": cell,
        "mapping": {"kind": "differential", "scaling": "fixed", "w_max": W_MAX},
    }
    if real:
        fields["dac"] = {"bits": 8, "range": {"kind": "fixed", "value": 1.0}}
        fields["adc"] = {
            "bits": 8, "bound": BOUND[side], "gain_spread": GAIN, "offset_spread": OFFSET
        }  # fmt: skip
        fields["noise"] = {"output": NOISE}
    return mho.Hardware(**fields)


def weights(law: str, side: int, seed: int) -> Tensor:
    """A matrix of standard deviation 1, limited to three."""
    g = torch.Generator().manual_seed(seed)
    if law == "normal":
        w = torch.randn(side, side, generator=g)
    else:
        u = 2 * torch.rand(side, side, generator=g) - 1
        w = 3**0.5 * u if law == "uniform" else -(0.5**0.5) * u.sign() * torch.log1p(-u.abs())
    for _ in range(20):  # what is cut off is made up for
        w = (w / w.std()).clamp(-3.0, 3.0)
    return w


def method(name: str, rounds: int, tolerance: float, real: bool) -> mho.ProgrammingMethod:
    """A way to write, with four reads for each row and round."""
    if name == GRADIENT:
        return mho.GradientDescent(pulse=PULSE, iterations=rounds)
    how: dict[str, Any] = READS[name] if real else {}
    return mho.WriteVerify(
        pulse=PULSE, iterations=rounds, tolerance=tolerance, averages=4 if real else 1, **how
    )


@torch.no_grad()
def outcome(side: int, real: bool, law: str, seed: int, how: mho.ProgrammingMethod) -> Outcome:
    """Write a matrix onto a chip and multiply."""
    layer = nn.Linear(side, side, bias=False).eval().requires_grad_(False)
    layer.weight.copy_(weights(law, side, seed))
    mho.convert(layer, hardware(side, real))
    mho.program(layer, seed=seed, method=how)
    (matrix,) = mho.programming_report(layer).matrices
    g = torch.Generator().manual_seed(10_000 + seed)
    x, other = (2 * torch.rand(2000, side, generator=g) - 1 for _ in range(2))
    exact, spread = x @ layer.weight.T, float(layer.weight.square().mean().sqrt()) / W_MAX

    def error() -> float:
        torch.manual_seed(seed)  # noise of the products
        return float((layer(x) - exact).norm() / exact.norm())

    product = error()
    mho.compensate(layer, "affine", [other])
    return Outcome(product, error(), matrix.error / spread, matrix.product_errors)


def best_tolerance(side: int, real: bool, name: str, size: Size) -> float:
    """The tolerance with the smallest error on a chip that nothing else is measured on."""

    def error(tolerance: float) -> float:
        how = method(name, size.rounds, tolerance, real)
        return outcome(side, real, "normal", 900, how).product

    return min(TOLERANCES, key=error)


Found = dict[tuple[int, bool, str], list[Outcome]]


def measure(size: Size) -> Found:
    """Outcomes of all chips for each side, converters and method."""
    found: Found = {}
    for side in size.sides:
        for real in (True, False):
            names = [*(READS if real else list(READS)[:1]), GRADIENT]
            for name in names:
                tolerance = 0.0 if name == GRADIENT else best_tolerance(side, real, name, size)
                how = method(name, size.rounds, tolerance, real)
                runs = [outcome(side, real, "normal", seed, how) for seed in range(size.chips)]
                found[side, real, name] = runs
                print(f"{side}, {'8 bits' if real else 'ideal'}, {name}"
                      f"{f', tolerance {tolerance:g}' if tolerance else ''}: products "
                      f"{Mean.of([r.product for r in runs])}, fitted "
                      f"{Mean.of([r.fitted for r in runs])}, weights "
                      f"{Mean.of([r.weight for r in runs])}", flush=True)  # fmt: skip
    return found


def by_law(size: Size, normal: list[Outcome]) -> dict[str, Mean]:
    """Errors of gradient descent on the largest arrays for each law of the weights."""
    how, side = method(GRADIENT, size.rounds, 0.0, True), size.sides[-1]
    found = {"normal": Mean.of([run.product for run in normal])}
    for law in ("uniform", "Laplace"):
        errors = [outcome(side, True, law, seed, how).product for seed in range(size.chips)]
        found[law] = Mean.of(errors)
        print(f"gradient descent, {law}: {found[law]}", flush=True)
    return found


def gain(found: Found, side: int, real: bool, name: str, what: str = "product") -> Mean:
    """Part of write and verify's error that gradient descent takes away, over chips."""
    ours, theirs = (
        np.array([getattr(r, what) for r in found[side, real, each]]) for each in (GRADIENT, name)
    )
    return Mean.of(1 - ours / theirs)


def draw(found: Found) -> Any:
    """Errors of each method, a dot for each chip; and those of gradient descent by round."""
    figure, (left, right) = new_axes(2, width=4.6, height=3.6)
    names = [*READS, GRADIENT]
    for k, side in enumerate(sorted({key[0] for key in found})):
        for j, real in enumerate((True, False)):
            label, color = f"{side}, {'8 bits' if real else 'ideal'}", f"C{2 * k + j}"
            for y, name in enumerate(names):
                runs = found.get((side, real, name), [])
                values = [100 * r.product for r in runs]
                row = np.full(len(values), y + 0.18 * (2 * k + j - 1.5))
                left.plot(values, row, "o", color=color, markersize=4, alpha=0.7,
                          label=label if name == GRADIENT else None)  # fmt: skip
            paths = np.array([r.rounds for r in found[side, real, GRADIENT]])
            right.plot(100 * paths.mean(0), color=color, label=label)
    left.set_yticks(range(len(names)), [*(f"verify:\n{n}" for n in READS), GRADIENT], fontsize=8)
    left.set_ylim(len(names) - 0.5, -0.5)
    left.set(xlabel="relative error of products, %", xlim=(0, None))
    left.legend(frameon=False, fontsize=8)
    right.set(xlabel="rounds of gradient descent", ylabel="error of its own products, %")
    right.set_ylim(0, None)
    return figure


def report(found: Found, laws: dict[str, Mean]) -> Report:
    """Answer the three parts of the claim."""
    sides = sorted({key[0] for key in found})
    first, *others = READS
    said, wins, vanishes = [], True, True
    for side in sides:
        claim, ideal = gain(found, side, True, first), gain(found, side, False, first)
        rest = ", ".join(
            f"{name}: {gain(found, side, True, name).percent()}"
            f" ({gain(found, side, True, name, 'fitted').percent()} after an affine fit)"
            for name in others
        )
        errors = [
            f"{100 * Mean.of([r.product for r in found[side, True, n]]).value:.1f}"
            for n in (first, GRADIENT)
        ]
        worse = [
            f"{100 * Mean.of([r.weight for r in found[side, True, n]]).value:.1f}"
            for n in (*READS, GRADIENT)
        ]
        said.append(
            f"{side}x{side}: error of products {' to '.join(errors)} %, less by {claim.percent()}"
            f" (ideal converters and reads: {ideal.percent()}); against {rest}; weights' error "
            f"{' / '.join(worse)} %"
        )
        wins &= claim.above(0.2)
        vanishes &= not ideal.above(0.0)
    values = [m.value for m in laws.values()]
    spread = (max(values) - min(values)) / float(np.mean(values))
    listed = ", ".join(f"{law} {100 * m.value:.2f}" for law, m in laws.items())
    said.append(f"by law of weights {listed} %, spread {100 * spread:.1f} %")
    parts = {"less by 20 %": wins, "not with ideal ones": vanishes, "any weights": spread < 0.1}
    missed = [part for part, seen in parts.items() if not seen]
    verdict = "reproduced" if not missed else f"in part: not '{', '.join(missed)}'"
    claim = "products' errors guide programming better than reads of single cells"
    return Report("gradient-programming", claim, "; ".join(said), verdict, draw(found))


def main() -> None:
    """Write by each method, and compare."""
    name = options(__doc__).size
    size = SIZES[name]
    found = measure(size)
    report(found, by_law(size, found[size.sides[-1], True, GRADIENT])).publish(name)


if __name__ == "__main__":
    main()
