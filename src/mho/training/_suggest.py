"""Learning rates and granularities that fit a model, its data and its devices, with reasons."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..cells import Device
from ..errors import DataError, LifecycleError, SpecError
from ..nn import Recorder, Site
from ..spec import render_table
from ..tiles import Pulses
from ._layers import Where, check_sites, chosen, scale_for

if TYPE_CHECKING:
    from ._algorithm import Algorithm

Loss = Callable[[Any, Tensor], Tensor]
QUANTILE = 0.99
"""Share of the vectors that are to have all the pulses that they ask for."""


@dataclass(frozen=True)
class Seen:
    """What batches show of one weight matrix, per mini-batch where not said otherwise.

    Attributes:
        name: of the weight.
        shape: (out, in).
        scale: weight that a relative weight of 1 stands for.
        granularity: step of a cell, in relative weight.
        states: steps from bound to bound.
        memory: pulses in which a cell forgets by a factor e; inf if it does not.
        slots: of the trains.
        largest: max|x| and max|d|.
        product: max|x| max|d| that `QUANTILE` of the vectors do not exceed.
        traffic: mean over cells of sum_n |d_n x_n|.
    """

    name: str
    shape: tuple[int, int]
    scale: float
    granularity: float
    states: float
    memory: float
    slots: int
    largest: tuple[float, float]
    product: float
    traffic: float

    @property
    def saturates(self) -> float:
        """Learning rate of the arrays at which the first vectors' trains are full.

        kappa = (lr / scale) max|x| max|d| / granularity reaches the slots.
        """
        return self.scale * self.slots * self.granularity / self.product

    def pulses(self, rate: float) -> float:
        """Return the mean pulses per cell and mini-batch at a relative rate."""
        return rate * self.traffic / self.granularity


@dataclass(frozen=True)
class Setting:
    """One suggestion: a name, its value, and the reason."""

    name: str
    value: float
    why: str


@dataclass(frozen=True)
class Suggestion:
    """What `Algorithm.suggest` returns; prints as tables.

    Attributes:
        lr: learning rate for the optimizer, which fits all matrices.
        settings: of the algorithm.
        seen: what this is derived from, for each matrix.
    """

    lr: float
    settings: tuple[Setting, ...]
    seen: tuple[Seen, ...]

    def __str__(self) -> str:
        rows = [
            (
                seen.name,
                f"{seen.largest[0]:.3g}",
                f"{seen.largest[1]:.3g}",
                f"{seen.scale:.3g}",
                f"{seen.granularity * seen.scale:.2g}",
                f"{seen.states:.0f}",
                f"{seen.saturates:.2g}",
                f"{seen.pulses(self.lr / seen.scale):.2g}",
            )
            for seen in self.seen
        ]
        header = (
            "matrix", "max|x|", "max|d|", "scale", "step", "states", "full at lr", "pulses at lr"
        )  # fmt: skip
        table = render_table("what the batches show", header, rows)
        lines = [f"{s.name} = {s.value:.2g}: {s.why}" for s in self.settings]
        return "\n".join([table, *lines])


def suggest(
    algorithm: "Algorithm",
    model: nn.Module,
    batches: Iterable[tuple[Any, Tensor]],
    loss: Loss | None,
    lr: float | None,
    pulses: Pulses | None,
    where: Where | None,
    fill: float,
) -> Suggestion:
    """See `Algorithm.suggest`."""
    found = [site for site in chosen(model, where) if site.weight.requires_grad]
    if not found:
        raise LifecycleError("all analog weights are frozen: there is nothing to train.")
    check_sites(model, found)
    pulses = pulses or Pulses()
    seen = tuple(_observe(algorithm, model, found, batches, loss or _loss, pulses, fill))
    fits = min(each.saturates for each in seen)
    narrow = min(seen, key=lambda each: each.saturates).name
    settings = []
    if lr is None:
        lr = fits
        settings.append(
            Setting("lr", lr, f"the largest at which {QUANTILE:.0%} of the vectors of {narrow} fit "
                    f"into {pulses.slots} slots")
        )  # fmt: skip
    settings += algorithm.settings(seen, lr)
    return Suggestion(lr, tuple(settings), seen)


def _loss(output: Any, target: Tensor) -> Tensor:
    if target.is_floating_point():
        return F.mse_loss(output, target)
    return F.cross_entropy(output, target)


def _observe(
    algorithm: "Algorithm",
    model: nn.Module,
    found: list[Site],
    batches: Iterable[tuple[Any, Tensor]],
    loss: Loss,
    pulses: Pulses,
    fill: float,
) -> list[Seen]:
    """Run the batches forward and backward; weights and gradients stay as they are."""
    kept = {id(p): p.grad for p in model.parameters()}
    recorders, was = [Recorder(site.crossbar.geometry) for site in found], model.training
    products: list[list[Tensor]] = [[] for _ in found]
    most, traffic, count = [[0.0, 0.0] for _ in found], [0.0] * len(found), 0
    try:
        model.train()
        for site, recorder in zip(found, recorders, strict=True):
            site.crossbar.recorder = recorder
        for p in model.parameters():
            p.grad = None  # it would be added to in place
        for x, y in batches:
            count += 1
            loss(model(x), y).backward()
            for k, recorder in enumerate(recorders):
                for record in recorder.take():
                    for v, d in record.chunks():
                        v, d = v.abs(), d.abs()
                        top = v.amax(1), d.amax(1)
                        products[k].append((top[0] * top[1]).cpu())
                        most[k] = [
                            max(m, float(t.max())) for m, t in zip(most[k], top, strict=True)
                        ]
                        traffic[k] += float((v.mean(1) * d.mean(1)).sum())
    finally:
        for site in found:
            site.crossbar.recorder = None
        for p in model.parameters():
            p.grad = kept[id(p)]
        model.train(was)
    if not count:
        raise DataError("there are no batches: give some (inputs, targets), as in training.")
    return [
        _seen(algorithm, site, torch.cat(products[k]), most[k], traffic[k] / count, pulses, fill)
        for k, site in enumerate(found)
    ]


def _seen(
    algorithm: "Algorithm",
    site: Site,
    products: Tensor,
    most: list[float],
    traffic: float,
    pulses: Pulses,
    fill: float,
) -> Seen:
    hardware, geometry = site.crossbar.hardware, site.crossbar.geometry
    device: Device | None = getattr(algorithm, "fast_device", None) or hardware.cell.device
    if device is None:
        raise SpecError(
            f"{site.name}: its hardware does not say how a cell answers pulses: give "
            "`cell: {device: ...}`."
        )
    asked = products[products > 0].double()
    if not len(asked):
        raise DataError(f"{site.name}: no errors came back to it; does the loss depend on it?")
    return Seen(
        name=site.name,
        shape=(geometry.out, geometry.rows),
        scale=hardware.mapping.w_max or scale_for(site.matrix, hardware.cell.device, fill),
        granularity=device.granularity,
        states=(device.high - device.low) / device.granularity,
        memory=memory(device),
        slots=pulses.slots,
        largest=(most[0], most[1]),
        product=float(asked.sort().values[min(len(asked) - 1, int(QUANTILE * len(asked)))]),
        traffic=traffic,
    )


def memory(device: Device) -> float:
    """Return after how many pulses, half up and half down, a mean cell forgets by a factor e.

    Pulses drive a cell to where steps up and down are equal, at a rate that is the slope of half
    their difference. inf where the slope is none; half of all states for cells of several devices.
    """
    singles = device.singles
    if singles != (device,):
        return (device.high - device.low) / device.granularity / 2
    cell, span = singles[0].mean_cell(), (device.high - device.low) / 1000

    def difference(shift: float) -> float:
        at = (cell.reference + shift).double().numpy()
        up, down = (singles[0].respond(cell, at, way)[0] for way in (True, False))
        return float((up - down).item()) / 2

    slope = (difference(span) - difference(-span)) / (2 * span)
    return -1 / slope if slope < 0 else float("inf")
