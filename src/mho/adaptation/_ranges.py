"""Learned input ranges over the steps of a training: their decay, and that they stay positive."""

from typing import cast

import torch
from torch import Tensor

from ..nn import Crossbar, gathered
from ._adaptation import RangeDecay
from ._weights import in_layout, write

SHRINKING = 0.5


class Positive:
    """Keeps Parameters positive: an optimizer step at most halves them."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.before: list[Tensor] = []

    def remember(self) -> None:
        """Note the values before a step."""
        self.before = [gathered(p.detach()).clone() for p in self.parameters]

    def limit(self) -> None:
        """After the step, take back what went too far."""
        for parameter, before in zip(self.parameters, self.before, strict=True):
            now = gathered(parameter.detach())
            write(parameter.detach(), torch.maximum(now, SHRINKING * before))


class Decay:
    """The decay of learned ranges; see `RangeDecay`.

    Backward passes leave, as the gradient of the leaf `Crossbar.clipped`, the sum of the shares of
    clipped inputs and the number of passes.
    """

    def __init__(self, rule: RangeDecay, crossbars: list[Crossbar]) -> None:
        self.rule, self.crossbars = rule, crossbars
        for crossbar in crossbars:
            r = cast(Tensor, crossbar.input_range)
            size = (2, crossbar.geometry.parts)
            crossbar.clipped = torch.zeros(size, device=r.device, requires_grad=True)

    def add(self) -> None:
        """Add the decay to the gradients of the ranges."""
        share, passes = self._counted()
        # Without a pass, the share is not a number, and there is no decay.
        decay = (1 - share / passes > self.rule.keep) * self.rule.decay
        sizes = [crossbar.geometry.parts for crossbar in self.crossbars]
        for crossbar, own in zip(self.crossbars, decay.split(sizes), strict=True):
            r = cast(Tensor, crossbar.input_range)
            if r.grad is not None:
                pull = own.to(r.device) * gathered(r.detach())
                r.grad.add_(in_layout(pull.to(r.dtype), r))

    def reset(self) -> None:
        """Begin counting anew."""
        for crossbar in self.crossbars:
            if crossbar.clipped is not None:
                crossbar.clipped.grad = None

    def remove(self) -> None:
        """Count no more."""
        for crossbar in self.crossbars:
            crossbar.clipped = None

    def _counted(self) -> Tensor:
        """Sums of shares and numbers of passes of all crossbars, one after the other, (2, n)."""
        counts, device = [], cast(Tensor, self.crossbars[0].input_range).device
        for crossbar in self.crossbars:
            found = None if crossbar.clipped is None else crossbar.clipped.grad
            if found is None:
                found = torch.zeros(2, crossbar.geometry.parts)
            counts.append(found.to(device))
        counted = torch.cat(counts, 1)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Otherwise ranks would take different decisions, and their ranges drift apart.
            torch.distributed.all_reduce(counted)
        return counted
