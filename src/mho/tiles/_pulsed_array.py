"""A matrix of single devices: what they are for life, and the state that pulses move."""

from typing import Any

import torch
from torch import Tensor

from ..cells import Devices, PulsedDevice
from ..ops import (
    PulsedCells,
    Stream,
    Trains,
    integrate,
    integrate_shuffled,
    normals,
    pulse,
    twin,
)
from ._rest import Rest

WRITE, CYCLE, DIFFUSE, RESET = "write noise", "cycle noise", "diffusion", "reset"


class PulsedArray:
    """Single devices (out, rows) of one kind.

    Attributes:
        device: their response.
        constants: what differs from cell to cell.
        state: between the cells' bounds; the visible weight is the state less the reference, plus
            write noise.
        written: the write noise that is in the visible weight, if the device has any.
        step: number of changes so far, by which draws are known.
        rest: what drift is counted from, once the devices have rested.
    """

    def __init__(self, device: PulsedDevice, constants: Devices, stream: Stream) -> None:
        self.device, self.constants, self.stream = device, constants, stream
        c = constants
        self.state = self._seen(torch.minimum(torch.maximum(c.reference, c.low), c.high))
        self._last_seen = self.state
        self.written = torch.zeros_like(self.state) if device.write_noise else None
        self.step = 0
        self.rest: Rest | None = None

    @property
    def weight(self) -> Tensor:
        """The visible weight."""
        visible = self._seen(self.state) - self.constants.reference
        return visible if self.written is None else visible + self.written

    def write(self, weight: Tensor) -> Tensor:
        """Set the visible weight as nearly as the bounds allow; return which cells took it."""
        wanted = weight.to(self.state) + self.constants.reference
        inside = torch.minimum(torch.maximum(wanted, self.constants.low), self.constants.high)
        self.state = self._seen(inside)
        self._changed(torch.ones_like(self.state, dtype=torch.bool))
        # Adding and taking away the reference rounds.
        return (self.state - wanted).abs() <= 1e-6 * wanted.abs().clamp(min=1.0)

    def integrate(self, up: Tensor, down: Tensor) -> None:
        """Take all pulses of an update at once; see `ops.integrate`."""
        noise = self.step, self.stream.key(CYCLE)
        response, constants = type(self.device), self.device.constants
        if response.landing is None:
            integrate(response.formula, self._cells(), constants, up, down, noise)
        else:
            rules = response.formula, response.landing
            integrate_shuffled(*rules, self._cells(), constants, up, down, noise)
        self._changed(None if self.written is None else (up != 0) | (down != 0))

    def pulse(self, trains: Trains) -> tuple[Tensor, Tensor]:
        """Take the pulses of trains one by one; return how many raised and lowered each cell."""
        up = torch.zeros_like(self.state, dtype=torch.int32)
        down = torch.zeros_like(up)
        noise = self.step, self.stream.key(CYCLE)
        response, constants = type(self.device), self.device.constants
        pulse(response.formula, self._cells(), constants, trains, noise, up, down, response.landing)
        self._changed((up > 0) | (down > 0))
        return up, down

    def move(self, change: Tensor) -> None:
        """Add to the state without pulses; it ends at its bounds."""
        self._set(self.state + change)
        self._changed(change != 0)

    def tick(self) -> None:
        """Let a mini-batch's time pass: decay and diffusion, where the device has them."""
        c = self.constants
        if c.decay is None and c.diffusion is None:
            return
        state = self.state
        if c.decay is not None:
            state = state - (state - c.reset) * c.decay
        if c.diffusion is not None:
            state = state + c.diffusion * self._normals(DIFFUSE)
        self._set(state)
        self._changed(torch.ones_like(self.state, dtype=torch.bool))

    def reset(self, which: Tensor) -> None:
        """Reset the cells of a mask (out, rows) to their own reset states, with reset noise."""
        target = self.constants.reset
        if self.device.reset_noise:
            target = target + self.device.reset_noise * self._normals(RESET)
        c = self.constants
        target = self._seen(torch.minimum(torch.maximum(target, c.low), c.high))
        self.state = torch.where(which, target, self.state)
        self._changed(which)

    def settle(self, rest: Rest) -> None:
        """Take the states that a rest has left."""
        self.state, self.rest = rest.state.clone(), rest

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes."""
        kept: dict[str, Any] = {"state": self.state.clone(), "step": self.step}
        if self.rest is not None:
            kept["rest"] = self.rest.state_dict()
        return kept if self.written is None else {**kept, "written": self.written.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.state, self.step = state["state"].to(self.state).clone(), int(state["step"])
        self._last_seen = self._seen(self.state)
        if self.written is not None:
            self.written = state["written"].to(self.state).clone()
        rest = state.get("rest")
        self.rest = None if rest is None else Rest.of(rest, self.state.device)

    def _cells(self) -> PulsedCells:
        return PulsedCells(self.state, *self.constants[:6])

    def _set(self, state: Tensor) -> None:
        c, land = self.constants, type(self.device).landing
        after = torch.minimum(torch.maximum(state, c.low), c.high)
        if land is not None:
            after = twin(land, "torch")(self.state, after, c.low, c.high, *self.device.constants)
        self.state = after

    def _seen(self, state: Tensor) -> Tensor:
        """Return what of a state is visible."""
        c, visible = self.constants, type(self.device).visible
        if visible is None:
            return state
        return twin(visible, "torch")(state, c.low, c.high, *self.device.constants)

    def _normals(self, purpose: str) -> Tensor:
        shape = (self.state.shape[0], self.state.shape[1])
        return normals(shape, 0, self.step, self.stream.key(purpose), self.state.device)

    def _changed(self, which: Tensor | None) -> None:
        """Draw the write noise of changed cells anew; the next draws are others."""
        if self.written is not None and which is not None:
            if type(self.device).visible is not None:
                seen = self._seen(self.state)
                which, self._last_seen = which & (seen != self._last_seen), seen
            noise = self.device.write_std * self._normals(WRITE)
            self.written = torch.where(which, noise, self.written)
        self.step += 1
