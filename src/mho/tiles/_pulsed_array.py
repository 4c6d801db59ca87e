"""A matrix of single devices: what they are for life, and the state that pulses move."""

from typing import Any

import torch
from torch import Tensor

from ..cells import Devices, PulsedDevice
from ..ops import PulsedCells, Stream, Trains, integrate, normals, pulse
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
        self.state = torch.minimum(torch.maximum(c.reference, c.low), c.high)
        self.written = torch.zeros_like(self.state) if device.write_noise else None
        self.step = 0
        self.rest: Rest | None = None

    @property
    def weight(self) -> Tensor:
        """The visible weight."""
        visible = self.state - self.constants.reference
        return visible if self.written is None else visible + self.written

    def write(self, weight: Tensor) -> Tensor:
        """Set the visible weight as nearly as the bounds allow; return which cells took it."""
        wanted = weight.to(self.state) + self.constants.reference
        self.state = torch.minimum(torch.maximum(wanted, self.constants.low), self.constants.high)
        self._changed(torch.ones_like(self.state, dtype=torch.bool))
        # Adding and taking away the reference rounds.
        return (self.state - wanted).abs() <= 1e-6 * wanted.abs().clamp(min=1.0)

    def integrate(self, up: Tensor, down: Tensor) -> None:
        """Take all pulses of an update at once; see `ops.integrate`."""
        noise = self.step, self.stream.key(CYCLE)
        constants = self.device.constants
        integrate(type(self.device).formula, self._cells(), constants, up, down, noise)
        self._changed((up != 0) | (down != 0))

    def pulse(self, trains: Trains) -> tuple[Tensor, Tensor]:
        """Take the pulses of trains one by one; return how many raised and lowered each cell."""
        up = torch.zeros_like(self.state, dtype=torch.int32)
        down = torch.zeros_like(up)
        noise = self.step, self.stream.key(CYCLE)
        pulse(
            type(self.device).formula, self._cells(), self.device.constants, trains, noise, up, down
        )
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
        self._set(torch.where(which, target, self.state))
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
        if self.written is not None:
            self.written = state["written"].to(self.state).clone()
        rest = state.get("rest")
        self.rest = None if rest is None else Rest.of(rest, self.state.device)

    def _cells(self) -> PulsedCells:
        return PulsedCells(self.state, *self.constants[:6])

    def _set(self, state: Tensor) -> None:
        self.state = torch.minimum(torch.maximum(state, self.constants.low), self.constants.high)

    def _normals(self, purpose: str) -> Tensor:
        shape = (self.state.shape[0], self.state.shape[1])
        return normals(shape, 0, self.step, self.stream.key(purpose), self.state.device)

    def _changed(self, which: Tensor) -> None:
        """Draw the write noise of changed cells anew; the next draws are others."""
        if self.written is not None:
            noise = self.device.write_std * self._normals(WRITE)
            self.written = torch.where(which, noise, self.written)
        self.step += 1
