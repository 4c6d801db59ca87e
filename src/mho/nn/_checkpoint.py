"""Checkpoints of converted models: the record of the hardware, and refusals before any copy."""

import copy
import json
from collections.abc import Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, MhoError
from ..spec import diff, to_dict
from ..tiles import Hardware

if TYPE_CHECKING:
    from ._crossbar import Crossbar
    from ._layer import Analog

CHIP = ("programmed", "scale", "seed", "seconds")
LEARNED = (".clip_bound", ".output_scale")
DTYPES = {
    "seed": torch.int64, "seconds": torch.float64, "column_seconds": torch.float64,
    "record": torch.uint8,
}  # or float32  # fmt: skip


def record(hardware: Hardware, tile: str) -> Tensor:
    """Return, as bytes that travel in any file of tensors, what the state of a crossbar belongs to.

    Args:
        hardware: the hardware it was made with.
        tile: name of the random streams of its chip instance.
    """
    text = json.dumps({"hardware": to_dict(hardware), "tile": tile}, sort_keys=True)
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def read_record(stored: Tensor) -> tuple[Hardware, str]:
    """Return the hardware and the tile's name of a record.

    Raises:
        CheckpointError: the bytes are no record.
    """
    try:
        found = json.loads(bytes(stored.cpu().numpy()).decode())
        return Hardware(**found["hardware"]), str(found["tile"])
    except (MhoError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"the recorded hardware cannot be read: {error}") from None


def digital_state_dict(
    source: nn.Module | MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """Return the state dict of the digital model: everything but what belongs to the arrays.

    Learned clips and output scales are folded into the weights.

    Args:
        source: a model, or the state dict of one, such as a loaded file; it is not changed.

    Raises:
        CheckpointError: the state dict alone has learned clips or scales.
    """
    state = source.state_dict() if isinstance(source, nn.Module) else copy.copy(source)
    if isinstance(source, nn.Module):
        state.update(_folded(source))
    marks = (key for key in state if key.endswith(".record") and ".analog." in f".{key}")
    prefixes = tuple(key.removesuffix("record") for key in marks)
    for key in [key for key in state if key.startswith(prefixes)]:
        if key.endswith(LEARNED) and not isinstance(source, nn.Module):
            raise CheckpointError(
                f"{key} is part of the layer's function: load the state dict into the converted "
                "model and pass that, so that it can be folded into the weights."
            )
        del state[key]
    return state


@torch.no_grad()
def _folded(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that have learned clips and scales, with them."""
    from ._layer import sites  # which imports this file

    found = {}
    for site in sites(model):
        crossbar = site.crossbar
        if crossbar.clip_bound is not None or crossbar.output_scale is not None:
            found[site.name] = site.shaped(crossbar.digital(site.matrix))
    return found


def problems(layer: "Analog", state_dict: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield (weight, why a checkpoint cannot be loaded for it) of an analog layer."""
    for path, crossbar in layer.analog.by_path():
        weight = state_dict.get(prefix + path)
        analog = f"{prefix}analog.{path.replace('.', '_')}."
        stored = {k.removeprefix(analog): v for k, v in state_dict.items() if k.startswith(analog)}
        if weight is not None and weight.shape != (here := layer.get_parameter(path).shape):
            shapes = f"{tuple(weight.shape)} in the checkpoint, {tuple(here)} here"
            problem = f"the weight has shape {shapes}."
        elif stored:
            problem = _foreign(crossbar, stored)
        else:
            problem = _NO_CHIP if crossbar.is_programmed and weight is not None else None
        if problem:
            yield prefix + path, problem


def keeps_calibration(layer: "Analog", state_dict: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield the weights that a checkpoint replaces without saying anything about their arrays."""
    for path, crossbar in layer.analog.by_path():
        mark = f"{prefix}analog.{path.replace('.', '_')}.record"
        if crossbar.record is not None and prefix + path in state_dict and mark not in state_dict:
            yield path


def listed(names: list[str]) -> str:
    """Return the first few of many names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def refuse(found: Iterable[tuple[str, str]]) -> None:
    """Raise one error of all problems, if there is any.

    Raises:
        CheckpointError: there is.
    """
    weights: dict[str, list[str]] = {}
    for weight, problem in found:
        weights.setdefault(problem, []).append(weight)
    if weights:
        text = "\n  ".join(f"{listed(names)}: {problem}" for problem, names in weights.items())
        raise CheckpointError(f"the checkpoint does not fit this model:\n  {text}")


_NO_CHIP = (
    "this layer is programmed, the checkpoint has no chip instance: call mho.erase(model) before "
    "loading it, and mho.program(model, seed=...) afterwards."
)


def _foreign(crossbar: "Crossbar", stored: dict[str, Tensor]) -> str | None:
    """Say why the analog state of a checkpoint belongs to another crossbar, if so."""
    if "record" not in stored:
        return "the checkpoint does not say which hardware its analog state belongs to."
    if stored["record"].is_meta:
        return None  # nothing to read: another rank holds the values
    try:
        other, _ = read_record(stored["record"])
    except CheckpointError as error:
        return str(error)
    if other != crossbar.hardware:
        changes = diff(crossbar.hardware, other).items()
        text = ", ".join(f"{name}: {here} here, {there} stored" for name, (here, there) in changes)
        return f"the checkpoint belongs to other hardware ({text}); convert with that hardware."
    present = [key for key in CHIP if key in stored]
    if present and len(present) < len(CHIP):
        missing = ", ".join(key for key in CHIP if key not in stored)
        return f"the checkpoint has part of a chip instance only; it lacks {missing}."
    if crossbar.is_programmed and not present:
        return _NO_CHIP
    return next((p for key, value in stored.items() if (p := _unfit(crossbar, key, value))), None)


def _unfit(crossbar: "Crossbar", key: str, value: Tensor) -> str | None:
    """Say why a stored tensor cannot be taken over, if so."""
    shape, dtype = crossbar.shapes.get(key), DTYPES.get(key, torch.float32)
    if shape is None:
        return None  # torch itself says which keys are unexpected
    if tuple(value.shape) != shape:
        return f"{key} has shape {tuple(value.shape)} in the checkpoint, {shape} here."
    if value.dtype != dtype and key not in crossbar._parameters:
        return f"{key} is stored as {value.dtype}, which is not what a chip is kept in ({dtype})."
    if not (value.is_meta or value.isfinite().all()):
        return f"{key} has values that are not finite in the checkpoint."
    return None
