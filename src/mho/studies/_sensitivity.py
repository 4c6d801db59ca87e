"""What hurts a model on its hardware, effect by effect and layer by layer."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from ..deploy import (
    Forward,
    Score,
    chip_scores,
    effects,
    evaluating,
    exact_products,
    kept_chip,
    mvm_error,
    normalized_accuracy,
    one_bar,
    own_noise,
    progress,
    scored,
)
from ..errors import RangeError
from ..nn import sites
from ..spec import seconds
from ..tiles import Hardware
from ._arrays import on_arrays, with_hardware
from ._search import crossing
from ._sensitivity_result import NONE, LayerSensitivity, MatchedEffect, Sensitivity, Tolerance
from ._strength import ORDER, alone, in_words, strength

Part = Literal["effects", "tolerances", "layers"]
PARTS: tuple[Part, ...] = ("effects", "tolerances", "layers")
MATCH, RELAX = (2.0**-10, 2.0**10), (2.0**-6, 2.0**6)
MATCH_STEPS, VECTORS = 6, 64


def sensitivity(
    model: nn.Module,
    score: Score,
    hardware: Hardware | str | Path | None = None,
    *,
    parts: Sequence[Part] = PARTS,
    time: str | float = "1 h",
    compensation: str = "global",
    chance: float = 0.0,
    target_error: float = 0.15,
    threshold: float = 0.99,
    matrix: tuple[int, int] = (512, 512),
    instances: int = 5,
    steps: int = 4,
    seed: int = 0,
    batches: Iterable[Any] | None = None,
    forward: Forward | None = None,
    workers: int | None = 1,
) -> Sensitivity:
    """Tell which effects and layers cost a model its accuracy, and how far one can relax them.

    With A* the normalized accuracy (`mho.normalized_accuracy`) over chip instances:

    - `effects`: each effect alone, scaled until `mho.mvm_error` of a random matrix is
      `target_error`; 1 - A* then says what an effect costs at equal error.
    - `tolerances`: from the given hardware, one effect scaled until A* falls to `threshold`. Where
      A* is below it from the start, the effect is scaled down instead.
    - `layers`: 1 - A* with one weight matrix alone on arrays, and the rise of A* with it alone
      digital; and the fewest matrices, in the order of that rise, that bring A* to the threshold
      when they stay digital.

    Method: Rasch et al., Nat. Commun. 14:5282 (2023), sensitivity analysis. What an effect's
    strength is, is listed in docs/studies.md. All scores are of the same chips with the same noise,
    so that differences are those of the hardware. The search doubles or halves and then bisects
    `steps` times, to a factor of 2^(2^-steps); with E effects and L matrices that asks for up to
    (1 + E (7 + steps) + 2 L + log2 L) x `instances` scores. The model is left as it was.

    Args:
        model: digital, to be on `hardware` meanwhile; or converted to one hardware.
        score: any callable model -> number, larger is better; it must not train the model.
        hardware: the value, or a preset's name or path; None: that of a converted model.
        parts: which of the three to do.
        time: since programming.
        compensation: what `mho.compensate` does before each score.
        chance: score of guessing, for A*.
        target_error: the common relative L2 error.
        threshold: A* at which a model is good enough.
        matrix: (out, rows) of the random matrix.
        instances: chips for each score.
        steps: bisections of a tolerance.
        seed: of the first chip.
        batches: data to calibrate a digital model with, and for `compensation="affine"`.
        forward: how to run a batch of that data.
        workers: processes, as in `mho.evaluate`.

    Raises:
        ConversionError: the model is converted to several values of hardware, or to another.
        DataError: ranges need data and there is none, or a score is not a finite number.
        RangeError: an argument is out of range, or the digital score is not above chance.
    """
    _check(parts, target_error, threshold, instances, steps, seed)
    data = None if batches is None else list(batches)
    with on_arrays(model, hardware, data, forward) as given, evaluating(model), kept_chip(model):
        affine = data if compensation == "affine" else None
        settings = (seconds(time), compensation, affine, forward)
        seeds = tuple(range(seed, seed + instances))
        with exact_products(model), own_noise(seed, "digital"):
            digital = scored(model, score)
        if digital <= chance:
            raise RangeError(
                f"the digital score {digital:g} is not above chance = {chance:g}: train the model, "
                "or give the score of guessing as `chance`."
            )
        study = _Study(model, score, given, seeds, digital, chance, threshold, workers, *settings)
        scores = study.scores(given)
        found = _run(study, scores, parts, target_error, matrix, steps)
    return Sensitivity(
        digital=digital,
        scores=scores,
        absent=tuple(name for name in ORDER if name not in effects(given)),
        target_error=target_error,
        threshold=threshold,
        chance=chance,
        time=settings[0],
        compensation=compensation,
        **found,
    )


@dataclass(frozen=True)
class _Study:
    """A model on arrays, and how it is scored."""

    model: nn.Module
    score: Score
    given: Hardware
    seeds: tuple[int, ...]
    digital: float
    chance: float
    threshold: float
    workers: int | None
    time: float
    compensation: str
    data: list[Any] | None
    forward: Forward | None

    def scores(self, hardware: Hardware, exempt: frozenset[str] = frozenset()) -> np.ndarray:
        """Return the score of each chip on this hardware, with some weights digital."""
        score = _Exempt(self.score, exempt) if exempt else self.score
        settings = (self.compensation, self.data, self.forward)
        with with_hardware(self.model, hardware):
            found = chip_scores(
                self.model, score, (self.time,), self.seeds, *settings, workers=self.workers
            )
        return found[:, 0]

    def star(self, scores: np.ndarray) -> float:
        """Return the mean A*."""
        return float(normalized_accuracy(scores, self.digital, self.chance).mean())


@dataclass(frozen=True)
class _Exempt:
    """A score with some weights digital."""

    score: Score
    names: frozenset[str]

    def __call__(self, model: nn.Module) -> float:
        """Score the model."""
        with exact_products(model, self.names):
            return self.score(model)


def _run(
    study: _Study,
    scores: np.ndarray,
    parts: Sequence[str],
    target_error: float,
    matrix: tuple[int, int],
    steps: int,
) -> dict[str, Any]:
    """Do the parts that are asked for, under one progress bar."""
    present = list(effects(study.given))
    jobs: list[tuple[str, Callable[[], Any]]] = []
    if "effects" in parts:
        jobs += [("matched", lambda n=n: _match(study, n, target_error, matrix)) for n in present]
    if "tolerances" in parts:
        jobs += [("tolerances", lambda n=n: _tolerate(study, n, scores, steps)) for n in present]
    if "layers" in parts:
        names = [site.name for site in sites(study.model)]
        jobs += [("layers", lambda n=n: _layer(study, n, names)) for n in names]
    found: dict[str, Any] = {"matched": [], "tolerances": [], "layers": []}
    with closing(progress(jobs, "studying sensitivity", len(jobs))) as bar:
        for part, job in bar:
            with one_bar():
                found[part].append(job())
    found["matched"].sort(key=lambda e: -study.star(-e.scores) if e.scores.size else math.inf)
    found["tolerances"].sort(key=lambda t: t.multiple if t.multiple > 0 else math.inf)
    found["layers"].sort(key=lambda layer: -layer.exempt.mean())
    least = None
    if "layers" in parts:
        least = _fewest_digital(study, [layer.name for layer in found["layers"]], scores)
    return {**{key: tuple(value) for key, value in found.items()}, "digital_layers": least}


# The three parts ----------------------------------------------------------------------------------


def _match(study: _Study, name: str, target: float, matrix: tuple[int, int]) -> MatchedEffect:
    """Scale one effect alone until the error of a product is the target, and score it."""
    law = strength(study.given, name)
    if isinstance(law, str):
        return MatchedEffect(name, math.nan, math.nan, "", NONE, law)
    only_it, errors = alone(study.given, name), {}

    def excess(m: float) -> float:
        found = mvm_error(
            law.scaled(only_it, m),
            out=matrix[0],
            rows=matrix[1],
            vectors=VECTORS,
            times=[study.time],
            compensation=study.compensation,
            instances=1,
            seed=study.seeds[0],
        )
        errors[m] = float(found.mean[0])
        return errors[m] - target

    largest = min(MATCH[1], law.limit(only_it))
    found = crossing(excess, smallest=MATCH[0], largest=largest, steps=MATCH_STEPS)
    m = min((m for m in found if m is not None), key=lambda m: abs(errors[m] - target))
    setting = in_words(law.settings(only_it, m))
    if None in found:
        end = "most" if found.above is None else "least"
        note = f"out of reach: at {end} {errors[m]:.1%}, at {m:.4g}x"
        return MatchedEffect(name, math.nan, errors[m], setting, NONE, note)
    scores = study.scores(law.scaled(only_it, m))
    return MatchedEffect(name, m, errors[m], setting, scores)


def _tolerate(study: _Study, name: str, scores: np.ndarray, steps: int) -> Tolerance:
    """Scale one effect of the given hardware until A* is at the threshold."""
    law = strength(study.given, name)
    if isinstance(law, str):
        return Tolerance(name, math.nan, math.nan, "", NONE, law)
    known = {1.0: scores}

    def shortfall(m: float) -> float:
        if m not in known:
            known[m] = study.scores(law.scaled(study.given, m))
        # An infinitesimal more than the threshold itself is asked for by no one.
        return study.threshold - study.star(known[m]) - 1e-12

    largest = min(RELAX[1], max(law.limit(study.given), 1.0))
    below, above = crossing(shortfall, smallest=RELAX[0], largest=largest, steps=steps)
    if below is None:
        assert above is not None
        note = f"not alone: A* is {study.star(known[above]):.2%} with {above:.2g}x of it"
        return Tolerance(name, 0.0, above, "", NONE, note)
    note = f"A* is {study.star(known[below]):.2%} there"
    setting = in_words(law.settings(study.given, below))
    return Tolerance(name, below, above or math.inf, setting, known[below], note)


def _layer(study: _Study, name: str, names: list[str]) -> LayerSensitivity:
    """Score the model with one weight matrix alone on arrays, and with it alone digital."""
    sizes = {site.name: site.weight.numel() for site in sites(study.model)}
    return LayerSensitivity(
        name=name,
        share=sizes[name] / sum(sizes.values()),
        alone=study.scores(study.given, frozenset(names) - {name}),
        exempt=study.scores(study.given, frozenset({name})),
    )


def _fewest_digital(study: _Study, ranked: list[str], scores: np.ndarray) -> tuple[str, ...]:
    """Return the shortest beginning of the ranking that reaches the threshold when digital."""
    low, high = -1, len(ranked)  # all of them are the digital model, which has an A* of 1
    while high - low > 1:
        middle = (low + high) // 2
        found = study.scores(study.given, frozenset(ranked[:middle])) if middle else scores
        low, high = (low, middle) if study.star(found) >= study.threshold else (middle, high)
    return tuple(ranked[:high])


def _check(
    parts: Sequence[str], target: float, threshold: float, instances: int, steps: int, seed: int
) -> None:
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts or isinstance(parts, str):
        raise RangeError(f"parts must be some of {', '.join(PARTS)}; got {parts!r}.")
    for name, share in (("target_error", target), ("threshold", threshold)):
        if not 0 < share < 1:
            raise RangeError(f"{name} must be above 0 and below 1, got {share!r}.")
    for name, value, least in (("instances", instances, 1), ("steps", steps, 0), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RangeError(f"{name} must be a whole number of at least {least}, got {value!r}.")
