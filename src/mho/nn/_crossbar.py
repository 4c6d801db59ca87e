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
    Unit,
    Watch,
    column_scale,
    mvm,
    nominal,
    signal_scale,
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
        watch: while set, looks at what a digital unit of its own arithmetic computes.
    """

    def __init__(self, hardware: Hardware, geometry: Geometry, name: str) -> None:
        super().__init__(hardware, geometry, name)
        self.observer: Callable[[Crossbar, Tensor, Tensor], None] | None = None
        self.modifier: Modifier | None = None
        self.recorder: Recorder | None = None
        self.clipped: Tensor | None = None
        self.watch: Watch | None = None

    @property
    def transparent(self) -> bool:
        """Whether the layer is exactly its digital twin, so that the twin's own code may run."""
        kept = (
            self.programmed, self.gain, self.offset, self.column_gain, self.column_offset,
            self.clip_bound, self.output_scale,
        )  # fmt: skip
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
        bias: Tensor | None = None,
    ) -> Tensor:
        """Return the product of inputs with the weight matrix (out, rows).

        Args:
            x: the layer's input.
            weight: the target weights as a matrix.
            geometry: the layer's geometry for this call, where it depends on the call.
            operand: what `operand(weight)` returned, where one layer call makes many products.
            bias: added by the digital unit, (out,). `biased` gives it only to one that computes
                otherwise than the model.
        """
        geometry = geometry or self.geometry
        problem = geometry.misfit(x)
        if problem is not None:
            raise DataError(f"{self.name}: {problem}.")
        if self.observer is not None:
            self.observer(self, x, weight)
            y = self.exact(x, weight, geometry)
            return y if bias is None else y + geometry.on_outputs(bias.to(y.dtype))
        if _known_not_finite(x):
            raise DataError(f"{self.name}: the input has values that are not finite.")
        if operand is None and self._draws_per_sample and geometry.batched(x):
            ready = (self.ready(self.operand(weight), bias) for _ in range(len(x)))
            pairs = zip(x.split(1), ready, strict=True)
            y = torch.cat([mvm(one, each, self.hardware, geometry) for one, each in pairs])
        elif self.recorder is not None and self._records and weight.requires_grad:
            operand = self.ready(operand or self.operand(weight), bias)
            y = recorded(x, weight, operand, self.hardware, geometry, self.recorder)
        else:
            operand = self.ready(operand or self.operand(weight), bias)
            y = mvm(x, operand, self.hardware, geometry)
        if not self.hardware.digital.native:
            return y
        for constant in (self._correction(), bias):
            if constant is not None:
                y = y + geometry.on_outputs(constant.to(y.dtype))
        return y

    def ready(self, operand: Operand, bias: Tensor | None = None) -> Operand:
        """Return an operand with the digital unit that hardware of other arithmetic has.

        Args:
            operand: what `operand(weight)` returned.
            bias: what the unit adds besides the corrections.
        """
        if self.hardware.digital.native:
            return operand
        constants = [value for value in (self._correction(), bias) if value is not None]
        offset = operand.scale.new_zeros(self.geometry.out)
        for value in constants:
            offset = offset + value.to(offset.dtype)
        step = self._output_step() if self.hardware.digital.integers else None
        return replace(operand, unit=Unit(self.name, step, offset, self.watch))

    def _correction(self) -> Tensor | None:
        """The offset of each output, (out,), from those of its columns and its own."""
        if self.column_offset is None:
            return self.offset
        per_slice = self.column_offset.sum(0).unflatten(0, (self.geometry.slices, -1))
        gain, total = self._gain(), per_slice.sum(0)
        total = total if gain is None else total * gain
        return total if self.offset is None else total + self.offset

    def _output_step(self) -> Tensor:
        if self.output_step is None:
            raise LifecycleError(
                f"{self.name}: the digital unit's output step is unknown, as no data was seen yet: "
                "call mho.calibrate(model, batches) first, or use `digital: float`."
            )
        return self.output_step

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
            "bound": self._output_bound(weight),
            "gain": self._gain(),
            "column_gain": self.column_gain,
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
                scale = weight.detach().new_full(columns, self.recorder.scale)
                wired = self.hardware.array_acts or self.hardware.array.wires is not None
                base = (
                    nominal(weight, self.hardware, self.geometry, scale)
                    if wired
                    else Operand(weight, scale)
                )
            else:
                base = nominal(weight, self.hardware, self.geometry)
            operand = Operand(base.weight, base.scale, base.significance, cells=base.cells, **ready)
            return operand if modifier is None else modifier.disturbed(operand, weight, self)
        significance = self.hardware.mapping.significance
        effective, negative = now.weight, now.negative
        if torch.is_grad_enabled() and weight.requires_grad:
            step = (weight - weight.detach()) / significance[-1]
            effective = _moved_by(effective, step)
            negative = None if negative is None else _moved_by(negative, step)
        assert self.scale is not None
        scale = self.scale.repeat(1, self.geometry.slices)
        return Operand(
            effective, scale, significance, negative, now.columns, cells=now.cells, **ready
        )

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

    @torch.no_grad()
    def _largest_signals(self, weight: Tensor) -> Tensor:
        """Return sum_j |w_ij| of each column, (row-slices, columns), with w relative to its scale.

        The weights are those that the arrays are to hold, so that a range that was set when a chip
        was programmed does not follow its drift.
        """
        held = nominal(self.target(weight).detach(), self.hardware, self.geometry)
        rows = held.weight.abs().split(list(self.geometry.partition.rows), dim=1)
        unit = signal_scale(held.scale, self.hardware, self.geometry)
        largest = torch.stack([piece.sum(1) for piece in rows]) / unit
        return torch.where(largest > 0, largest, 1.0)

    def _output_bound(self, weight: Tensor) -> Tensor | None:
        adc = self.hardware.adc
        if adc.bound == "maximum":
            return self._largest_signals(weight)
        if not adc.bound_from_data:
            return None
        if self.output_bound is None:
            raise LifecycleError(
                f"{self.name}: the ADC bound is {adc.bound}, but no data was seen yet: call "
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
