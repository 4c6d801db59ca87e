"""Recurrent cells between their products: gates, states, and a matrix used step after step."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ._crossbar import Crossbar
from ._layer import biased

State = tuple[Tensor, ...]
"""The hidden state h, and for an LSTM also the cell state c, each (batch, features)."""

Gates = Callable[[Tensor, Tensor, State], State]
"""Next state from the input product, the hidden product (both with bias) and the last state."""


def tanh_gates(of_input: Tensor, of_hidden: Tensor, state: State) -> State:
    """Return h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    return ((of_input + of_hidden).tanh(),)


def relu_gates(of_input: Tensor, of_hidden: Tensor, state: State) -> State:
    """Return h' = max(W_ih x + b_ih + W_hh h + b_hh, 0)."""
    return ((of_input + of_hidden).relu(),)


def lstm_gates(of_input: Tensor, of_hidden: Tensor, state: State) -> State:
    """Gates i, f, g, o in this order of rows.

        c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

    Source: the equations of torch.nn.LSTM; Gers et al., Neural Computation 12:2451 (2000).
    """
    i, f, g, o = (of_input + of_hidden).chunk(4, 1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_gates(of_input: Tensor, of_hidden: Tensor, state: State) -> State:
    """Gates r, z, n in this order of rows; x_n and h_n are the rows n of the two products.

        n = tanh(x_n + sigmoid(r) h_n),   h' = (1 - sigmoid(z)) n + sigmoid(z) h

    Source: the equations of torch.nn.GRU, that is Cho et al., arXiv 1406.1078, with the reset gate
    after the product.
    """
    r_input, z_input, n_input = of_input.chunk(3, 1)
    r_hidden, z_hidden, n_hidden = of_hidden.chunk(3, 1)
    candidate = (n_input + (r_input + r_hidden).sigmoid() * n_hidden).tanh()
    update = (z_input + z_hidden).sigmoid()
    return ((1 - update) * candidate + update * state[0],)


GATES: dict[str, Gates] = {
    "RNN_TANH": tanh_gates,
    "RNN_RELU": relu_gates,
    "LSTM": lstm_gates,
    "GRU": gru_gates,
}
"""By the `mode` of torch's recurrent layers."""


class Steps:
    """The product of one matrix with the vectors of a sequence, one step after another.

    The arrays are prepared once for the whole sequence. An observer gets all steps at once, because
    a statistic of a batch is one of the whole sequence and not one of each step.
    """

    def __init__(self, crossbar: Crossbar, weight: Tensor, bias: Tensor | None = None) -> None:
        self.crossbar, self.weight, self.bias = crossbar, weight, bias
        self.operand = None if crossbar.observer is not None else crossbar.operand(weight)
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        """Map (batch, rows) to (batch, out)."""
        if self.operand is None:
            self.seen.append(x)
            return F.linear(x, self.weight, self.bias)
        return biased(self.crossbar, x, self.weight, self.bias, operand=self.operand)

    def finish(self) -> None:
        """Show the observer, if there is one, what was multiplied."""
        if self.seen:
            biased(self.crossbar, torch.cat(self.seen), self.weight, self.bias)
