"""How accurate is the model over chip instances and times?"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import DataError, RangeError
from ..nn import converted
from ..spec import seconds
from ._compensate import METHODS, check_data, compensate
from ._model import evaluating, exact_products, kept_chip, own_noise
from ._pool import pooled
from ._program import at, erase, program
from ._programming_method import ProgrammingMethod, chosen
from ._result import Evaluation

TIMES = ("1 s", "1 h", "1 d", "30 d", "1 y", "10 y")
Score = Callable[[nn.Module], float]


def evaluate(
    model: nn.Module,
    score: Score,
    *,
    times: Sequence[str | float] = TIMES,
    instances: int = 10,
    seed: int = 0,
    method: ProgrammingMethod | str | dict[str, Any] = "direct",
    compensation: str = "global",
    batches: Iterable[Any] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    chance: float | None = None,
    workers: int | None = 1,
) -> Evaluation:
    """Score chip instances of a converted model at several times.

    Instance i is the chip of seed `seed + i`; `mho.program(model, seed=seed + i, method=method)`
    makes it again.
    Every score has noise of its own that is a function of seed, instance and time, so the table is
    the same for any number of workers and any order of the times. The model is left as it was.

    Args:
        model: a converted (and, if its ranges ask for it, calibrated) model.
        score: any callable model -> number, larger is better; it must not train the model.
        times: since programming.
        instances: chips to make.
        seed: seed of the first chip.
        method: how the cells get their weights; see `mho.program`.
        compensation: what `mho.compensate` does before each score.
        batches: data for `compensation="affine"`, or `"columns"`.
        forward: how to run a batch of that data.
        chance: score of guessing, for the normalized accuracy.
        workers: processes; None takes what the surrounding `joblib.parallel_config` says, so a
            Ray or Dask backend spreads the instances over machines.

    Raises:
        LifecycleError: the model is not converted or not calibrated.
        SpecError: an unknown method, or the hardware lacks what it needs.
        RangeError: no instance, no time, or an unknown compensation.
        DataError: a score is not a finite number.
    """
    moments = tuple(seconds(time) for time in times)
    _check(moments, instances, compensation, batches)
    how = chosen(method)
    converted(model)
    data = list(batches) if batches is not None else None
    with evaluating(model), kept_chip(model):
        with exact_products(model), own_noise(seed, "digital"):
            digital = scored(model, score)
        seeds = tuple(range(seed, seed + instances))
        settings = (compensation, data, forward)
        scores = chip_scores(model, score, moments, seeds, *settings, method=how, workers=workers)
    return Evaluation(
        times=moments,
        seeds=seeds,
        scores=scores,
        digital=digital,
        compensation=compensation,
        chance=chance,
    )


def _check(
    moments: tuple[float, ...], instances: int, compensation: str, batches: Iterable[Any] | None
) -> None:
    if not moments or len(set(moments)) != len(moments):
        raise RangeError(f"times must be at least one, each once; got {len(moments)}.")
    if isinstance(instances, bool) or not isinstance(instances, int) or instances < 1:
        raise RangeError(f"instances must be a whole number of at least 1, got {instances!r}.")
    if compensation not in METHODS:
        raise RangeError(f"unknown compensation {compensation!r}: use {', '.join(METHODS)}.")
    check_data(compensation, batches)
    if isinstance(batches, Tensor):
        raise DataError("batches must be an iterable of batches: write [x] for a single batch x.")


def chip_scores(
    model: nn.Module,
    score: Score,
    moments: tuple[float, ...],
    seeds: Sequence[int],
    compensation: str,
    data: list[Any] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    *,
    method: ProgrammingMethod | str = "direct",
    workers: int | None = 1,
) -> NDArray[np.float64]:
    """Return the score of each chip instance at each time, (instances, times).

    The model is in eval mode, and is left with another chip: see `evaluating` and `kept_chip`.
    """
    settings = (compensation, data, forward, chosen(method))
    calls = [(model, score, moments, seed, *settings) for seed in seeds]
    return np.array(pooled(_instance, calls, "evaluating chips", workers))


def _instance(
    model: nn.Module,
    score: Score,
    moments: tuple[float, ...],
    seed: int,
    compensation: str,
    data: list[Any] | None,
    forward: Callable[[nn.Module, Any], Any] | None,
    method: ProgrammingMethod,
) -> list[float]:
    """Score one chip at every time."""
    erase(model)  # the chip before this one need not be kept meanwhile
    program(model, seed=seed, method=method)
    scores = []
    for moment in moments:
        at(model, moment)
        with own_noise(seed, moment, "compensate"):
            compensate(model, compensation, data, forward=forward)  # pyright: ignore[reportArgumentType]
        with own_noise(seed, moment, "score"):
            scores.append(scored(model, score))
    return scores


def scored(model: nn.Module, score: Score) -> float:
    """Return the model's score as a finite number, or raise DataError."""
    value: Any = score(model)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f"score(model) returned {value!r}; a number is needed.") from None
    if not math.isfinite(number):
        raise DataError(f"score(model) returned {value!r}; a finite number is needed.")
    return number
