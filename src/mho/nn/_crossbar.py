"""The product of one weight matrix on its arrays."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import DataError, LifecycleError
from ..ops import all_finite
from ..tiles import (
    Geometry,
    Hardware,
    Operand,
    Present,
    column_scale,
    mvm,
    nominal,
)
from ._chip_instance import ChipInstance, gathered
from ._recording import Recorder, recorded


class Modifier(Protocol):
    """Changes what unprogrammed arrays multiply with in training mode."""

    @property
    def disturbs(self) -> bool:
        """Whether it changes anything."""
        ...

    @property
    def per_sample(self) -> bool:
        """Whether every sample of a batch has a draw of its own."""
        ...

    def quantized(self, weight: Tensor, crossbar: "Crossbar") -> Tensor:
        """Return the targets (out, rows) that are written instead of the weights."""
        ...

    def disturbed(self, operand: Operand, weight: Tensor, crossbar: "Crossbar") -> Operand:
        """Return what becomes of an operand of the targets `weight`."""
        ...


class Crossbar(ChipInstance):
    """The product of a weight matrix (out, rows) on arrays; their state is the chip instance's.

    Attributes:
        observer: while set, products are exact and their inputs go to it (calibration).
        modifier: while set, changes what unprogrammed arrays multiply with in training mode
            (hardware-aware training).
        recorder: while set, unprogrammed arrays are trained in memory: in training mode the weight
            gets no gradient, and the recorder what a gradient is made of.
        clipped: while set, a leaf (2, row-slices) whose gradient takes up, for every backward pass,
            the share of inputs at a learned range, and 1.
    """

    def __init__(self, hardware: Hardware, geometry: Geometry, name: str) -> None:
        super().__init__(hardware, geometry, name)
        self.observer: Callable[[Crossbar, Tensor, Tensor], None] | None = None
        self.modifier: Modifier | None = None
        self.recorder: Recorder | None = None
        self.clipped: Tensor | None = None

    @property
    def transparent(self) -> bool:
        """Whether the layer is exactly its digital twin, so that the twin's own code may run."""
        kept = (self.programmed, self.gain, self.offset, self.clip_bound, self.output_scale)
        return (
            self.observer is None
            and self.recorder is None
            and self._active_modifier is None
            and self.hardware.ideal_product
            and self.hardware.mapping.exact
            and not self.hardware.array_acts
            and all(value is None for value in kept)
        )

    def forward(
        self,
        x: Tensor,
        weight: Tensor,
        geometry: Geometry | None = None,
        operand: Operand | None = None,
    ) -> Tensor:
        """Return the product of inputs with the weight matrix (out, rows), without bias.

        Args:
            x: the layer's input.
            weight: the target weights as a matrix.
            geometry: the layer's geometry for this call, where it depends on the call.
            operand: what `operand(weight)` returned, where one layer call makes many products.
        """
        geometry = geometry or self.geometry
        problem = geometry.misfit(x)
        if problem is not None:
            raise DataError(f"{self.name}: {problem}.")
        if self.observer is not None:
            self.observer(self, x, weight)
            return self.exact(x, weight, geometry)
        if _known_not_finite(x):
            raise DataError(f"{self.name}: the input has values that are not finite.")
        if operand is None and self._draws_per_sample and geometry.batched(x):
            each = [mvm(one, self.operand(weight), self.hardware, geometry) for one in x.split(1)]
            y = torch.cat(each)
        elif self.recorder is not None and self._records and weight.requires_grad:
            operand = operand or self.operand(weight)
            y = recorded(x, weight, operand, self.hardware, geometry, self.recorder)
        else:
            y = mvm(x, operand or self.operand(weight), self.hardware, geometry)
        if self.offset is not None:
            y = y + self.geometry.on_outputs(self.offset.to(y.dtype))
        return y

    def exact(self, x: Tensor, weight: Tensor, geometry: Geometry | None = None) -> Tensor:
        """Return the product without any analog effect, by the same layout on the arrays."""
        plain = replace(geometry or self.geometry, slices=1)
        return plain.combine(plain.product(plain.split(x), self.digital(weight).to(x.dtype)), x)

    def digital(self, weight: Tensor) -> Tensor:
        """Return the matrix that a digital layer needs for the same product."""
        target = self.target(weight)
        if self.output_scale is None:
            return target
        return target * gathered(self.output_scale).to(target.dtype)[:, None]

    def operand(self, weight: Tensor, present: Present | None = None) -> Operand:
        """Return what the arrays multiply with: the programmed cells, or the weight as the target.

        Args:
            weight: the target weights as a matrix.
            present: the arrays at another time than the clock's.
        """
        ready: dict[str, Any] = {
            "input_range": self._input_range(),
            "clipped": self.clipped,
            "bound": self._output_bound(),
            "gain": self._gain(),
        }
        weight = self.target(weight)
        now = present or self._present
        if now is None and self.is_programmed:
            raise LifecycleError(
                f"{self.name} came from the meta device without its chip instance: load its state "
                "dict."
            )
        if now is None:
            modifier = self._active_modifier
            if modifier is not None:
                weight = modifier.quantized(weight, self)
            if self._records:
                weight = weight.detach()
            if self.recorder is not None and self.recorder.scale is not None:
                columns = (self.geometry.parts, self.geometry.out)
                base = Operand(weight, weight.detach().new_full(columns, self.recorder.scale))
            else:
                base = nominal(weight, self.hardware, self.geometry)
            operand = Operand(base.weight, base.scale, base.significance, **ready)
            return operand if modifier is None else modifier.disturbed(operand, weight, self)
        significance = self.hardware.mapping.significance
        effective, negative = now.weight, now.negative
        if torch.is_grad_enabled() and weight.requires_grad:
            step = (weight - weight.detach()) / significance[-1]
            effective = _moved_by(effective, step)
            negative = None if negative is None else _moved_by(negative, step)
        assert self.scale is not None
        scale = self.scale.repeat(1, self.geometry.slices)
        return Operand(effective, scale, significance, negative, now.columns, **ready)

    def full_scale(self) -> Tensor:
        """Return the input of full scale for each row, (rows,); 1 where it has no fixed value."""
        rule, stored = self.hardware.dac.range, self._input_range()
        if stored is None:
            value = getattr(rule, "value", 1.0)
            return torch.full((self.geometry.rows,), value, device=self._device)
        sizes = torch.tensor(self.geometry.partition.rows, device=stored.device)
        return stored.detach().float().repeat_interleave(sizes)

    @property
    def _device(self) -> torch.device | None:
        return next(
            (buffer.device for buffer in self._buffers.values() if buffer is not None), None
        )

    def _input_range(self) -> Tensor | None:
        rule = self.hardware.dac.range
        if rule is None or not rule.stored:
            return None
        if self.input_range is None:
            raise LifecycleError(
                f"{self.name}: the input range is {rule.kind}, but no data was seen yet: call "  # pyright: ignore
                "mho.calibrate(model, batches) first, or use a fixed one, "
                "`dac.range: {kind: fixed, value: ...}`."
            )
        return gathered(self.input_range)

    @property
    def _active_modifier(self) -> Modifier | None:
        active = self.training and not self.is_programmed
        return self.modifier if active and self.modifier and self.modifier.disturbs else None

    @property
    def _records(self) -> bool:
        return self.recorder is not None and self.training and not self.is_programmed

    @property
    def _draws_per_sample(self) -> bool:
        modifier = self._active_modifier
        return modifier is not None and modifier.per_sample

    def _gain(self) -> Tensor | None:
        """Correct what the arrays got wrong, and scale as was learned."""
        if self.output_scale is None:
            return self.gain
        scale = gathered(self.output_scale)
        return scale if self.gain is None else self.gain.to(scale.dtype) * scale

    def _output_bound(self) -> Tensor | None:
        if self.hardware.adc.bound != "calibrated":
            return None
        if self.output_bound is None:
            raise LifecycleError(
                f"{self.name}: the ADC bound is calibrated, but no data was seen yet: call "
                "mho.calibrate(model, batches) first, or give a number for `adc.bound`."
            )
        return self.output_bound

    def column_scale(self, weight: Tensor) -> Tensor:
        """Return the weight that g_max stands for, (row-slices, out)."""
        mapping = self.hardware.mapping
        return column_scale(self.target(weight), mapping.scaling, self.geometry, mapping.w_max)


def _known_not_finite(x: Tensor) -> bool:
    """Whether an input has values that are not finite, where finding out costs no waiting."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    try:
        return not all_finite(x)
    except RuntimeError:  # under vmap, and with fake tensors, values are not known
        return False


def _moved_by(cells: Tensor, step: Tensor) -> Tensor:
    """Add a zero step that carries the gradient of the target to weights (slices * out, rows).

    Straight through: an update of the target is an update of what was programmed from it. The
    gradient takes the way of the most significant slice, as in `nominal`.
    """
    others, last = cells[: -len(step)], cells[-len(step) :]
    return torch.cat((others, last + step)) if len(others) else last + step
