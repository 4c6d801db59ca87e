"""The analog recurrent cells: one step of one layer."""

from typing import Any

from torch import Tensor, nn

from ..errors import DataError
from ..tiles import Geometry, Hardware
from ._layer import Analog, biased, dense
from ._recurrence import GATES, State


class _Cell(Analog):
    """One step: two products, and the gates."""

    @staticmethod
    def layouts(module: Any, hardware: Hardware) -> dict[str, Geometry]:
        """See `Analog.layouts`."""
        shapes = {"weight_ih": module.weight_ih.shape, "weight_hh": module.weight_hh.shape}
        return {name: dense(out, rows, hardware) for name, (out, rows) in shapes.items()}

    def _step(self: Any, mode: str, x: Tensor, state: State | None, states: int) -> State:
        """Advance by one step; inputs and states are (batch, features) or (features,)."""
        batched = x.dim() == 2
        batch = x.shape[:-1]
        if state is None:
            state = (x.new_zeros(*batch, self.hidden_size),) * states
        _check(self, x, state, states)
        if not batched:
            x, state = x.unsqueeze(0), tuple(h.unsqueeze(0) for h in state)
        biases = (self.bias_ih, self.bias_hh) if self.bias else (None, None)
        of_input = biased(self.analog["weight_ih"], x, self.weight_ih, biases[0])
        of_hidden = biased(self.analog["weight_hh"], state[0], self.weight_hh, biases[1])
        state = GATES[mode](of_input, of_hidden, state)
        return state if batched else tuple(h.squeeze(0) for h in state)

    @property
    def _transparent(self) -> bool:
        return all(crossbar.transparent for crossbar in self.analog.values())  # pyright: ignore


def _check(cell: Any, x: Tensor, state: State, states: int) -> None:
    if x.dim() not in (1, 2) or x.shape[-1] != cell.input_size:
        raise DataError(
            f"the input must be ({cell.input_size},) or (batch, {cell.input_size}), "
            f"got {tuple(x.shape)}."
        )
    wanted = (*x.shape[:-1], cell.hidden_size)
    if len(state) != states or any(h.shape != wanted for h in state):
        got = ", ".join(str(tuple(h.shape)) for h in state)
        raise DataError(f"the state must be {states} of shape {wanted}, got {got}.")


class AnalogRNNCell(_Cell, nn.RNNCell):
    """`torch.nn.RNNCell` on arrays."""

    digital = nn.RNNCell

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Map (batch, input_size) and (batch, hidden_size) to the next (batch, hidden_size)."""
        if self._transparent:
            return nn.RNNCell.forward(self, input, hx)
        mode = f"RNN_{self.nonlinearity.upper()}"
        return self._step(mode, input, None if hx is None else (hx,), 1)[0]


class AnalogGRUCell(_Cell, nn.GRUCell):
    """`torch.nn.GRUCell` on arrays."""

    digital = nn.GRUCell

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Map (batch, input_size) and (batch, hidden_size) to the next (batch, hidden_size)."""
        if self._transparent:
            return nn.GRUCell.forward(self, input, hx)
        return self._step("GRU", input, None if hx is None else (hx,), 1)[0]


class AnalogLSTMCell(_Cell, nn.LSTMCell):
    """`torch.nn.LSTMCell` on arrays."""

    digital = nn.LSTMCell

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map (batch, input_size) and the states h, c to the next (h, c)."""
        if self._transparent:
            return nn.LSTMCell.forward(self, input, hx)
        h, c = self._step("LSTM", input, None if hx is None else tuple(hx), 2)
        return h, c
