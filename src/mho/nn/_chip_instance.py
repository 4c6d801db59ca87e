"""What is kept of one weight matrix on its arrays: calibration, cells, clock, checkpoints."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..cells import CellState
from ..circuits import Learned
from ..errors import LifecycleError
from ..ops import Stream
from ..tiles import Columns, Geometry, Hardware, Present, Programmed, present, spread_over_rows
from ._checkpoint import DTYPES, read_record, record

CHIP = ("programmed", "coefficient", "scale", "seed", "seconds")
CALIBRATION = ("input_range", "output_bound", "output_step")
CORRECTION = ("gain", "offset", "column_gain", "column_offset", "column_seconds")
ADAPTED = ("clip_bound", "output_scale")

Writer = Callable[[Tensor, Any, Stream], tuple[Programmed, object]]
"""Writes a matrix (out, rows) onto the cells of a crossbar, and tells about it."""


class ChipInstance(nn.Module):
    """The only state that analog behavior adds to a model, and its life.

    The weight itself stays a Parameter of the layer. Buffers exist only once there is something to
    keep, so a converted layer has the state-dict keys of its digital twin. They are float32
    whatever the model's dtype, so that a cast model is the same chip.

    Attributes:
        hardware: the value that the layer was converted with.
        geometry: how the product lies on the arrays.
        name: the layer's qualified name at conversion.
        tile: name of the random streams of the chip instance: `name`, or that of the checkpoint
            which the chip came from.
        report: what the method that programmed the cells tells about it, if anything.
    """

    programmed: Tensor | None
    coefficient: Tensor | None
    scale: Tensor | None
    seed: Tensor | None
    seconds: Tensor | None
    input_range: Tensor | None
    output_bound: Tensor | None
    output_step: Tensor | None
    gain: Tensor | None
    offset: Tensor | None
    column_gain: Tensor | None
    column_offset: Tensor | None
    column_seconds: Tensor | None
    clip_bound: Tensor | None
    output_scale: Tensor | None
    record: Tensor | None

    def __init__(self, hardware: Hardware, geometry: Geometry, name: str) -> None:
        super().__init__()
        self.hardware, self.geometry, self.name, self.tile = hardware, geometry, name, name
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

    def target(self, weight: Tensor) -> Tensor:
        """Return what the arrays are to hold of a weight matrix: itself, within a learned clip.

        The gradient of a bound is that of the weights which it clips (Esser et al., ICLR 2020,
        arXiv 1902.08153, without the part of the rounding).
        """
        if self.clip_bound is None:
            return weight
        bound = spread_over_rows(gathered(self.clip_bound).to(weight.dtype), self.geometry)
        return torch.maximum(torch.minimum(weight, bound), -bound)

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

    # Persistence ----------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ChipInstance":
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
            "output_step": (),
            "gain": (geometry.out,),
            "offset": (geometry.out,),
            "column_gain": (geometry.parts, geometry.slices * geometry.out),
            "column_offset": (geometry.parts, geometry.slices * geometry.out),
            "column_seconds": (),
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


def _moved(now: Present, device: torch.device) -> Present:
    def move(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.to(device)

    columns = Columns(**{key: move(value) for key, value in now.columns._asdict().items()})
    return Present(now.weight.to(device), move(now.negative), columns, move(now.cells))
