"""The pulsed update of a weight matrix, in the three fidelities of `Pulses`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..cells import OneSidedPair
from ..errors import DataError
from ..ops import (
    SLOTS,
    Key,
    Trains,
    UnbuiltRows,
    add_coincidences,
    add_patch_coincidences,
    add_rounded_products,
    normals,
)
from ._pulses import Plan, Pulses, mean_shares, plan, probabilities, stochastic_trains
from ._samples import Samples

if TYPE_CHECKING:
    from ._device_array import DeviceArray

Reduce = Callable[[Tensor], None]
"""Adds up a tensor over processes, in place."""


class Saturation(NamedTuple):
    """What an update lost to limits.

    `share` of its samples had a probability limited to 1; none of them has up to a rate of `limit`.
    `swing` is the largest number of pulses of a cell, over those that cross its range: above
    `SWING`, the order of pulses matters, which fidelities other than `pulse` do not keep.
    """

    share: float
    limit: float
    swing: float = 0.0


SWING = 0.25
"""Up to here `batch` and `moments` keep means to 0.3 % of the range; see docs/training.md."""


class _Piece(NamedTuple):
    """Samples of one piece, how they become trains, and which go to the device at hand."""

    x: Tensor
    d: Tensor
    how: Plan
    first: int
    which: Tensor | None

    def of(self, values: Tensor) -> Tensor:
        return values if self.which is None else values[self.which]


def pulsed_update(
    array: "DeviceArray",
    samples: Samples,
    rate: float,
    pulses: Pulses,
    first: int = 0,
    reduce: Reduce | None = None,
) -> Saturation:
    """Pulse an array's devices as samples x, d ask for at a rate > 0; see `DeviceArray.update`."""
    if pulses.fidelity == "pulse" and reduce is not None:
        raise DataError(
            "fidelity 'pulse' takes samples one after the other and cannot share an update over "
            "processes: use 'batch'"
        )
    moments = pulses.fidelity == "moments"
    if moments and array.pulses_up is not None:
        raise DataError(
            "pulses are counted exactly, but fidelity 'moments' has only means of their numbers: "
            "use 'batch', or do not count pulses"
        )
    dtype = torch.float32 if moments else torch.int32
    devices = 1 if array.together else len(array.arrays)
    shape = (devices, 4 if moments else 2, *array.shape)
    totals = torch.zeros(shape, dtype=dtype, device=array.place)
    seen, limited, limit = first, 0.0, float("inf")
    in_one = pulses.train == "stochastic" and pulses.fidelity == "batch" and array.together
    for x, d in samples.pieces(unbuilt=in_one):
        how = plan(x, d, rate, array.granularity, pulses)
        limited, limit = limited + how.saturated * len(x), min(limit, how.limit)
        trains, keys = None, (array.stream.key("x trains"), array.stream.key("d trains"))
        if isinstance(x, UnbuiltRows):
            if _add_unbuilt(x, d, how, seen, array.updates, keys, totals[0]):
                seen += len(x)
                continue
            x = x.built()
        if pulses.train == "stochastic" and not moments:
            trains = stochastic_trains(x, d, how, seen, array.updates, keys)
        turns = None if array.together else array.turns(len(x), seen).to(x.device)
        for k in range(devices):
            piece = _Piece(x, d, how, seen, None if turns is None else turns == k)
            if trains is None:
                add = _add_moments if moments else _add_means
                add(array, totals[k], piece, pulses)
            elif pulses.fidelity == "pulse":
                _one_by_one(array, k, _only(trains, piece))
            else:
                add_coincidences(_only(trains, piece), *totals[k])
        seen += len(x)
    swing = 0.0 if pulses.fidelity == "pulse" else _apply(array, totals, reduce)
    return Saturation(limited / max(seen - first, 1), limit, swing)


def _add_unbuilt(
    x: UnbuiltRows, d: Tensor, how: Plan, first: int, step: int, keys: tuple[Key, Key],
    total: Tensor,
) -> bool:  # fmt: skip
    """Add counts without building x or trains; return whether that was possible."""
    slots = how.slots.int()
    if int(slots.max()) > SLOTS:
        return False
    gains = how.gain_x, how.gain_d
    return add_patch_coincidences(x, d, gains, slots, first, step, keys, *total)


