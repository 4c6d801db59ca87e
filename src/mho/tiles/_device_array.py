"""A weight matrix on devices that learn by pulses: the pulsed update, and everything kept of it."""

from typing import Any

import torch
from torch import Tensor

from ..cells import Cell, Device, Devices, OneSidedPair, UnitCell
from ..errors import CheckpointError, DataError, RangeError
from ..mapping import Mapping
from ..ops import Stream
from ._pulsed_array import PulsedArray
from ._pulsed_update import Reduce, Saturation, pulsed_update
from ._pulses import Pulses
from ._rest import Rest, rested
from ._samples import Samples


class DeviceArray:
    """A matrix (out, rows) of cells, each a single device or a unit cell of several.

    Weights are relative. Every draw is known by the stream, a purpose and the number of the update,
    so a run that is resumed from `state_dict` goes on as if it had not stopped.

    Attributes:
        device: how a cell answers pulses.
        arrays: one for each single device of a cell.
        factors: significance of each.
        granularity: mean step of the weight per pulse, at weight 0.
        pulses_up: pulses that each single device got, (devices, out, rows), if they are counted;
            `pulses_down` likewise.
        saturation: of the last update.
    """

    def __init__(
        self,
        device: Device,
        shape: tuple[int, int],
        stream: Stream,
        *,
        count: bool = False,
        target: torch.device | None = None,
    ) -> None:
        self.device, self.shape, self.stream = device, shape, stream
        self.arrays = [
            PulsedArray(single, _moved(cells, target), Stream(stream.seed, f"{stream.tile}/{k}"))
            for k, (single, cells) in enumerate(
                zip(device.singles, device.draw_singles(shape, stream), strict=True)
            )
        ]
        self.factors, self.granularity = device.factors, device.granularity
        self.saturation = Saturation(0.0, float("inf"))
        self.updates = 0
        self.pulses_up = self.pulses_down = None
        if count:
            self.pulses_up = torch.zeros(len(self.arrays), *shape, dtype=torch.int64, device=target)
            self.pulses_down = torch.zeros_like(self.pulses_up)

    @property
    def weight(self) -> Tensor:
        """The visible relative weight (out, rows)."""
        if len(self.arrays) == 1 and self.factors[0] == 1:
            return self.arrays[0].weight
        parts = (f * array.weight for f, array in zip(self.factors, self.arrays, strict=True))
        return sum(parts, torch.zeros((), device=self.arrays[0].state.device))

    def write(self, weight: Tensor) -> float:
        """Write a relative weight without error, as nearly as the cells' bounds allow.

        A unit cell has the same weight in all of its devices, but a fixed policy writes the device
        that is pulsed, the others as they are; a one-sided pair writes one device, the other 0.

        Returns:
            Share of the cells that could not take it.
        """
        if tuple(weight.shape) != self.shape:
            raise DataError(f"weights {tuple(weight.shape)} do not fit an array of {self.shape}")
        if not bool(torch.isfinite(weight).all()):
            raise DataError("weights to write must be finite; look for nan or inf in them")
        weight = weight.detach()
        if isinstance(self.device, OneSidedPair):
            taken = [a.write((f * weight).clamp(min=0.0)) for f, a in self.each()]
        elif isinstance(self.device, UnitCell) and self.device.policy == "fixed":
            which = self.device.fixed
            rest = self.weight - self.factors[which] * self.arrays[which].weight
            taken = [self.arrays[which].write((weight - rest) / self.factors[which])]
        else:
            whole = sum(self.factors)
            if whole == 0:
                raise RangeError(
                    "the significances of the unit cell add up to 0, so equal devices make no "
                    "weight: use `policy: fixed`"
                )
            taken = [array.write(weight / whole) for array in self.arrays]
        return 1.0 - float(torch.stack(taken).all(0).float().mean())

    def update(
        self,
        samples: Samples,
        rate: float,
        pulses: Pulses,
        *,
        first: int = 0,
        reduce: Reduce | None = None,
    ) -> None:
        """Change the weight by -rate sum d x^T in the mean, as far as the devices can.

        Args:
            samples: inputs and errors.
            rate: learning rate in relative weights; a negative one goes the other way.
            pulses: trains and fidelity.
            first: number of this process's first sample, where several share an update.
            reduce: adds up a tensor over processes, in place.

        Raises:
            RangeError: the rate is not finite.
            DataError: samples are not finite.
        """
        if not rate - rate == 0:
            raise RangeError(f"learning rate {rate!r} must be finite")
        if rate == 0:
            return
        if rate < 0:
            samples = samples.signed(outputs=-torch.ones(self.shape[0], device=self.place))
        if pulses.train == "exact":
            self._exact(samples, abs(rate), reduce)
        else:
            self.saturation = pulsed_update(self, samples, abs(rate), pulses, first, reduce)
        self.updates += 1

    def pulse(self, up: Tensor, down: Tensor) -> None:
        """Apply whole numbers of pulses, int32 (out, rows), as an algorithm asks for them."""
        self.apply([(up, down)] * len(self.arrays) if self.together else self._to_one(up, down))
        self.updates += 1

    def tick(self) -> None:
        """Let a mini-batch's time pass: decay and diffusion."""
        for array in self.arrays:
            array.tick()

    def reset(self, rows: Tensor) -> None:
        """Reset all cells of some rows (input lines), given as a mask (rows,)."""
        which = rows.to(self.place).expand(self.shape)
        for array in self.arrays:
            array.reset(which)

    def rested(self, cell: Cell, mapping: Mapping, seconds: float) -> list[Rest]:
        """Return each single device after some more time at rest; see `rested`."""
        return [rested(array, cell, mapping, seconds) for array in self.arrays]

    def settle(self, rests: list[Rest]) -> None:
        """Take over what `rested` returned."""
        for array, rest in zip(self.arrays, rests, strict=True):
            array.settle(rest)

    def apply(self, counts: list[tuple[Tensor, Tensor]]) -> None:
        """Apply pulses that raise and lower the weight, (up, down) for each single device."""
        for k, ((factor, array), (up, down)) in enumerate(zip(self.each(), counts, strict=True)):
            if factor < 0:
                up, down = down, up
            if isinstance(self.device, OneSidedPair):
                down = torch.zeros_like(down)
            array.integrate(up, down)
            self.count(k, up, down)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes: states, counters, and the numbers by which draws are known."""
        kept: dict[str, Any] = {"arrays": [array.state_dict() for array in self.arrays]}
        kept["updates"] = self.updates
        if self.pulses_up is not None and self.pulses_down is not None:
            kept["pulses"] = torch.stack((self.pulses_up, self.pulses_down))
        return kept

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            CheckpointError: it is of another device, shape, or without the same counters.
        """
        shapes = [tuple(each["state"].shape) for each in state["arrays"]]
        if shapes != [self.shape] * len(self.arrays):
            raise CheckpointError(
                f"the checkpoint has devices of shapes {shapes}, this array "
                f"{[self.shape] * len(self.arrays)}: attach the same model and algorithm first"
            )
        counted = "pulses" in state
        if counted != (self.pulses_up is not None):
            raise CheckpointError(
                f"the checkpoint has {'' if counted else 'no '}pulse counters, this array has "
                f"{'none' if counted else 'them'}: attach with count_pulses={counted}"
            )
        noisy = [
            ("written" in each, array.written is not None)
            for each, array in zip(state["arrays"], self.arrays, strict=True)
        ]
        if any(there != here for there, here in noisy):
            raise CheckpointError("the checkpoint is of a device with other write noise")
        for each, array in zip(state["arrays"], self.arrays, strict=True):
            array.load_state_dict(each)
        self.updates = int(state["updates"])
        if counted:
            self.pulses_up, self.pulses_down = state["pulses"].to(self.place).unbind(0)

    @property
    def place(self) -> torch.device:
        """Device of all tensors."""
        return self.arrays[0].state.device

    @property
    def together(self) -> bool:
        """Whether every pulse goes to all devices of a cell, or where its direction says."""
        return not isinstance(self.device, UnitCell) or self.device.policy == "all"

    def each(self) -> list[tuple[float, PulsedArray]]:
        """Significance and array of each single device."""
        return list(zip(self.factors, self.arrays, strict=True))

    def turns(self, n: int, first: int = 0) -> Tensor:
        """Return which device of a unit cell each of n vectors goes to."""
        device, count = self.device, len(self.arrays)
        assert isinstance(device, UnitCell)
        if device.policy == "fixed":
            return torch.full((n,), device.fixed)
        if device.policy == "sequential":
            return (self.updates + first + torch.arange(n)) % count
        draw = self.stream.uniform("device", (first + n,), self.updates)[first:]
        return (draw * count).long()

    def _to_one(self, up: Tensor, down: Tensor) -> list[tuple[Tensor, Tensor]]:
        none = torch.zeros_like(up), torch.zeros_like(down)
        which = int(self.turns(1)[0])
        return [(up, down) if k == which else none for k in range(len(self.arrays))]

    def _exact(self, samples: Samples, rate: float, reduce: Reduce | None) -> None:
        """Move the weight as asked; each device takes its part, up to its bounds."""
        gradient = samples.gradient()
        if gradient is None:
            gradient = torch.zeros(self.shape, device=self.place)
        if reduce is not None:
            reduce(gradient)
        change = -rate * gradient
        parts = self.each() if self.together else [self.each()[int(self.turns(1)[0])]]
        whole = sum(f * f for f, _ in parts)
        for factor, array in parts:
            array.move(change * (factor / whole))

    def count(self, k: int, up: Tensor, down: Tensor) -> None:
        """Count pulses of a single device, if they are counted."""
        if self.pulses_up is not None and self.pulses_down is not None:
            self.pulses_up[k] += up
            self.pulses_down[k] += down


def _moved(cells: Devices, target: torch.device | None) -> Devices:
    return Devices(*(None if value is None else value.to(target) for value in cells))  # pyright: ignore
