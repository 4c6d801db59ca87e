"""Which conductances should stand for a weight, so that the error over a chip's life is least?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cells import Cell
from ..deploy import progress
from ..errors import DataError, RangeError, SpecError
from ..mapping import Differential, Mapping, Pairs
from ..ops import Stream
from ..spec import seconds
from ..tiles import Hardware, load
from ._mapping_result import OptimizedMapping
from ._mapping_tables import Cube

TIMES = ("1 s", "1 h", "1 d", "30 d", "1 y")
Compensation = Literal["global", "none"]


def optimize_mapping(
    cell: Cell | Hardware | str | Path,
    weights: Tensor | Iterable[Tensor],
    *,
    pairs: int = 1,
    bins: int = 6,
    times: Sequence[str | float] = TIMES,
    compensation: Compensation = "global",
    scaling: Literal["column", "tile"] = "column",
    samples: int = 1000,
    population: int = 10,
    generations: int = 60,
    instances: int = 10,
    seed: int = 0,
) -> OptimizedMapping:
    """Search the table of conductances with the smallest error of the weights over time.

    What is made small is the mean over the times of

        sqrt(mean (a(t) w(t) - w)^2 / mean w^2),   a(t) = mean |w(0)| / mean |w(t)|

    (a = 1 without compensation), with w(t) what programmed cells show after drift and 1/f noise.
    All candidates have the same draws. The answer is given on other chips, the seeds after `seed`,
    beside that of differential pairs which are filled one after another, where the search starts.
    Noise of the converters is not part of it: a table that uses less of the cells' range makes
    smaller signals, see `slope` of the result.

    Source: C. Mackin et al., Nat. Commun. 13:3765 (2022), with SciPy's differential evolution
    (Storn and Price, J. Glob. Optim. 11:341, 1997; best1bin, mutation 0.5 to 1, recombination 0.7).

    Args:
        cell: the cell, or hardware, a preset or a file with it.
        weights: matrices (out, ...) whose weights, relative to what `scaling` says, make the
            distribution.
        pairs: pairs of devices for each weight.
        bins: weights from 0 to 1 at which the table has an entry; it is straight in between.
        times: since programming.
        compensation: `global` or `none`.
        scaling: what maps to the largest conductances: the largest |w| of each column or matrix.
        samples: weights that stand for the distribution, its quantiles.
        population: candidates for each coordinate of the search.
        generations: how many at most; it ends earlier when all candidates are equally good.
        instances: chips that the answer is measured on.
        seed: of the search and of its chip.

    Raises:
        SpecError: the cell is a signed one, or a time is none.
        DataError: no weights, or weights that are not finite.
        RangeError: a number out of range, or no such compensation or scaling.
    """
    from scipy.optimize import differential_evolution

    _check(pairs, bins, samples, population, generations, instances, compensation, scaling)
    found = _cell(cell)
    moments = tuple(seconds(time) for time in times)
    if not moments:
        raise RangeError("give at least one time, such as times=['1 d'].")
    w = _quantiles(weights, scaling, samples)
    cube = Cube(pairs, bins, scaling)
    baseline: Mapping = Differential(scaling=scaling)
    if pairs > 1:
        baseline = Pairs(scaling=scaling, factors=(1.0,) * pairs)

    chip = _Remembered(seed, "mapping")

    def loss(point: NDArray[np.float64]) -> float:
        return float(np.mean(errors(cube.table(point), found, w, moments, compensation, chip)))

    bar = progress(range(generations), "optimizing the mapping", generations)
    next(bar)
    result: Any = differential_evolution(
        loss, [(0.0, 1.0)] * cube.dimensions, x0=cube.plain(), popsize=population,
        maxiter=generations, polish=False, tol=0.0, atol=1e-6,
        callback=lambda *_: next(bar, None) and False,
        seed=seed,  # pyright: ignore[reportCallIssue] - newer versions call it rng
    )  # fmt: skip
    bar.close()
    best = cube.table(result.x)
    chips = [Stream(number, "mapping") for number in range(seed + 1, seed + 1 + instances)]
    ours, theirs = (
        np.array([errors(m, found, w, moments, compensation, each) for each in chips])
        for m in (best, baseline)
    )
    return OptimizedMapping(
        mapping=best,
        baseline=baseline,
        times=moments,
        errors=ours,
        baseline_errors=theirs,
        loss=float(result.fun),
        evaluations=int(result.nfev),
        compensation=compensation,
    )


@dataclass(frozen=True)
class _Remembered(Stream):
    """A stream that keeps its draws, because every candidate asks for the same ones."""

    kept: dict[Any, Tensor] = field(default_factory=dict, compare=False)

    def normal(self, purpose: str, shape: tuple[int, ...], step: int | float = 0) -> Tensor:
        """Standard normal numbers of `shape`."""
        key = (purpose, shape, step)
        if key not in self.kept:
            self.kept[key] = super().normal(purpose, shape, step)
        return self.kept[key]


def errors(
    mapping: Mapping,
    cell: Cell,
    w: Tensor,
    times: Sequence[float],
    compensation: str,
    stream: Stream,
) -> list[float]:
    """Return the relative error of weights (n,) on one chip at each time; see above."""
    state = cell.program(mapping.encode(w[None, :], cell.g_min, cell.g_max), stream)

    def shown(time: float) -> Tensor:
        g = cell.conductance(state, time, stream)
        return mapping.decode(g, cell.g_min, cell.g_max)[0, 0].double()

    size, fresh, found = w.double().square().mean(), shown(0.0).abs().mean(), []
    for time in times:
        now = shown(time)
        gain = fresh / now.abs().mean() if compensation == "global" and now.any() else 1.0
        found.append(float(((gain * now - w).square().mean() / size).sqrt()))
    return found


def _cell(source: Cell | Hardware | str | Path) -> Cell:
    hardware = load(source) if isinstance(source, str | Path) else source
    cell = hardware.cell if isinstance(hardware, Hardware) else hardware
    if cell.signed:
        raise SpecError(
            "a cell of signed conductance stands for a whole pair already, so there is no table of "
            "its devices to optimize; use another cell."
        )
    return cell


def _quantiles(weights: Tensor | Iterable[Tensor], scaling: str, samples: int) -> Tensor:
    """Return relative weights, evenly spaced quantiles of all of them, (samples,)."""
    relative = []
    for weight in (weights,) if isinstance(weights, Tensor) else weights:
        matrix = weight.detach().float().cpu()
        if matrix.dim() < 2 or not matrix.numel() or not torch.isfinite(matrix).all():
            raise DataError(
                f"weights of shape {tuple(weight.shape)} are no finite matrix (out, ...)."
            )
        matrix = matrix.flatten(1)
        scale = matrix.abs().amax(1, keepdim=True) if scaling == "column" else matrix.abs().max()
        relative.append((matrix / torch.where(scale > 0, scale, 1.0)).flatten())
    values = torch.cat(relative) if relative else torch.zeros(0)
    if not values.any():
        raise DataError("there are no weights other than 0 to optimize a mapping for.")
    ranks = np.linspace(0, 1, samples)
    return torch.from_numpy(np.quantile(values.numpy(), ranks).astype(np.float32))


def _check(
    pairs: int, bins: int, samples: int, population: int, generations: int, instances: int,
    compensation: str, scaling: str,
) -> None:  # fmt: skip
    least = {
        "pairs": (pairs, 1), "bins": (bins, 2), "samples": (samples, 2),
        "population": (population, 5), "generations": (generations, 1), "instances": (instances, 1),
    }  # fmt: skip
    for name, (value, smallest) in least.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise RangeError(
                f"{name} must be a whole number of at least {smallest}, got {value!r}."
            )
    if compensation not in ("global", "none"):
        raise RangeError(f"unknown compensation {compensation!r}: use global or none.")
    if scaling not in ("column", "tile"):
        raise RangeError(f"unknown scaling {scaling!r}: use column or tile.")
