"""A training in memory, while it goes on."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.optim import Optimizer

from ..errors import CheckpointError, DataError, LifecycleError, SpecError
from ..nn import Recorded
from ..ops import all_finite
from ..tiles import Samples
from ._algorithm import Algorithm
from ._layers import Layer, check_unchanged, groups_of, learning_rate, write
from ._receipt import AttachedLayer, AttachReceipt
from ._rest import rest
from ._saturation import Watch

FORMAT = 1


class Attached:
    """What `mho.attach` returns: it follows the optimizer, can be saved, resumed and removed.

    Attributes:
        optimizer: whose steps it follows.
        algorithm: the value.
        receipt: what was put where; prints as a table.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        layers: list[Layer],
        algorithm: Algorithm,
        seed: int,
        largest_error: float | None,
        scaler: Any,
    ) -> None:
        self.optimizer, self.algorithm, self.seed = optimizer, algorithm, seed
        self._layers, self._largest, self._scaler = layers, largest_error, scaler
        self._watch = Watch()
        self.receipt = AttachReceipt(
            algorithm.kind,
            tuple(AttachedLayer.of(layer) for layer in layers),  # pyright: ignore
        )
        for layer in layers:
            layer.site.crossbar.recorder = layer.recorder
            if scaler is not None:
                layer.recorder.factor = self._factor
            layer.site.weight.grad = None
            write(layer, algorithm.weight(layer.state))
        self._hook = optimizer.register_step_pre_hook(self._before_step)

    @property
    def states(self) -> dict[str, Any]:
        """The hidden state of each weight matrix, by its name."""
        return {layer.site.name: layer.state for layer in self._layers}

    def forget(self) -> None:
        """Drop what backward passes have left since the last step."""
        for layer in self._layers:
            layer.recorder.take()

    def remove(self) -> None:
        """Let go of model and optimizer. The Parameters keep what the arrays showed last."""
        self._hook.remove()
        for layer in self._layers:
            if layer.site.crossbar.recorder is layer.recorder:
                layer.site.crossbar.recorder = None

    def rest(self, time: str | float) -> None:
        """Leave the arrays alone for a time between two steps: their cells drift.

        Every device of every array follows the law `cell.drift` of its hardware, a weight of 1
        being g_max; buffers and other digital numbers stay. The Parameters then show the aged
        arrays, and training goes on from there. Rules:

        - A cell's time counts from its last change by anything but drift: a pulse, a reset, decay.
          Two rests with no change in between are one rest of their sum; a cell that was pulsed in
          between begins anew from where it is, while its neighbors go on.
        - Steps of the optimizer take no time.
        - What a device keeps for life (such as a random number that makes its drift exponent, with
          the conductance of its last change) comes from the seed of `mho.attach`.
        - Noise that is only in the reading of a cell, such as 1/f noise, does not move it.

        To see how the trained arrays would do later, without waiting, use
        `mho.evaluate(model, score, method="as_trained")`, which leaves the training as it is.

        Args:
            time: `"1 d"`, or seconds.

        Raises:
            SpecError: not a time; no drift law; or no devices, as in exact training.
            LifecycleError: the model is programmed, or vectors wait for their step, or a weight was
                changed since the last one.
            RangeError: the law has no meaning at the time that some cell has rested.
        """
        rest(self._layers, self.algorithm, time)

    def __str__(self) -> str:
        return str(self.receipt)

    # Persistence ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on, bit for bit, after the same `attach`.

        Weights and optimizer are saved as always. Nothing here is random: draws are known by seed,
        name and step.

        Raises:
            LifecycleError: between a backward pass and its step.
        """
        waiting = [layer.site.name for layer in self._layers if layer.recorder.records]
        if waiting:
            raise LifecycleError(
                f"{waiting[0]} has vectors that no step has used, which are not saved: save after "
                "optimizer.step(), or call `forget()`."
            )
        return {
            "format": FORMAT,
            "about": self._about(),
            "layers": {layer.site.name: layer.state.state_dict() for layer in self._layers},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called, and write the weights that the arrays show.

        Weights that `attach` has found do not matter, nor does the scale that it gave them.

        Raises:
            CheckpointError: it is of another algorithm, seed, device or model; nothing was changed.
        """
        if state.get("format") != FORMAT:
            raise CheckpointError(
                f"this is no state of a training in memory (format {state.get('format')!r}): give "
                "what `state_dict()` of mho.attach's result returned."
            )
        here = self._about()
        for key, value in here.items():
            if state["about"].get(key) != value:
                there = state["about"].get(key)
                raise CheckpointError(
                    f"the checkpoint has {key} {there!r}, this training {value!r}: attach with "
                    "what it was saved with."
                )
        for layer in self._layers:
            layer.state.check(state["layers"][layer.site.name])
        for layer in self._layers:
            layer.state.load_state_dict(state["layers"][layer.site.name])
            layer.recorder.take()
            layer.recorder.scale = layer.state.matrix.scale
            write(layer, self.algorithm.weight(layer.state))

    def _about(self) -> dict[str, Any]:
        """What must be the same for a state to be gone on with, as plain values."""
        about: dict[str, Any] = {
            "algorithm": self.algorithm.model_dump(mode="json"),
            "seed": self.seed,
        }
        for layer in self._layers:
            matrix, name = layer.state.matrix, layer.site.name
            device = None if matrix.device is None else matrix.device.model_dump(mode="json")
            back = layer.recorder.backward
            about |= {
                f"backward of {name}": None if back is None else back.model_dump(mode="json"),
                f"shape of {name}": list(matrix.shape),
                f"device of {name}": device,
                f"pulses of {name}": matrix.pulses.model_dump(mode="json"),
                f"read-out of {name}": matrix.read_out.model_dump(mode="json"),
            }
        return about

    # Hooks ----------------------------------------------------------------------------------------

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._pulse()
            return None
        once = self._after_closure(closure)
        if len(args) > 1:
            return (args[0], once, *args[2:]), kwargs
        return args, {**kwargs, "closure": once}

    def _after_closure(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        calls = 0

        def once() -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise SpecError(
                    f"{type(self.optimizer).__name__} calls its closure again within a step; "
                    "pulses of the first call cannot be taken back. Use an optimizer that makes "
                    "one step per gradient."
                )
            loss = closure()
            self._pulse()
            return loss

        return once

    @torch.no_grad()
    def _pulse(self) -> None:
        """Turn what was recorded into pulses; nothing is pulsed if anything is wrong."""
        groups, jobs = groups_of(self.optimizer), []
        for layer in self._layers:
            check_unchanged(layer)
            group = groups.get(id(layer.site.weight))
            lr = 0.0 if group is None else learning_rate(group, layer.site.name)
            jobs.append((layer, lr, self._samples(layer)))
        if not all(samples is not None for _, _, samples in jobs):
            self.forget()
            return
        for layer, lr, samples in jobs:
            layer.recorder.take()
            self.algorithm.step(layer.state, samples, lr)  # pyright: ignore[reportArgumentType]
            self._watch.look(layer.site.name, self.algorithm, layer.state, lr)
            self._watch.look_at_swing(layer.site.name, layer.state)
            write(layer, self.algorithm.weight(layer.state))

    def _factor(self) -> float:
        return 1.0 / float(self._scaler.get_scale())

    def _samples(self, layer: Layer) -> Samples | None:
        """Return what a layer recorded since the last step; None if a scaled loss overflowed."""
        records: list[Recorded] = layer.recorder.records
        if self._scaler is not None:
            now = self._factor()
            # The scaler changes its scale whenever it skips a step.
            records = [record for record in records if record.factor == now]
        parallel = layer.state.parallel
        if parallel is not None:  # as gradients are averaged over processes
            records = [replace(each, factor=each.factor / parallel.size) for each in records]
        if self._largest is not None:
            records = [replace(record, largest_error=self._largest) for record in records]
        finite = all(all_finite(record.d) for record in records)
        if parallel is not None:  # processes go on, or do not, together
            finite = not parallel.most((float(not finite),), layer.state.matrix.place)[0]
        if finite:
            return Samples(records)
        if self._scaler is not None:
            warnings.warn(
                f"{layer.site.name}: errors overflowed in a step that the GradScaler did not skip; "
                "no weight matrix was pulsed in it.",
                stacklevel=2,
            )
            return None
        raise DataError(
            f"{layer.site.name}: errors that are not finite came back in a backward pass; nothing "
            "was pulsed. Lower the learning rate, or call `forget()` for steps that you skip."
        )
