"""One weight matrix on its arrays: the only state that analog behavior adds to a model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..cells import CellState
from ..circuits import Learned
from ..errors import DataError, LifecycleError
from ..ops import Stream, all_finite
from ..tiles import (
    Columns,
    Geometry,
    Hardware,
    Operand,
    Present,
    Programmed,
    column_scale,
    mvm,
    nominal,
    present,
    spread_over_rows,
)
from ._checkpoint import DTYPES, read_record, record
from ._recording import Recorder, recorded

CHIP = ("programmed", "coefficient", "scale", "seed", "seconds")
CALIBRATION = ("input_range", "output_bound")
CORRECTION = ("gain", "offset")
ADAPTED = ("clip_bound", "output_scale")


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


Writer = Callable[[Tensor, "Crossbar", Stream], tuple[Programmed, object]]
"""Writes a matrix (out, rows) onto the cells of a crossbar, and tells about it."""


class Crossbar(nn.Module):
    """A weight matrix (out, rows) on arrays: its calibration, its cells, and its clock.

    The weight itself stays a Parameter of the layer. Buffers exist only once there is something to
    keep, so a converted layer has the state-dict keys of its digital twin. They are float32
    whatever the model's dtype, so that a cast model is the same chip.

    Attributes:
        hardware: the value that the layer was converted with.
        geometry: how the product lies on the arrays.
        name: the layer's qualified name at conversion.
        tile: name of the random streams of the chip instance: `name`, or that of the checkpoint
            which the chip came from.
        observer: while set, products are exact and their inputs go to it (calibration).
        modifier: while set, changes what unprogrammed arrays multiply with in training mode
            (hardware-aware training).
        recorder: while set, unprogrammed arrays are trained in memory: in training mode the weight
            gets no gradient, and the recorder what a gradient is made of.
        report: what the method that programmed the cells tells about it, if anything.
        clipped: while set, a leaf (2, row-slices) whose gradient takes up, for every backward pass,
            the share of inputs at a learned range, and 1.
    """

    programmed: Tensor | None
    coefficient: Tensor | None
    scale: Tensor | None
    seed: Tensor | None
    seconds: Tensor | None
    input_range: Tensor | None
    output_bound: Tensor | None
    gain: Tensor | None
    offset: Tensor | None
    clip_bound: Tensor | None
    output_scale: Tensor | None
    record: Tensor | None

    def __init__(self, hardware: Hardware, geometry: Geometry, name: str) -> None:
        super().__init__()
        self.hardware, self.geometry, self.name, self.tile = hardware, geometry, name, name
        self.observer: Callable[[Crossbar, Tensor, Tensor], None] | None = None
        self.modifier: Modifier | None = None
        self.recorder: Recorder | None = None
        self.clipped: Tensor | None = None
        self.report: object | None = None
        self._present: Present | None = None
        for key in (*CHIP, *CALIBRATION, *CORRECTION, *ADAPTED, "record"):
            learned = key == "input_range" and isinstance(hardware.dac.range, Learned)
            if learned or key in ADAPTED:
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
        kept = (self.programmed, self.gain, self.offset, self.clip_bound, self.output_scale)
        return (
            self.observer is None
            and self.recorder is None
            and self._active_modifier is None
            and self.hardware.ideal_product
            and self.hardware.mapping.exact
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

    def target(self, weight: Tensor) -> Tensor:
        """Return what the arrays are to hold of a weight matrix: itself, within a learned clip.

        The gradient of a bound is that of the weights which it clips (Esser et al., ICLR 2020,
        arXiv 1902.08153, without the part of the rounding).
        """
        if self.clip_bound is None:
            return weight
        bound = spread_over_rows(gathered(self.clip_bound).to(weight.dtype), self.geometry)
        return torch.maximum(torch.minimum(weight, bound), -bound)

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

    # Life of a chip -------------------------------------------------------------------------------

    def new_chip(self, weight: Tensor, seed: int, write: Writer) -> dict[str, Any]:
        """Return the chip instance `seed` at 0 s, its cells written with the matrix (out, rows).

        Nothing is changed yet: `set_chip_state` puts the result in place.

        Args:
            weight: the matrix.
            seed: number of the chip instance.
            write: how the cells get it.
        """
        if weight.is_meta:
            raise LifecycleError(
                f"{self.name} is on the meta device and has no values: load the weights first."
            )
        stream = Stream(seed, self.name)
        done, report = write(self.target(weight.detach()), self, stream)
        now = present(done, self.hardware, self.geometry, stream, 0.0)
        state: dict[str, Any] = {
            "programmed": done.cells.programmed,
            "coefficient": done.cells.coefficient,
            "scale": done.scale,
            "seed": torch.tensor(seed, dtype=torch.int64),
            "seconds": torch.tensor(0.0, dtype=torch.float64),
            "record": record(self.hardware, self.name),
        }
        moved = {k: v if v is None else v.to(weight.device) for k, v in state.items()}
        corrections = dict.fromkeys(CORRECTION)
        own = {"_present": _moved(now, weight.device), "tile": self.name, "report": report}
        return {**moved, **corrections, **own}

    def set_clock(self, seconds: float, now: Present | None = None) -> None:
        """Let the arrays compute as they do `seconds` after programming.

        Args:
            seconds: time since programming.
            now: the result of `present_at(seconds)`, if it is known already.
        """
        if self.programmed is None:
            raise LifecycleError(
                f"{self.name} is not programmed: call mho.program(model, seed=...) first."
            )
        self._present = now or self.present_at(seconds)
        self.seconds = torch.tensor(seconds, dtype=torch.float64, device=self.programmed.device)

    def present_at(self, seconds: float, hardware: Hardware | None = None) -> Present:
        """Return the arrays of this chip instance at a time, under other hardware laws if given."""
        if self.programmed is None or self.scale is None or self.seed is None:
            raise LifecycleError(
                f"{self.name} is not programmed: call mho.program(model, seed=...) first."
            )
        cells = CellState(self.programmed, self.coefficient)
        stream = Stream(int(self.seed), self.tile)
        state = Programmed(cells, self.scale)
        now = present(state, hardware or self.hardware, self.geometry, stream, seconds)
        return _moved(now, self.programmed.device)

    def erase(self) -> None:
        """Forget the chip instance; calibration stays."""
        for key in (*CHIP, *CORRECTION):
            setattr(self, key, None)
        self._present, self.tile, self.report = None, self.name, None
        if all(getattr(self, key) is None for key in (*CALIBRATION, *ADAPTED)):
            self.record = None  # the state-dict keys are those of the digital twin again

    def chip_state(self) -> dict[str, Any]:
        """Return the chip instance, its time and its corrections, to be given back later."""
        keys = (*CHIP, *CORRECTION, "record", "_present", "tile", "report")
        return {key: getattr(self, key) for key in keys}

    def set_chip_state(self, state: dict[str, Any]) -> None:
        """Put in place what `new_chip` or `chip_state` returned."""
        for key, value in state.items():
            setattr(self, key, value)

    def keep_record(self) -> None:
        """Note which hardware the kept state belongs to, for checkpoints."""
        self.record = record(self.hardware, self.tile)

    def column_scale(self, weight: Tensor) -> Tensor:
        """Return the weight that g_max stands for, (row-slices, out)."""
        mapping = self.hardware.mapping
        return column_scale(self.target(weight), mapping.scaling, self.geometry, mapping.w_max)

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
            lost = self._present.weight.is_meta and not self.programmed.is_meta
            self._present = None if lost else _moved(self._present, self.programmed.device)
        return self

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of everything that may be kept, but for the record."""
        geometry = self.geometry
        cells = (self.hardware.mapping.planes, geometry.out, geometry.rows)
        return {
            "programmed": cells,
            "coefficient": cells,
            "scale": (geometry.parts, geometry.out),
            "seed": (),
            "seconds": (),
            "input_range": (geometry.parts,),
            "output_bound": (geometry.parts, geometry.slices * geometry.out),
            "gain": (geometry.out,),
            "offset": (geometry.out,),
            "clip_bound": (geometry.parts, geometry.out),
            "output_scale": (geometry.out,),
        }

    def make_room(self, state_dict: dict[str, Any], prefix: str, device: torch.device) -> None:
        """Before loading: get a place for all that a checkpoint has, and drop what it has not."""
        if prefix + "record" not in state_dict:
            return  # a digital checkpoint: calibration stays as it is
        for store in (self._buffers, self._parameters):
            for key, here in list(store.items()):
                value = state_dict.get(prefix + key)
                if value is None:
                    store[key] = None
                elif here is None or here.shape != value.shape:
                    is_parameter = store is self._parameters
                    dtype = value.dtype if is_parameter else DTYPES.get(key, torch.float32)
                    empty = torch.empty(value.shape, dtype=dtype, device=device)
                    store[key] = nn.Parameter(empty) if is_parameter else empty  # pyright: ignore[reportArgumentType]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if prefix + "record" not in state_dict:  # a digital checkpoint lacks nothing
            missing = args[2]
            missing[:] = [key for key in missing if not key.startswith(prefix)]
            return
        if self.record is None or self.record.is_meta:
            return
        self.tile, self._present, self.report = self.name, None, None
        if self.seconds is not None:
            self.tile = read_record(self.record)[1]
            self.set_clock(float(self.seconds))

    def extra_repr(self) -> str:
        """Say where the matrix lies and in which stage it is."""
        partition = self.geometry.partition
        stage = "programmed" if self.is_programmed else "not programmed"
        if self.seed is not None and not self.seed.is_meta:
            stage += f", seed {int(self.seed)}"
        return f"{partition.arrays} arrays, {partition.utilization:.0%} used, {stage}"


def gathered(weight: Tensor) -> Tensor:
    """Return a weight whole where it is sharded over processes, else as it is."""
    gather = getattr(weight, "full_tensor", None)
    return weight if gather is None else gather()


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


def _moved(now: Present, device: torch.device) -> Present:
    def move(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.to(device)

    columns = Columns(**{key: move(value) for key, value in now.columns._asdict().items()})
    return Present(now.weight.to(device), move(now.negative), columns)
