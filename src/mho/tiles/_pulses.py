"""Pulse trains: how inputs and errors become coincidences on cells."""

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..errors import DataError
from ..ops import SLOTS, Key, Trains, UnbuiltRows, bernoulli_words, row_peaks, train_plan
from ..spec import Spec

TINY = 1e-30  # keeps quotients of zero finite
APART = 1 << 23  # samples of an update, at most, between the draws of successive words
Fidelity = Literal["pulse", "batch", "moments"]


class Pulses(Spec):
    """The pulsed update of Gokmen & Vlasov, Front. Neurosci. 10:333 (2016), with management.

    For each sample, x and d become trains of BL slots with chances p_x = B |x|, p_d = A |d| and

        A = B = sqrt(rate / (granularity BL)),  so that  BL p_x p_d granularity = rate |x| |d|

    A coincidence is one pulse. With X = max|x|, D = max|d| and kappa = rate X D / granularity,
    slot management takes BL = min(ceil(kappa), slots), and update management multiplies A by
    sqrt(X / D) and B by sqrt(D / X), so that both sides use the same part of their range (Gokmen
    et al., Front. Neurosci. 11:538, 2017). Where kappa exceeds the slots, D is limited to what
    fits: inputs never saturate, errors do.
    """

    slots: int = Field(default=31, ge=1, le=10_000, description="Most slots BL of a train.")
    train: Literal["stochastic", "mean_count", "implicit", "exact"] = Field(
        default="stochastic",
        description="stochastic: independent bits. mean_count: round(BL p_x) and round(BL p_d) "
        "bits, whose coincidences are their product over BL, rounded. implicit: round(BL p_x p_d) "
        "coincidences. exact: the weight moves by -rate d x and ends at its bounds; no pulses.",
    )
    levels: int | None = Field(
        default=None, ge=1,
        description="Levels of p_x and p_d above 0 where trains are implicit. None: continuous.",
    )  # fmt: skip
    update_management: bool = Field(
        default=True, description="Whether both sides use the same part of their range."
    )
    slot_management: bool = Field(
        default=True, description="Whether trains are as short as the sample allows."
    )
    fidelity: Fidelity = Field(
        default="batch",
        description="pulse: bit by bit and pulse by pulse, in the order of the samples. batch: "
        "exact counts, all pulses of a mini-batch integrated at once. moments: mean and covariance "
        "of the counts instead of trains, integrated likewise.",
    )

    @model_validator(mode="after")
    def _meant(self) -> "Pulses":
        if self.levels is not None and self.train != "implicit":
            raise ValueError(f"levels go with `train: implicit`, not with {self.train!r}")
        if self.fidelity != "batch" and self.train != "stochastic":
            raise ValueError(
                f"fidelity {self.fidelity!r} is about stochastic trains; `train: {self.train}` has "
                "no random bits, so leave fidelity at 'batch'"
            )
        return self


class Plan(NamedTuple):
    """How samples become trains: p = |value| gain, at most 1, in `slots` slots; (n,) each.

    `slots` is BL, 0 where nothing is to do. `saturated` is the share of samples whose largest
    probability was limited, and `limit` the largest rate at which none of them is.
    """

    gain_x: Tensor
    gain_d: Tensor
    slots: Tensor
    saturated: float
    limit: float


def plan(
    x: Tensor | UnbuiltRows, d: Tensor, rate: float, granularity: float, pulses: Pulses
) -> Plan:
    """Return how samples x (n, rows) and d (n, out) become trains at a rate > 0.

    Raises:
        DataError: a sample is not finite.
    """
    most_x = row_peaks(x) if isinstance(x, Tensor) else x.peaks()
    most_d = row_peaks(d)
    gain_x, gain_d, slots, overfull = train_plan(
        most_x, most_d, rate, granularity, pulses.slots,
        by_need=pulses.slot_management, managed=pulses.update_management,
    )  # fmt: skip
    worst = float(overfull.max()) if len(x) else 0.0
    if not math.isfinite(worst) and not bool(torch.isfinite(most_x * most_d).all()):
        raise DataError(
            "inputs or errors of an update are not finite: look for nan or inf in the loss"
        )
    saturated = float((overfull > 1 + 1e-5).float().mean()) if worst > 1 else 0.0
    limit = rate / max(worst, TINY) if len(x) else float("inf")
    return Plan(gain_x, gain_d, slots, saturated, limit)


def probabilities(values: Tensor, gain: Tensor) -> Tensor:
    """Return p (n, lines) of samples."""
    return (values.abs() * gain[:, None]).clamp(max=1.0)


def stochastic_trains(
    x: Tensor, d: Tensor, how: Plan, first: int, step: int, keys: tuple[Key, Key]
) -> Trains:
    """Draw the trains of samples; those longer than a word take several, one after the other.

    A coincidence raises the weight where -d x is positive. The bits of a sample do not depend on
    the others, so an update may come in pieces.

    Args:
        x: (n, rows).
        d: (n, out).
        how: their plan.
        first: number of the first sample in its update, by which draws are known.
        step: number of the update.
        keys: of x and of d.
    """
    slots = how.slots.int()
    words = max(1, -(-int(slots.max()) // SLOTS)) if len(slots) else 1

    def bits(values: Tensor, gain: Tensor, key: Key) -> Tensor:
        parts = [
            bernoulli_words(
                values, gain, (slots - SLOTS * k).clamp(0, SLOTS), first + APART * k, step, key
            )
            for k in range(words)
        ]
        return parts[0] if words == 1 else torch.stack(parts, 1).flatten(0, 1)

    def flags(up: Tensor) -> Tensor:
        return up if words == 1 else up.repeat_interleave(words, 0)

    x_words, d_words = bits(x, how.gain_x, keys[0]), bits(d, how.gain_d, keys[1])
    return Trains(x_words, flags(x > 0), d_words, flags(d < 0))


def mean_shares(values: Tensor, gain: Tensor, how: Plan, pulses: Pulses) -> Tensor:
    """Return the shares of slots whose product with the other side's, times BL, is rounded."""
    p = probabilities(values, gain)
    if pulses.train == "mean_count":
        slots = how.slots[:, None].clamp(min=1.0)
        return (slots * p).round() / slots
    return p if pulses.levels is None else (p * pulses.levels).round() / pulses.levels
