"""The analog recurrent layers: stacked, bidirectional, projected, on padded or packed sequences.

Whatever form the sequences come in, the work is done on their packed form: the vectors of all time
steps in one matrix (vectors, features), the sequences sorted by length, so that the batch shrinks
with time. Padding is never multiplied, and a padded input is the case in which nothing shrinks.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from ..errors import DataError
from ..tiles import Geometry, Hardware
from ._layer import Analog, biased, dense
from ._recurrence import GATES, State, Steps


class _Recurrent(Analog):
    """A recurrent layer. The input products of a whole sequence are one product of the arrays."""

    @staticmethod
    def layouts(module: Any, hardware: Hardware) -> dict[str, Geometry]:
        """See `Analog.layouts`."""
        names = [name for name in module._flat_weights_names if name.startswith("weight")]
        shapes = {name: getattr(module, name).shape for name in names}
        return {name: dense(out, rows, hardware) for name, (out, rows) in shapes.items()}

    def forward(self: Any, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Map sequences and initial states to outputs and final states, as the torch layer does."""
        if all(crossbar.transparent for crossbar in self.analog.values()):
            return self.digital.forward(self, input, hx)
        if isinstance(input, PackedSequence):
            return _forward_packed(self, input, hx)
        batched, batch_axis = input.dim() == 3, 0 if self.batch_first else 1
        x = input if batched else input.unsqueeze(batch_axis)
        given = None if hx is None else tuple(h if batched else h.unsqueeze(1) for h in _states(hx))
        first = _initial(self, x, None, x.shape[batch_axis], given)
        steps = x.transpose(0, 1) if self.batch_first else x
        if 0 in steps.shape[:2]:
            raise DataError(
                f"the input has shape {tuple(input.shape)}: no sequence, or none with a step."
            )
        data, last = _run(self, steps.flatten(0, 1), [steps.shape[1]] * steps.shape[0], first)
        y = data.unflatten(0, steps.shape[:2])
        y = y.transpose(0, 1) if self.batch_first else y
        if not batched:
            y, last = y.squeeze(batch_axis), tuple(h.squeeze(1) for h in last)
        return y, _like_torch(self, last)


class AnalogRNN(_Recurrent, nn.RNN):
    """`torch.nn.RNN` on arrays."""

    digital = nn.RNN


class AnalogLSTM(_Recurrent, nn.LSTM):
    """`torch.nn.LSTM` on arrays; a projection (`proj_size`) has arrays of its own."""

    digital = nn.LSTM


class AnalogGRU(_Recurrent, nn.GRU):
    """`torch.nn.GRU` on arrays."""

    digital = nn.GRU


def _forward_packed(module: Any, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
    data, sizes, order, undo = packed
    given = None if hx is None else _permuted(_states(hx), order)
    first = _initial(module, data, sizes, int(sizes[0]), given)
    y, last = _run(module, data, sizes.tolist(), first)
    return PackedSequence(y, sizes, order, undo), _like_torch(module, _permuted(last, undo))


def _states(hx: Any) -> State:
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def _permuted(states: State, order: Tensor | None) -> State:
    return states if order is None else tuple(state.index_select(1, order) for state in states)


def _like_torch(module: nn.RNNBase, states: State) -> Any:
    return states if module.mode == "LSTM" else states[0]


def _initial(
    module: Any, x: Tensor, sizes: Tensor | None, batch: int, given: State | None
) -> State:
    """Return the initial states (layers x directions, batch, features), checked as torch does."""
    if given is None:
        many = module.num_layers * (2 if module.bidirectional else 1)
        given = (x.new_zeros(many, batch, module.proj_size or module.hidden_size),)
        if module.mode == "LSTM":
            given = (*given, x.new_zeros(many, batch, module.hidden_size))
    module.check_forward_args(x, _like_torch(module, given), sizes)
    return given


def _run(module: Any, data: Tensor, sizes: list[int], first: State) -> tuple[Tensor, State]:
    """Run all layers over packed data (vectors, features); return outputs and last states."""
    directions = ("", "_reverse") if module.bidirectional else ("",)
    last: list[State] = []
    for layer in range(module.num_layers):
        outputs = []
        for suffix in directions:
            state = tuple(h[len(last)] for h in first)
            y, state = _run_direction(module, f"_l{layer}{suffix}", data, sizes, state)
            outputs.append(y)
            last.append(state)
        data = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        if module.dropout and module.training and layer < module.num_layers - 1:
            data = F.dropout(data, module.dropout)
    return data, tuple(torch.stack(states) for states in zip(*last, strict=True))


def _run_direction(
    module: Any, name: str, data: Tensor, sizes: list[int], first: State
) -> tuple[Tensor, State]:
    """Run one direction of one layer, whose Parameters end in `name`."""
    crossbar, weight = module.analog[f"weight_ih{name}"], getattr(module, f"weight_ih{name}")
    bias = getattr(module, f"bias_ih{name}") if module.bias else None
    of_input = biased(crossbar, data, weight, bias)
    hidden = _steps(module, f"weight_hh{name}", f"bias_hh{name}" if module.bias else None)
    project = _steps(module, f"weight_hr{name}") if module.proj_size else None
    gates, backward = GATES[module.mode], name.endswith("_reverse")
    pieces = of_input.split(sizes)
    state = tuple(h[: sizes[-1]] for h in first) if backward else first
    outputs: list[Tensor] = []
    ended: list[State] = []
    for x in reversed(pieces) if backward else pieces:
        state = _resized(state, x.shape[0], first, ended)
        state = gates(x, hidden(state[0]), state)
        if project is not None:
            state = (project(state[0]), state[1])
        outputs.append(state[0])
    for product in (hidden, project):
        if product is not None:
            product.finish()
    if ended:  # shorter sequences ended earlier, and stand later in the batch
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return torch.cat(outputs[::-1] if backward else outputs), state


def _steps(module: Any, weight: str, bias: str | None = None) -> Steps:
    found = None if bias is None else getattr(module, bias)
    return Steps(module.analog[weight], getattr(module, weight), found)


def _resized(state: State, batch: int, first: State, ended: list[State]) -> State:
    """Let sequences that have ended leave the batch, or those that only now begin enter it."""
    before = state[0].shape[0]
    if batch < before:
        ended.append(tuple(h[batch:] for h in state))
        return tuple(h[:batch] for h in state)
    if batch > before:
        return tuple(torch.cat((h, h0[before:batch])) for h, h0 in zip(state, first, strict=True))
    return state
