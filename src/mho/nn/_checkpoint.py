"""Checkpoints of converted models: the record of the hardware, and clear refusals."""

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import MhoError
from ..spec import diff, to_json
from ..tiles import Hardware

if TYPE_CHECKING:
    from ._crossbar import Crossbar


def record(hardware: Hardware) -> Tensor:
    """Return the hardware as bytes, so that it travels in any file of tensors."""
    return torch.frombuffer(bytearray(to_json(hardware).encode()), dtype=torch.uint8)


def check_record(crossbar: "Crossbar", state_dict: dict[str, Any], prefix: str) -> str | None:
    """Return why the analog part of a checkpoint cannot be loaded here, or None."""
    name = prefix.rstrip(".")
    stored = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
    if not stored:
        if crossbar.is_programmed:
            return (
                f"{name}: this layer is programmed (seed {int(crossbar.seed)}), the checkpoint has no chip: "
                "call mho.erase(model) before loading, then mho.program(model) again."
            )
        return None
    if "record" not in stored:
        return f"{name}: the checkpoint does not say which hardware its analog state belongs to."
    try:
        other = Hardware(**json.loads(bytes(stored["record"].cpu().numpy()).decode()))
    except (MhoError, ValueError) as error:
        return f"{name}: the hardware recorded in the checkpoint cannot be read: {error}"
    if other != crossbar.hardware:
        changes = ", ".join(f"{p}: {a} here, {b} stored" for p, (a, b) in diff(crossbar.hardware, other).items())
        return f"{name}: the checkpoint belongs to other hardware ({changes}); convert with that hardware."
    return _check_shapes(crossbar, stored, name)


def _check_shapes(crossbar: "Crossbar", stored: dict[str, Tensor], name: str) -> str | None:
    geometry = crossbar.geometry
    wanted = {
        "programmed": (crossbar.hardware.mapping.planes, geometry.out, geometry.rows),
        "scale": (geometry.parts, geometry.out),
        "input_range": (geometry.parts,),
    }
    for key, shape in wanted.items():
        if key in stored and tuple(stored[key].shape) != shape:
            return f"{name}.{key}: the checkpoint has shape {tuple(stored[key].shape)}, this layer {shape}."
    return None


def restore_missing(crossbar: "Crossbar", state_dict: dict[str, Any], prefix: str) -> None:
    """Make room for what the checkpoint has and the layer lacks, and drop what only the layer has."""
    if not any(key.startswith(prefix) for key in state_dict):
        return  # a digital checkpoint: calibration stays as it is, and is reported as missing
    device = next((b.device for b in crossbar._buffers.values() if b is not None), None)
    for store in (crossbar._buffers, crossbar._parameters):
        for key, here in list(store.items()):
            value = state_dict.get(prefix + key)
            if value is None:
                store[key] = None
            elif here is None or here.shape != value.shape:
                empty = torch.empty_like(value, device=device)
                store[key] = nn.Parameter(empty) if store is crossbar._parameters else empty
