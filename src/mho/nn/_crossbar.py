"""One weight matrix on its arrays: the only state that analog behavior adds to a model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..cells import CellState
from ..circuits import Learned
from ..errors import DataError, LifecycleError
from ..ops import Stream
from ..tiles import (
    Columns,
    Geometry,
    Hardware,
    Operand,
    Programmed,
    Present,
    column_scale,
    mvm,
    nominal,
    present,
    program,
    relative_weight,
)
from ._checkpoint import check_record, record, restore_missing

CHIP = ("programmed", "coefficient", "scale", "seed", "seconds")
CALIBRATION = ("input_range", "output_bound")
CORRECTION = ("gain", "offset")


class Crossbar(nn.Module):
    """A weight matrix (out, rows) on arrays: what was calibrated, programmed, and when it is now.

    The weight itself stays a Parameter of the layer. Buffers exist only once there is something to
    keep, so a converted layer has the state-dict keys of its digital twin. They are float32 whatever
    the model's dtype, so that a cast model is the same chip.

    Attributes:
        hardware: the value that the layer was converted with.
        geometry: how the product lies on the arrays.
        name: the layer's qualified name at conversion; it names the random streams.
        observer: while set, products are exact and their inputs go to it (calibration).
    """

    def __init__(self, hardware: Hardware, geometry: Geometry, name: str) -> None:
        super().__init__()
        self.hardware, self.geometry, self.name = hardware, geometry, name
        self.observer: Callable[[Crossbar, Tensor, Tensor], None] | None = None
        self._present: Present | None = None
        for key in (*CHIP, *CALIBRATION, *CORRECTION, "record"):
            if key == "input_range" and isinstance(hardware.dac.range, Learned):
                self.register_parameter(key, None)
            else:
                self.register_buffer(key, None)

    @property
    def is_programmed(self) -> bool:
        """Whether the layer computes with the conductances of a chip instance."""
        return self.programmed is not None

    @property
    def transparent(self) -> bool:
        """Whether the layer is exactly its digital twin, so that the twin's own code may run."""
        return (
            self.observer is None
            and not self.is_programmed
            and self.hardware.ideal_product
            and self.hardware.mapping.exact
            and self.gain is None
            and self.offset is None
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
        if self.observer is not None:
            self.observer(self, x, weight)
            return self.exact(x, weight, geometry)
        if x.device.type == "cpu" and not torch.compiler.is_compiling() and not x.isfinite().all():
            raise DataError(f"{self.name}: the input has values that are not finite.")
        y = mvm(x, operand or self.operand(weight), self.hardware, geometry)
        if self.offset is not None:
            y = y + self.geometry.on_outputs(self.offset.to(y.dtype))
        return y

    def exact(self, x: Tensor, weight: Tensor, geometry: Geometry | None = None) -> Tensor:
        """Return the product without any analog effect, by the same layout on the arrays."""
        plain = replace(geometry or self.geometry, slices=1)
        return plain.combine(plain.product(plain.split(x), weight.to(x.dtype)), x)

    def operand(self, weight: Tensor, present: Present | None = None) -> Operand:
        """Return what the arrays multiply with: the programmed cells, or the weight as the target.

        Args:
            weight: the target weights as a matrix.
            present: the arrays at another time than the clock's.
        """
        ready = {"input_range": self._input_range(), "bound": self._output_bound(), "gain": self.gain}
        now = present or self._present
        if now is None:
            base = nominal(weight, self.hardware, self.geometry)
            return Operand(base.weight, base.scale, base.significance, **ready)
        effective = now.weight
        if torch.is_grad_enabled() and weight.requires_grad:
            # Straight through: an update of the target is an update of what was programmed from it.
            step = (weight - weight.detach()).repeat(self.geometry.slices, 1)
            effective = effective.to(weight.dtype) + step
        scale = self.scale.repeat(1, self.geometry.slices)
        significance = self.hardware.mapping.significance
        return Operand(effective, scale, significance, now.negative, now.columns, **ready)

    def full_scale(self) -> Tensor:
        """Return the input that drives each row at full scale, (rows,); 1 where it has no fixed value."""
        rule, stored = self.hardware.dac.range, self._input_range()
        if stored is None:
            value = getattr(rule, "value", 1.0)
            return torch.full((self.geometry.rows,), value, device=self._device)
        sizes = torch.tensor(self.geometry.partition.rows, device=stored.device)
        return stored.detach().float().repeat_interleave(sizes)

    @property
    def _device(self) -> torch.device | None:
        return next((buffer.device for buffer in self._buffers.values() if buffer is not None), None)

    def _input_range(self) -> Tensor | None:
        rule = self.hardware.dac.range
        if rule is None or not rule.stored:
            return None
        if self.input_range is None:
            raise LifecycleError(
                f"{self.name}: the input range is {rule.kind}, but no data was seen yet: call "  # pyright: ignore
                "mho.calibrate(model, batches) first, or use `dac.range: {kind: fixed, value: ...}`."
            )
        return self.input_range

    def _output_bound(self) -> Tensor | None:
        if self.hardware.adc.bound != "calibrated":
            return None
        if self.output_bound is None:
            raise LifecycleError(
                f"{self.name}: the ADC bound is calibrated, but no data was seen yet: call "
                "mho.calibrate(model, batches) first, or give a number for `adc.bound`."
            )
        return self.output_bound

    # Life of a chip -------------------------------------------------------------------------------

    def check_programmable(self, weight: Tensor) -> None:
        """Raise what `program` would raise about a weight matrix (out, rows)."""
        relative_weight(weight, self.hardware, self.geometry, self.name)

    def program(self, weight: Tensor, seed: int) -> None:
        """Write the weight matrix (out, rows) onto the cells of the chip instance `seed`."""
        done = program(weight, self.hardware, self.geometry, Stream(seed, self.name))
        device = weight.device
        self.erase()
        self.programmed = done.cells.programmed.to(device)
        if done.cells.coefficient is not None:
            self.coefficient = done.cells.coefficient.to(device)
        self.scale = done.scale.to(device)
        self.seed = torch.tensor(seed, dtype=torch.int64, device=device)
        self.set_clock(0.0)
        self.keep_record()

    def set_clock(self, seconds: float, now: Present | None = None) -> None:
        """Let the arrays compute as they do `seconds` after programming.

        Args:
            seconds: time since programming.
            now: the result of `present_at(seconds)`, if it is known already.
        """
        if self.programmed is None:
            raise LifecycleError(f"{self.name} is not programmed: call mho.program(model, seed=...) first.")
        self._present = now or self.present_at(seconds)
        self.seconds = torch.tensor(seconds, dtype=torch.float64, device=self.programmed.device)

    def present_at(self, seconds: float, hardware: Hardware | None = None) -> Present:
        """Return the arrays of this chip instance at a time, under other hardware laws if given."""
        if self.programmed is None or self.scale is None or self.seed is None:
            raise LifecycleError(f"{self.name} is not programmed: call mho.program(model, seed=...) first.")
        cells = CellState(self.programmed, self.coefficient)
        stream = Stream(int(self.seed), self.name)
        state = Programmed(cells, self.scale)
        now = present(state, hardware or self.hardware, self.geometry, stream, seconds)
        return _moved(now, self.programmed.device)

    def erase(self) -> None:
        """Forget the chip instance; calibration stays."""
        for key in (*CHIP, *CORRECTION):
            setattr(self, key, None)
        self._present = None

    def chip_state(self) -> dict[str, Any]:
        """Return the chip instance, its time and its corrections, to be given back later."""
        keys = (*CHIP, *CORRECTION, "record")
        return {**{key: self._buffers[key] for key in keys}, "present": self._present}

    def set_chip_state(self, state: dict[str, Any]) -> None:
        """Bring back what `chip_state` returned."""
        for key, value in state.items():
            if key == "present":
                self._present = value
            else:
                self._buffers[key] = value

    def keep_record(self) -> None:
        """Note which hardware the kept state belongs to, for checkpoints."""
        self.record = record(self.hardware)

    def column_scale(self, weight: Tensor) -> Tensor:
        """Return the weight that g_max stands for, (row-slices, out)."""
        return column_scale(weight, self.hardware, self.geometry)

    # Persistence ----------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Crossbar":
        # A cast of the model moves the chip but must not round it.
        kept = {key: buffer for key, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)
        for key, buffer in kept.items():
            moved = self._buffers[key]
            if moved is not None and moved.dtype != buffer.dtype:
                self._buffers[key] = buffer.to(moved.device)
        if self._present is not None and self.programmed is not None:
            self._present = _moved(self._present, self.programmed.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        _, strict, missing, _, errors = args
        problem = check_record(self, state_dict, prefix)
        if problem:
            errors.append(problem)
            for key in [k for k in state_dict if k.startswith(prefix)]:
                del state_dict[key]  # said once, in our words; nothing of it is taken over
            return
        restore_missing(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.programmed is not None and self.programmed.device.type != "meta":
            self.set_clock(float(self.seconds))

    def extra_repr(self) -> str:
        """Say where the matrix lies and in which stage it is."""
        partition = self.geometry.partition
        stage = f"programmed, seed {int(self.seed)}" if self.is_programmed else "not programmed"
        return f"{partition.arrays} arrays, {partition.utilization:.0%} used, {stage}"


def _moved(now: Present, device: torch.device) -> Present:
    def move(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.to(device)

    columns = Columns(**{key: move(value) for key, value in vars(now.columns).items()})
    return Present(now.weight.to(device), move(now.negative), columns)
