"""The family of in-memory training algorithms."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ..cells import Device
from ..errors import SpecError
from ..spec import Variant
from ..tiles import DeviceArray, Pulses, Samples
from ._layers import Where
from ._one_sided import refresh_due
from ._state import Matrix, State
from ._suggest import Loss, Seen, Setting, Suggestion, suggest


class Algorithm(Variant):
    """How arrays follow the gradient of one weight matrix W = scale w.

    A value: what it keeps of a matrix is in a `State`. It is composed of pulsed updates and column
    reads, and everything is in relative weights w, so that a step of the learning rate lr means

        E[dw] = - (lr / scale) sum_n d_n x_n^T

    The mini-batch is one update: whatever an algorithm counts or averages, it does once for each
    optimizer step, as torch's schedulers and the moments of digital optimizers do. Published code
    counts vectors in one place and mini-batches in the other, so that the same setting means
    another thing for another batch size, and for a convolution another for another image size.
    """

    @abstractmethod
    def start(self, matrix: Matrix, weight: Tensor) -> State:
        """Return the state of a matrix that begins with a relative weight (out, in).

        Raises:
            SpecError: the device cannot do what the algorithm needs.
        """

    @abstractmethod
    def weight(self, state: State) -> Tensor:
        """Return the relative weight (out, in) that the model computes with."""

    @abstractmethod
    def update(self, state: State, samples: Samples, lr: float) -> None:
        """Let the arrays follow the vectors of one optimizer step; lr is not zero."""

    def gradient_rate(self, state: State, largest: tuple[float, float], lr: float) -> float | None:
        """Return the rate of the pulses that the gradient makes, on the first of the arrays.

        Args:
            state: of the matrix; nothing is changed.
            largest: max|x| and max|d| of the step.
            lr: learning rate.

        Returns:
            r in E[dw] = -r d x^T; None where no trains of pulses are made.
        """
        return lr / state.matrix.scale

    def without_saturation(self, part: float, lr: float) -> str:
        """Return which setting makes trains fit that need `part` of the rate they have."""
        return f"a learning rate of at most about {lr * part:.2g} (now {lr:.2g})"

    def settings(self, seen: tuple[Seen, ...], lr: float) -> list[Setting]:
        """Return what to set the algorithm's own fields to at a learning rate, with reasons."""
        return []

    def suggest(
        self,
        model: nn.Module,
        batches: Iterable[tuple[Any, Tensor]],
        loss: Loss | None = None,
        *,
        lr: float | None = None,
        pulses: Pulses | None = None,
        where: Where | None = None,
        fill: float = 0.3,
    ) -> Suggestion:
        """Return learning rates and granularities for a model and its data, and why.

        The batches are run forward and backward once; nothing is trained.

        Args:
            model: a converted model that is not attached.
            batches: (inputs, targets), of the size that training has.
            loss: of (output, targets); by default cross entropy for classes, else mean squares.
            lr: learning rate, if it is not to be suggested.
            pulses: as for `attach`.
            where: as for `attach`.
            fill: as for `attach`.

        Raises:
            LifecycleError: the model is not converted, or is attached or programmed already.
            SpecError: nobody says what the cells are.
            DataError: there are no batches, or a matrix gets no errors.
        """
        return suggest(self, model, batches, loss, lr, pulses, where, fill)

    def step(self, state: State, samples: Samples, lr: float) -> None:
        """Do what one optimizer step does to a matrix.

        Without a learning rate or without vectors there are no pulses, but time passes: cells that
        decay or diffuse go on doing so.
        """
        state.step += 1
        number = len(samples)
        if state.parallel is not None:
            number = sum(state.parallel.counts(number, state.matrix.place))
        if lr and number:
            self.update(state, samples, lr)
        for name, array in state.arrays.items():
            refresh_due(state, name)
            array.tick()


def follow(state: State, name: str, samples: Samples, rate: float) -> None:
    """Give an array the pulses of a gradient, and note at which rate."""
    array, pulses, parallel = state.arrays[name], state.matrix.pulses, state.parallel
    if parallel is None:
        array.update(samples, rate, pulses)
    else:
        before = parallel.counts(len(samples), state.matrix.place)[: parallel.rank]
        array.update(samples, rate, pulses, first=sum(before), reduce=parallel.add)
    state.rate = rate


class FastAlgorithm(Algorithm):
    """An algorithm that collects gradients on arrays of their own, which may have other cells."""

    fast_device: Device | None = Field(
        default=None,
        description="Cells of the arrays that collect gradients. None: those of the hardware.",
    )

    def fast_array(self, matrix: Matrix, name: str) -> DeviceArray:
        """Return an array for gradients, at weight 0.

        Raises:
            SpecError: its cells would drift to a bound, because they have no symmetry point.
        """
        device = self.fast_device or matrix.device
        if device is not None and device.singles == (device,):
            single = device.singles[0]
            if bool(np.isnan(single.symmetry_point(single.mean_cell())).any()):
                raise SpecError(
                    f"{matrix.name}: {self.kind} collects gradients on cells that forget them at "
                    f"their symmetry point, but for the mean cell of this {device.kind} steps up "
                    "and down are never equal, so it drifts to a bound: give another fast_device, "
                    "or use pulsed_sgd or mixed_precision."
                )
        array = matrix.array(name, self.fast_device)
        array.write(torch.zeros(matrix.shape, device=matrix.place))
        return array
