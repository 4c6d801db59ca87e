"""Single devices: the fields that every pulse response shares, and the draw of its cells."""

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..ops import Stream
from ._device import Device, Devices
from ._device_draw import Normal, draw_cells
from ._symmetry import crossing


class PulsedDevice(Device):
    """One device. A pulse moves its state v, with xi standard normal.

        up: v <- clip(v + step + spread xi, low, high),  down: the same with - (step + spread xi)

    where `formula` gives (step, spread) from the state and from this cell's constants. The visible
    weight is v (or the part of it that is `visible`) less a reference, plus write noise. All
    spreads are off by default.

    Spreads from cell to cell are drawn once for life, with xi independent standard normal numbers:

        low, high:  low (1 + low_spread xi), high (1 + high_spread xi)
        step sizes: up   |gain + min(asymmetry, 0) + asymmetry_spread xi| step
                    down |gain - max(asymmetry, 0) - asymmetry_spread xi| step  (the same xi)
        gain:       1 + step_spread xi, or exp(step_spread xi) where step_law is log_normal

    The asymmetry weakens one direction and never strengthens the other: positive, it weakens the
    steps down. (The documentation of IBM's aihwkit has a symmetric 1 +- asymmetry instead; its
    code, with which the published devices were fitted, has the one-sided rule, and so has this.)
    Cells are always made consistent: sizes are positive, and bounds lie on both sides of 0.
    Source: M. Rasch et al., AICAS 2021, arXiv 2104.02184; IBM's aihwkit, PulsedDevice.
    """

    step: float = Field(
        default=0.001, gt=0, description="Mean step size over cells, in units of weight."
    )
    step_spread: float = Field(
        default=0.0, ge=0, description="Spread of the step size over cells, relative to step."
    )
    step_law: Literal["normal", "log_normal"] = Field(
        default="normal", description="Law of that spread; if log_normal, step is the median."
    )
    cycle_noise: float = Field(
        default=0.0, ge=0, description="Spread of each pulse's step, relative (cycle to cycle)."
    )
    asymmetry: float = Field(
        default=0.0, gt=-1, lt=1,
        description="Share by which steps down (if positive) or up (if negative) are weaker.",
    )  # fmt: skip
    asymmetry_spread: float = Field(
        default=0.0, ge=0, description="Spread of the asymmetry over cells, relative to step."
    )
    low: float = Field(default=-1.0, description="Mean lower bound of the state, at most 0.")
    high: float = Field(default=1.0, description="Mean upper bound of the state, at least 0.")
    low_spread: float = Field(
        default=0.0, ge=0, description="Spread of the lower bound over cells, relative."
    )
    high_spread: float = Field(
        default=0.0, ge=0, description="Spread of the upper bound over cells, relative."
    )
    stuck: float = Field(default=0.0, ge=0, le=1, description="Share of cells that never move.")
    stuck_range: float | None = Field(
        default=None, gt=0,
        description="Stuck cells lie between minus and plus this, inside of their bounds. None: "
        "anywhere between the bounds.",
    )  # fmt: skip
    write_noise: float = Field(
        default=0.0, ge=0,
        description="Spread of the visible weight about the state, in units of step, drawn anew "
        "whenever a cell is pulsed.",
    )  # fmt: skip
    lifetime: float | None = Field(
        default=None, ge=1,
        description="Mini-batches in which the state decays to its reset state by a factor e. "
        "None does not decay.",
    )  # fmt: skip
    lifetime_spread: float = Field(
        default=0.0, ge=0, description="Spread of the lifetime over cells, relative."
    )
    diffusion: float = Field(
        default=0.0, ge=0, description="Random walk of the state per mini-batch (std)."
    )
    diffusion_spread: float = Field(
        default=0.0, ge=0, description="Spread of the diffusion over cells, relative."
    )
    reset: float = Field(default=0.0, description="Mean state after a reset.")
    reset_spread: float = Field(
        default=0.0, ge=0, description="Spread of that state over cells, in units of weight."
    )
    reset_noise: float = Field(
        default=0.0, ge=0, description="Spread of that state from reset to reset (std)."
    )
    reference: float = Field(
        default=0.0, description="Mean of what is subtracted from the state to give the weight."
    )
    reference_spread: float = Field(
        default=0.0, ge=0, description="Spread of the reference over cells, in units of weight."
    )
    subtract_symmetry_point: bool = Field(
        default=False,
        description="Whether each cell's symmetry point is part of its reference.",
    )

    formula: ClassVar[Callable[..., Any]]
    visible: ClassVar[Callable[..., Any] | None] = None
    """What of a state is visible, if not all: a formula of (state, low, high, *constants)."""
    landing: ClassVar[Callable[..., Any] | None] = None
    """Where a cell rests after a move, if it has jumps: (before, after, low, high, *constants)."""

    @model_validator(mode="after")
    def _consistent(self) -> "PulsedDevice":
        if not self.low < self.high or self.low > 0 or self.high < 0:
            raise ValueError(
                f"low={self.low:g} to high={self.high:g} must contain 0, the weight from which "
                "training starts; move the bounds, and shift the weight with reference"
            )
        return self

    @property
    @abstractmethod
    def constants(self) -> tuple[float | np.ndarray, ...]:
        """What the formula takes after state, direction, size, shape and bounds."""

    @property
    def singles(self) -> tuple["PulsedDevice", ...]:
        """The device itself."""
        return (self,)

    @property
    def factors(self) -> tuple[float, ...]:
        """One: the weight is the device's."""
        return (1.0,)

    @property
    def mean_sizes(self) -> tuple[float, float]:
        """Step sizes (up, down) of the mean cell, before asymmetry."""
        return self.step, self.step

    @property
    def mean_bounds(self) -> tuple[float, float]:
        """Bounds (low, high) of the mean cell."""
        return self.low, self.high

    @property
    def write_std(self) -> float:
        """Standard deviation of the visible weight about the state."""
        return self.write_noise * sum(self.mean_sizes) / 2

    @property
    def granularity(self) -> float:
        """Mean size of a step over both directions, of the mean cell at weight 0."""
        return sum(mean_steps(self)) / 2  # pyright: ignore[reportArgumentType]

    def respond(
        self, cells: Devices, state: np.ndarray, up: bool | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (step, spread) of one pulse on each cell, float64.

        Args:
            cells: as drawn; (out, in) or what broadcasts with the state.
            state: states of the cells.
            up: direction of the pulse, of all or of each.
        """
        low, high, size_up, size_down, shape_up, shape_down = (
            tensor.double().numpy() for tensor in cells[:6]
        )
        size, shape = np.where(up, size_up, size_down), np.where(up, shape_up, shape_down)
        return type(self).formula(state, up, size, shape, low, high, *self.constants)

    def after_pulse(
        self, cells: Devices, state: np.ndarray, up: bool | np.ndarray, xi: np.ndarray | float
    ) -> np.ndarray:
        """Return the states after one pulse on each cell whose noise is xi; see `respond`."""
        low, high = cells.low.double().numpy(), cells.high.double().numpy()
        step, spread = self.respond(cells, state, up)
        move = step + spread * xi
        moved = np.clip(np.where(up, state + move, state - move), low, high)
        land = type(self).landing
        return moved if land is None else land(state, moved, low, high, *self.constants)

    def seen(self, cells: Devices, state: np.ndarray) -> np.ndarray:
        """Return what of the states is visible; the weight is that less the reference."""
        visible = type(self).visible
        if visible is None:
            return state
        low, high = cells.low.double().numpy(), cells.high.double().numpy()
        return visible(state, low, high, *self.constants)

    def symmetry_point(self, cells: Devices) -> np.ndarray:
        """Return the state of each cell at which both steps are equal; nan where there is none.

        A stuck cell's is where it is stuck, since that is what alternating pulses leave behind.
        """
        low, high = (tensor.double().numpy() for tensor in (cells.low, cells.high))
        return crossing(lambda v: self._difference(cells, v), low, high)

    def _difference(self, cells: Devices, state: np.ndarray) -> np.ndarray:
        return self.respond(cells, state, True)[0] - self.respond(cells, state, False)[0]

    def mean_cell(self) -> Devices:
        """Return the cell of which all spreads are zero, shape (1, 1), float64."""
        zero = torch.zeros(1, 1, dtype=torch.float64)
        return draw_cells(self, Normal(zero, lambda _: zero), lambda _: zero + 1)

    def draw(self, shape: tuple[int, int], stream: Stream) -> Devices:
        """Draw the cells of a weight matrix of `shape` (out, in).

        Raises:
            SpecError: a cell has no symmetry point, and the device asks for its subtraction.
        """
        zero = torch.zeros(shape, dtype=torch.float32)
        normal = Normal(zero, lambda purpose: stream.normal(purpose, shape))
        return draw_cells(self, normal, lambda purpose: stream.uniform(purpose, shape))

    def shapes(
        self, low: Tensor, high: Tensor, up: Tensor, down: Tensor, normal: Normal
    ) -> tuple[Tensor, Tensor]:
        """Return the second number per cell and direction, (up, down), that the formula takes.

        Args:
            low: lower bounds.
            high: upper bounds.
            up: step sizes up.
            down: step sizes down.
            normal: draws of standard normal numbers by purpose.
        """
        return torch.zeros_like(up), torch.zeros_like(down)


@lru_cache(maxsize=256)
def mean_steps(device: PulsedDevice) -> tuple[float, float]:
    """Steps (up, down) of the mean cell at weight 0."""
    cell = device.mean_cell()
    at = cell.reference.double().numpy()
    up, down = (device.respond(cell, at, direction)[0] for direction in (True, False))
    return up.item(), down.item()


def check_zero_inside(device: PulsedDevice) -> None:
    """Raise ValueError where a response has no step at state 0, because a bound is there."""
    low, high = device.mean_bounds
    if low == 0 or high == 0:
        raise ValueError(
            f"low={low:g}, high={high:g}: the step is given at state 0, where a bound at which "
            "steps vanish must not be; move the bounds, and shift the weight with reference"
        )
