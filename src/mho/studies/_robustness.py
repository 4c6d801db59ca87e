"""How fast does a model lose accuracy under noise on its weights?"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from torch import nn

from ..deploy import Score, own_noise, pooled, scored
from ..errors import RangeError
from ._noise_targets import RelativeTo, Targets, Where, digital, find_targets, kept
from ._robustness_result import Robustness

LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)


def robustness(
    model: nn.Module,
    score: Score,
    noise_levels: Sequence[float] = LEVELS,
    *,
    targets: Targets = "weights",
    relative_to: RelativeTo = "std",
    where: Where | None = None,
    draws: int = 10,
    seed: int = 0,
    chance: float = 0.0,
    workers: int | None = 1,
) -> Robustness:
    """Score a model with white Gaussian noise on its weights, over a sweep of noise levels.

    Every tensor w gets w + n with n ~ N(0, (eta u)^2), where u is by `relative_to` the tensor's own

    - `std`: standard deviation sigma_w, so that eta = 1/SNR and SNR_dB = -20 log10(eta),
    - `max`: largest magnitude, max|w|,
    - `range`: range, max w - min w,

    and the score is normalized to that of the digital model, a_norm = (a - chance) / (a(0) -
    chance). Protocol: Fagbohungbe and Qian, arXiv 2011.11840 (2020), with `std` and a chance of 0.

    `weights` are the Parameters of two or more dimensions but for embeddings and norms,
    `weights+bias` adds the other Parameters of the modules that have such weights, and `all` every
    Parameter and the running statistics of norms. A running variance with noise is reflected at 0,
    |v + n|, so that it stays one. On a converted model the noise is on the digital weights and
    products are exact, with or without a chip; what belongs to the arrays gets none.

    A draw has the same normal numbers at every level, from streams named by seed, tensor and draw,
    so that levels differ by their size alone. A tensor that is used twice is one tensor. The model
    is left as it was, bit for bit.

    Args:
        model: digital or converted.
        score: any callable model -> number, larger is better; it must not train the model.
        noise_levels: eta, each once; at 0 the score is that of the digital model.
        targets: which tensors get noise.
        relative_to: what a level is relative to.
        where: modules whose own tensors get noise, such as `mho.linear`; None: all.
        draws: noisy models for each level.
        seed: of the noise.
        chance: score of guessing. With 0 the normalized score is the plain ratio of the protocol.
        workers: processes; None takes what the surrounding `joblib.parallel_config` says.

    Raises:
        RangeError: a level, count or choice is out of range, or the digital score is not above
            chance.
        DataError: no tensor to put noise on, or a score that is not a finite number.
    """
    levels = checked_levels(noise_levels, relative_to, draws, seed)
    found = [target.about for target in find_targets(model, targets, where)]
    with digital(model), own_noise(seed, "score"):
        reference = scored(model, score)
    if reference <= chance:
        raise RangeError(
            f"the digital score {reference:g} is not above chance = {chance:g}: train the model, "
            "or give the score of guessing as `chance`."
        )
    calls = [
        (model, score, levels, targets, relative_to, where, seed, draw, reference)
        for draw in range(draws)
    ]
    scores = pooled(_one_draw, calls, "drawing noise", workers)
    return Robustness(
        noise_levels=levels,
        scores=np.array(scores),
        digital=reference,
        tensors=tuple(found),
        targets=targets,
        relative_to=relative_to,
        chance=chance,
    )


def checked_levels(
    noise_levels: Sequence[float], relative_to: str, draws: int, seed: int
) -> tuple[float, ...]:
    levels = tuple(float(level) for level in noise_levels)
    if not levels or len(set(levels)) != len(levels):
        raise RangeError(f"noise_levels must be at least one, each once; got {noise_levels!r}.")
    wrong = [level for level in levels if not 0 <= level < float("inf")]
    if wrong:
        raise RangeError(f"a noise level must be finite and at least 0, got {wrong[0]}.")
    if relative_to not in get_args(RelativeTo):
        known = ", ".join(get_args(RelativeTo))
        raise RangeError(f"unknown relative_to {relative_to!r}: use {known}.")
    for name, value, least in (("draws", draws, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RangeError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return levels


def _one_draw(
    model: nn.Module,
    score: Score,
    levels: tuple[float, ...],
    targets: str,
    relative_to: RelativeTo,
    where: Where | None,
    seed: int,
    draw: int,
    reference: float,
) -> list[float]:
    """Score the model at every level of one draw."""
    found, scores = find_targets(model, targets, where), []
    with digital(model), kept(found) as originals:
        for level in levels:
            if level == 0:
                scores.append(reference)
                continue
            for target, original in zip(found, originals, strict=True):
                size = level * target.about.unit(relative_to)
                target.write(original, size * target.noise(seed, draw))
            with own_noise(seed, "score"):
                scores.append(scored(model, score))
    return scores