def _only(trains: Trains, piece: _Piece) -> Trains:
    if piece.which is None:
        return trains
    which = piece.which.repeat_interleave(len(trains.x) // max(len(piece.which), 1))
    return Trains(*(t[which] for t in trains))


def _one_by_one(array: "DeviceArray", k: int, trains: Trains) -> None:
    targets = list(enumerate(array.each())) if array.together else [(k, array.each()[k])]
    for index, (factor, single) in targets:
        own = trains if factor > 0 else trains._replace(d_up=~trains.d_up)
        up, down = single.pulse(_raising(own) if _one_sided(array) else own)
        array.count(index, up, down)


def _one_sided(array: "DeviceArray") -> bool:
    return isinstance(array.device, OneSidedPair)


def _raising(trains: Trains) -> Trains:
    """Return the trains without what lowers: a sample becomes two, in which all bits raise."""
    x, d = (
        torch.stack((words * up, words * ~up), 1).flatten(0, 1)
        for words, up in ((trains.x, trains.x_up), (trains.d, trains.d_up))
    )
    return Trains(x, torch.ones_like(x, dtype=torch.bool), d, torch.ones_like(d, dtype=torch.bool))


def _add_means(array: "DeviceArray", total: Tensor, piece: _Piece, pulses: Pulses) -> None:
    how = piece.how
    x, d = (
        mean_shares(piece.x, how.gain_x, how, pulses),
        mean_shares(piece.d, how.gain_d, how, pulses),
    )
    means = Trains(*(piece.of(t) for t in (x, piece.x > 0, d, piece.d < 0)))
    add_rounded_products(means, piece.of(how.slots), *total)


def _add_moments(array: "DeviceArray", total: Tensor, piece: _Piece, pulses: Pulses) -> None:
    """Add means and variances of the counts, with the covariance between cells of a line.

    A coincidence of bits a, b with chances p, q is p q + q (a - p) + p (b - q) + (a - p)(b - q).
    Summed over slots, the first three terms come from the number of bits in each train, a normal
    number of their mean and variance; the last is uncorrelated between cells, with the variance
    BL p (1 - p) q (1 - q).
    """
    how, step, first = piece.how, array.updates, piece.first
    slots = piece.of(how.slots)[:, None]

    def train(values: Tensor, gain: Tensor, up: Tensor, purpose: str) -> tuple[Tensor, ...]:
        chance = probabilities(values, gain)
        shape = (chance.shape[0], chance.shape[1])
        xi = normals(shape, 0, step, array.stream.key(purpose), chance.device, first)
        p, xi = piece.of(chance), piece.of(xi)
        variance = slots * p * (1 - p)
        return p, slots * p + variance.sqrt() * xi, variance, 2.0 * piece.of(up) - 1

    p, bits_x, variance_x, sign_x = train(piece.x, how.gain_x, piece.x > 0, "x trains")
    q, bits_d, variance_d, sign_d = train(piece.d, how.gain_d, piece.d < 0, "d trains")
    left = torch.cat((q, bits_d - slots * q))
    right = torch.cat((bits_x, p))
    spread = variance_d / slots.clamp(min=1.0)
    whole, net = left.T @ right, (left * sign_d.repeat(2, 1)).T @ (right * sign_x.repeat(2, 1))
    rest, rest_net = spread.T @ variance_x, (spread * sign_d).T @ (variance_x * sign_x)
    total += torch.stack((whole + net, whole - net, rest + rest_net, rest - rest_net)) / 2


def _apply(array: "DeviceArray", totals: Tensor, reduce: Reduce | None) -> float:
    """Apply the counts (or moments) of all samples; return `Saturation.swing`."""
    if reduce is not None:
        reduce(totals)
    if totals.shape[1] == 4:
        xi = [
            normals(array.shape, k, array.updates, array.stream.key("counts"), array.place)
            for k in range(2 * len(totals))
        ]
        noise = torch.stack(xi).unflatten(0, (-1, 2))
        totals = totals[:, :2] + noise * totals[:, 2:].clamp(min=0.0).sqrt()
    counts = [(up, down) for up, down in totals]
    array.apply(counts * len(array.arrays) if array.together else counts)
    states = (array.device.high - array.device.low) / array.granularity
    return float((totals[:, 0] + totals[:, 1]).amax()) / states
