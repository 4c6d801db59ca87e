"""What one pulse makes of a state that is only known by mean and variance, and its derivatives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops import twin
from ._filter import TINY
from ._rectified import rectified

Array = NDArray[np.float64]
moments = rectified(
    torch.erf,
    torch.exp,
    lambda a, b: torch.minimum(a, torch.as_tensor(b)),
    lambda a, b: torch.maximum(a, torch.as_tensor(b)),
)


class PulseStep:
    """The step of the filter (`_filter.forward`) in torch, for all pulses at once.

    Args:
        formula: of the response.
        up: direction of each pulse, (n,).
    """

    def __init__(self, formula: Any, up: NDArray[np.bool_]) -> None:
        self.response, self.up = twin(formula, "torch"), torch.from_numpy(up)
        self.sign = torch.where(self.up, 1.0, -1.0).double()

    def __call__(
        self, mean: Tensor, var: Tensor, size: Tensor, shape: Tensor, low: Tensor, high: Tensor,
        *constants: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return mean and variance after the pulse, (n,) each."""
        step, spread = self.response(mean, self.up, size, shape, low, high, *constants)
        step = step + 0.0 * mean  # a constant step has a slope too
        (slope,) = torch.autograd.grad(step.sum(), mean, create_graph=True)
        slope = 1.0 + self.sign * slope
        std = torch.sqrt(slope**2 * var + spread**2 + TINY)
        return moments(mean + self.sign * step, std, low, high)

    def derivatives(
        self,
        state: Array,
        cells: Array,
        constants: Sequence[Array],
        cell_moves: Array,
        constant_moves: Sequence[Sequence[Array]],
    ) -> tuple[Array, Array]:
        """Differentiate by the state, and along p directions of cells and constants.

        Args:
            state: mean and variance, (2, n).
            cells: size, shape, low, high, (4, n).
            constants: of the formula, numbers () or tables (m,).
            cell_moves: the directions, (p, 4, n).
            constant_moves: the directions' constants, p times.

        Returns:
            Derivatives by the state (n, 2, 2) and along directions (n, 2, p).
        """
        n, tables = state.shape[1], [k for k, c in enumerate(constants) if c.ndim]
        # A number of all pulses is given to each apart, so that one sum's gradient has them all.
        rows = [*state, *cells, *(np.full(n, c) for c in constants if not c.ndim)]
        inputs = [torch.from_numpy(row.copy()).requires_grad_() for row in rows]
        curves = tuple(torch.from_numpy(constants[k].copy()).requires_grad_() for k in tables)
        numbers, arrays = iter(inputs[6:]), iter(curves)
        after = self(*inputs[:6], *(next(arrays) if c.ndim else next(numbers) for c in constants))
        found = [
            torch.autograd.grad(part.sum(), inputs, retain_graph=True, materialize_grads=True)
            for part in after
        ]
        by = np.array([[part.numpy() for part in row] for row in found])  # (2, 6 + numbers, n)
        direct = np.einsum("rsn,psn->nrp", by[:, 2:6], cell_moves)
        others = [k for k, c in enumerate(constants) if not c.ndim]
        if others:
            moves = np.array([[float(move[k]) for k in others] for move in constant_moves])
            direct += np.einsum("rsn,ps->nrp", by[:, 6:], moves)
        if tables:
            moves = [np.array([move[k] for move in constant_moves]) for k in tables]
            along = [_along(part, curves, [torch.from_numpy(m) for m in moves]) for part in after]
            direct += np.array(along).transpose(2, 0, 1)
        return np.ascontiguousarray(by[:, :2].transpose(2, 0, 1)), direct


def _along(values: Tensor, inputs: tuple[Tensor, ...], moves: list[Tensor]) -> Array:
    """Derivatives of values (n,) as inputs move along p directions, (p, n).

    The gradient of u . values by the inputs is linear in u; its derivative by u is what is sought.
    """
    u = torch.zeros_like(values, requires_grad=True)
    gradient = torch.autograd.grad(
        values, inputs, u, create_graph=True, materialize_grads=True, retain_graph=True
    )
    (found,) = torch.autograd.grad(
        gradient, u, moves, is_grads_batched=True, retain_graph=True, materialize_grads=True
    )
    return found.numpy()
