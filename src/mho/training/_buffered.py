"""From a fast array over a digital buffer to a slow one: what Tiki-Taka's later versions share."""

from pydantic import Field
from torch import Tensor

from ..tiles import Samples
from ._algorithm import FastAlgorithm, follow
from ._state import Matrix, State
from ._suggest import Seen, Setting
from ._transfer import is_due, next_columns, read_columns, write_columns


class BufferedTransfer(FastAlgorithm):
    """Gradients gather on A; what its columns show is summed in H; H's whole steps pulse C.

        A <- A + pulsed(-r d x^T),  r = fast_learning_rate slots eps_A / (m_x m_d)
        H_j <- H_j + (lambda / b) A e_j for the columns j of a transfer
        n = trunc(H), limited to -1 ... 1: n pulses on C; where n is not 0, H <- momentum H

    eps is the granularity of an array, m_x and m_d are running means of max|x| and max|d| of a
    mini-batch (rate 1 - auto_momentum), so that a step makes a stated number of pulses, whatever
    the scale of the gradient. lambda is transfer_learning_rate lr. The threshold is

        b = buffer_granularity eps_A auto_granularity / p,  p = in transfer_every / columns

    with p the steps between two reads of a column, so that how fast C follows does not depend on
    the size of the matrix; with auto_granularity = 0 it is buffer_granularity eps_A.

    Source: T. Gokmen, Front. Artif. Intell. 4:699148 (2021); M. Rasch et al., Nat. Commun. 15:7133
    (2024), arXiv 2303.04721.
    """

    fast_learning_rate: float = Field(
        default=0.1, gt=0,
        description="Learning rate of A: the share of all slots that is pulsed where both x and d "
        "are largest (auto_scale), else relative to the optimizer's learning rate.",
    )  # fmt: skip
    auto_scale: bool = Field(
        default=True, description="Whether A's learning rate follows the size of x and d."
    )
    auto_momentum: float = Field(
        default=0.99, ge=0, lt=1, description="Momentum of their running means, per step."
    )
    transfer_learning_rate: float = Field(
        default=1.0, gt=0,
        description="Learning rate of H, relative to the optimizer's learning rate.",
    )  # fmt: skip
    scale_transfer: bool = Field(
        default=True,
        description="Whether H follows the optimizer's learning rate, or has a constant one.",
    )
    transfer_every: int = Field(
        default=1, ge=1, strict=True, description="Optimizer steps between transfers."
    )
    columns: int | None = Field(
        default=None, ge=1, strict=True,
        description="Columns of one transfer. None: all, as a mini-batch is many vectors; "
        "published results read one after each vector.",
    )  # fmt: skip
    buffer_granularity: float = Field(
        default=1.0, gt=0, description="Threshold of the buffer in steps of A's cells."
    )
    auto_granularity: float = Field(
        default=0.0, ge=0,
        description="Steps of the optimizer over which one step of A makes one step of the buffer, "
        "at learning rate 1; 0 for a threshold that is the same for all matrices.",
    )  # fmt: skip
    momentum: float = Field(
        default=0.0, ge=0, lt=1, description="What the buffer keeps of itself after a pulse."
    )
    forget_buffer: bool = Field(
        default=True,
        description="Whether the buffer begins anew after a pulse, or loses the pulse only, "
        "H <- H - (1 - momentum) n.",
    )
    gamma: float = Field(
        default=0.0, ge=0, lt=1, description="Significance of A in the visible weight, C + gamma A."
    )

    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """All of the weight is on C; A and H begin at zero."""
        state = State(matrix)
        state.arrays["A"] = self.fast_array(matrix, "A")
        state.arrays["C"] = matrix.array("C")
        state.cut = state.arrays["C"].write(weight)
        state.zeros("H")
        return state

    def weight(self, state: State) -> Tensor:
        """See `Algorithm`."""
        weight = state.arrays["C"].weight
        if not self.gamma:
            return weight
        return weight + self.gamma * self.unchopped(state, state.arrays["A"].weight)

    def unchopped(self, state: State, fast: Tensor) -> Tensor:
        """Return weights (out, in) of A with the signs of the gradient."""
        return fast

    def chopped(self, state: State, samples: Samples) -> Samples:
        """Return samples with the signs that A is to see."""
        return samples

    def update(self, state: State, samples: Samples, lr: float) -> None:
        """See `Algorithm`."""
        rate = self._follow(state, samples, lr)
        if rate:
            follow(state, "A", self.chopped(state, samples), rate)
        if not is_due(state, self.transfer_every):
            return
        columns = next_columns(state, "transfer", self.columns)
        signal = self.signal(state, columns, read_columns(state, "A", columns))
        if signal is not None:
            self._write(state, columns, signal, lr)
        self.after_read(state, columns)

    def signal(self, state: State, columns: Tensor, y: Tensor) -> Tensor | None:
        """Return what a read of columns y (out, columns) tells about the gradient, or None."""
        return y

    def after_read(self, state: State, columns: Tensor) -> None:
        """Do what follows the read of some columns."""

    def threshold(self, state: State) -> float:
        """Return b, the relative weight of A that is one step of the buffer at lambda = 1."""
        granularity = self.buffer_granularity * state.arrays["A"].granularity
        if not self.auto_granularity:
            return granularity
        inputs = state.matrix.shape[1]
        period = inputs * self.transfer_every / min(self.columns or inputs, inputs)
        return granularity * self.auto_granularity / period

    def _write(self, state: State, columns: Tensor, signal: Tensor, lr: float) -> None:
        rate = self.transfer_learning_rate * (lr if self.scale_transfer else 1.0)
        H = state.tensors["H"]
        buffer = H[:, columns] + signal * (rate / self.threshold(state))
        n = buffer.trunc().clamp(-1, 1)
        rest = self.momentum * buffer if self.forget_buffer else buffer - (1 - self.momentum) * n
        H[:, columns] = rest.where(n != 0, buffer)
        write_columns(state.arrays["C"], columns, n)

    def _follow(self, state: State, samples: Samples, lr: float) -> float | None:
        """Update the running means of the largest x and d; return the rate of A."""
        largest = state.largest(samples)
        if not min(largest):
            return None
        for name, value in zip(("largest x", "largest d"), largest, strict=True):
            mean = state.numbers.get(name, value)
            state.numbers[name] = mean + (1 - self.auto_momentum) * (value - mean)
        means = state.numbers["largest x"], state.numbers["largest d"]
        return self.gradient_rate(state, means, lr)

    def gradient_rate(self, state: State, largest: tuple[float, float], lr: float) -> float | None:
        """See `Algorithm`."""
        if not self.auto_scale:
            return self.fast_learning_rate * lr / state.matrix.scale
        size = largest[0] * largest[1]
        slots, granularity = state.matrix.pulses.slots, state.arrays["A"].granularity
        return self.fast_learning_rate * slots * granularity / size if size else None

    def without_saturation(self, part: float, lr: float) -> str:
        """See `Algorithm`."""
        if not self.auto_scale:
            return super().without_saturation(part, lr)
        now = self.fast_learning_rate
        return f"a fast_learning_rate of at most about {now * part:.2g} (now {now:.2g})"

    def settings(self, seen: tuple[Seen, ...], lr: float) -> list[Setting]:
        """Let A average over a sweep of its columns, and C follow as gradient descent would.

        A forgets in tau steps, so it shows r G tau for a mean gradient G, with its relative rate r.
        C has the speed of lr where transfer_learning_rate lr eps r tau / (b p) = lr / scale.
        """
        if not self.auto_scale:
            return []
        fast = min(1.0, min(self._averaging(each) for each in seen))
        wanted = []
        for each in seen:
            rate = fast * each.slots * each.granularity / (each.largest[0] * each.largest[1])
            steps = max(1.0, min(each.memory / each.pulses(rate), 1e3 * self._period(each)))
            factor = 1.0 if self.scale_transfer else 1 / lr
            wanted.append(self.transfer_learning_rate * factor * each.scale * rate * steps)
        granularity = sorted(wanted)[len(wanted) // 2] / self.buffer_granularity
        return [
            Setting("fast_learning_rate", fast, "A then remembers a sweep of its columns"),
            Setting("auto_granularity", granularity, "C then follows as fast as lr says"),
        ]

    def _period(self, seen: Seen) -> float:
        """Return the steps between two reads of a column."""
        inputs = seen.shape[1]
        return inputs * self.transfer_every / min(self.columns or inputs, inputs)

    def _averaging(self, seen: Seen) -> float:
        """Return the fast_learning_rate at which a cell gets, in a sweep, what it can remember."""
        full = seen.slots * seen.granularity / (seen.largest[0] * seen.largest[1])
        remembered = min(seen.memory, seen.states / 2)
        return remembered / (self._period(seen) * seen.pulses(full))
