"""A training that is aware of its hardware, while it goes on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import LifecycleError
from ..nn import Site
from ..spec import render_table
from ._adaptation import Adaptation
from ._distillation import logits_of
from ._modifier import WeightModifier
from ._ranges import Decay, Positive
from ._weights import clip_weight, remap_weight

STEP = "adaptation_step"
"""Key under which the optimizer's first group keeps the schedule's clock, also in checkpoints."""

Teacher = Callable[..., Any]


class Adapted:
    """What `mho.adapt` returns: prints as a table, gives the distillation's loss, can be removed.

    Attributes:
        adaptation: the value.
        optimizer: the optimizer whose steps it follows.
    """

    def __init__(
        self,
        model: nn.Module,
        found: list[Site],
        trained: list[Site],
        adaptation: Adaptation,
        optimizer: Optimizer,
        teacher: Teacher | None,
    ) -> None:
        self.adaptation, self.optimizer = adaptation, optimizer
        self._found, self._trained = found, trained
        self._modifier = WeightModifier(adaptation)
        self._answer: Any = None
        crossbars = [site.crossbar for site in found]
        for crossbar in crossbars:
            crossbar.modifier = self._modifier
        ranges = [c for c in crossbars if _learns(c.input_range)]
        bounds = [c.clip_bound for c in crossbars if _learns(c.clip_bound)]
        limits = [*(c.input_range for c in ranges), *bounds]
        self._positive = Positive([p for p in limits if p is not None])
        rule = adaptation.range_decay
        self._decay = Decay(rule, ranges) if rule is not None else None
        optimizer.param_groups[0].setdefault(STEP, 0)
        self._set_strength()
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
            optimizer.register_load_state_dict_post_hook(lambda _: self._set_strength()),
        ]
        if teacher is not None:
            ask = partial(self._ask, teacher)
            hook = model.register_forward_hook(ask, with_kwargs=True)
            self._handles.append(hook)
        self._write_weights()

    @property
    def step(self) -> int:
        """Optimizer steps made, the clock of the schedule."""
        return int(self.optimizer.param_groups[0].get(STEP, 0))

    def loss(self, output: Any, labels: Tensor | None = None, count: Any = None) -> Tensor:
        """Return the distillation's loss for what the model has just returned.

        It also serves as `compute_loss_func` of Transformers' Trainer.

        Args:
            output: the model's output: logits (..., classes), or an object that has them.
            labels: classes (...) aligned with the logits, where the labels have a share.
            count: what to divide the sum over positions by, if not their number.

        Raises:
            LifecycleError: there is no distillation, or the model did not run in training mode.
            DataError: a shape does not fit.
        """
        if self.adaptation.distillation is None:
            raise LifecycleError(
                "this adaptation has no distillation: give it "
                "Adaptation(distillation=...), or use your own loss."
            )
        if self._answer is None:
            raise LifecycleError(
                "the teacher was not asked: call `loss` after the model ran in training mode, once "
                "for each output."
            )
        answer, self._answer = self._answer, None
        teacher = logits_of(answer)
        return self.adaptation.distillation.loss(logits_of(output), teacher, labels, count)

    def remove(self) -> None:
        """Take every hook off again. Learned clips and scales stay part of the layers."""
        for handle in self._handles:
            handle.remove()
        for site in self._found:
            site.crossbar.modifier = None
        if self._decay is not None:
            self._decay.remove()
        self.optimizer.param_groups[0].pop(STEP, None)
        self._handles, self._answer = [], None

    def __str__(self) -> str:
        adaptation, trained = self.adaptation, {site.name for site in self._trained}
        rows = []
        for site in self._found:
            crossbar, learned = site.crossbar, site.name in trained
            scale = "learned" if _learns(crossbar.output_scale) else "kept"
            clip = adaptation.clip.kind if adaptation.clip is not None and learned else ""  # pyright: ignore
            rows.append((
                site.name,
                f"{crossbar.geometry.out}x{crossbar.geometry.rows}",
                "trained" if learned else "frozen",
                clip,
                "" if crossbar.output_scale is None else scale,
                "learned" if _learns(crossbar.input_range) else "",
            ))  # fmt: skip
        header = ("matrix", "out x rows", "weight", "clip", "output scale", "input range")
        on = [
            name
            for name, value in adaptation
            if value != type(adaptation).model_fields[name].default
        ]
        return render_table(f"adapted: {', '.join(on) or 'nothing'}", header, rows)

    # Hooks ----------------------------------------------------------------------------------------

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._positive.remember()
        if self._decay is None:
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._decay.add()
            return None
        decay = self._decay

        def with_decay() -> Any:  # the gradients come to be only inside of the closure
            decay.reset()
            loss = closure()
            decay.add()
            return loss

        if len(args) > 1:
            return (args[0], with_decay, *args[2:]), kwargs
        return args, {**kwargs, "closure": with_decay}

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        with torch.no_grad():
            self._positive.limit()
        if self._decay is not None:
            self._decay.reset()
        self._write_weights()
        optimizer.param_groups[0][STEP] = self.step + 1
        self._set_strength()

    @torch.no_grad()
    def _write_weights(self) -> None:
        adaptation = self.adaptation
        clip = adaptation.clip if adaptation.clip is not None and adaptation.clip.writes else None
        for site in self._trained:
            if clip is not None:
                clip_weight(site, clip)
            if adaptation.remap is not None:
                remap_weight(site, adaptation.remap)

    def _set_strength(self) -> None:
        self._modifier.strength.fill_(self.adaptation.schedule.strength(self.step))

    def _ask(
        self,
        teacher: Teacher,
        model: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
    ) -> None:
        if not model.training or not torch.is_grad_enabled():
            return
        with torch.no_grad():
            self._answer = teacher(*args, **kwargs)


def _learns(parameter: Tensor | None) -> bool:
    return isinstance(parameter, nn.Parameter) and parameter.requires_grad
