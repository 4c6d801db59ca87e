"""Files of quantized models: a few bits for each weight, one scale for each column."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, DataError
from ._checkpoint import digital_state_dict, listed
from ._layer import sites
from ._quantize import Codes, Matrix, Per, Where, decode, encode, largest_code, matrices

FORMAT = "mho-quantized-1"


def save_quantized(
    model: nn.Module,
    path: str | Path,
    *,
    bits: int = 4,
    per: Per = "column",
    where: Where | None = None,
) -> Path:
    """Write a model that `mho.quantize` has rounded to a small safetensors file.

    A matrix NAME becomes `NAME.codes`, its codes (out, rows) in row-major order, and `NAME.scale`,
    float32 (row-slices, out). Up to 4 bits, a byte holds two codes in two's complement, the first
    in its lower half; above, it holds one. Everything else of the state dict is stored as it is.

    Args:
        model: a model, converted or not.
        path: the file.
        bits: as it was quantized.
        per: as it was quantized.
        where: as it was quantized.

    Raises:
        DataError: a matrix is not on the levels of `bits` bits, or the state dict holds something
            else than tensors. No file was written.
        LifecycleError: a layer is programmed, sharded over processes, or on the meta device.
    """
    from safetensors.torch import save_file

    limit, target = largest_code(bits, per), Path(path)
    found = {id(matrix.weight): matrix for matrix in matrices(model, where)}
    tensors: dict[str, Tensor] = {}
    partitions: dict[str, tuple[int, ...]] = {}
    names, aliases = {}, {}
    for key, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise DataError(f"{key} of the state dict is {type(value).__name__}, not a tensor.")
        if (first := names.setdefault(id(value), key)) != key:
            aliases[key] = first
        elif (matrix := found.get(id(value))) is not None:
            coded = _exact(encode(matrix, limit, per), matrix, limit, bits)
            tensors[f"{key}.codes"] = pack(coded.codes.flatten(), bits)
            tensors[f"{key}.scale"] = coded.scale.cpu().contiguous()
            partitions[key] = matrix.geometry.partition.rows
        else:
            tensors[key] = value.detach().to("cpu", copy=True).contiguous()
    about = {"bits": bits, "partitions": partitions, "aliases": aliases}
    save_file(tensors, target, {"format": FORMAT, "quantization": json.dumps(about)})
    return target


def load_quantized(model: nn.Module, path: str | Path) -> nn.Module:
    """Fill a model, in place, with the weights of a file of `mho.save_quantized`, bit for bit.

    Args:
        model: of the same layers, digital or converted; calibration in the file is taken over by
            the arrays of a converted model, and left out by a digital one.
        path: the file.

    Raises:
        CheckpointError: the file is no such file, or of another model, or holds learned clips or
            scales for the arrays that the model is not on. Nothing was changed.
    """
    tensors = _dequantized(model, *_read(Path(path)), path)
    _check_shapes(_outside_arrays(model.state_dict()), _outside_arrays(tensors), path)
    converted = any(True for _ in sites(model))
    model.load_state_dict(tensors if converted else digital_state_dict(tensors))
    return model


def _dequantized(
    model: nn.Module, tensors: dict[str, Tensor], about: dict[str, Any], path: str | Path
) -> dict[str, Tensor]:
    """Return the state dict of a file's tensors."""
    every = {matrix.name: matrix for matrix in matrices(model)}
    missing = [name for name in about["partitions"] if name not in every]
    if missing:
        raise CheckpointError(f"{path} is of another model: this model has no {listed(missing)}.")
    limit = largest_code(about["bits"], "column")
    for name, rows in about["partitions"].items():
        matrix, scale = every[name], tensors.pop(f"{name}.scale")
        packed, count = tensors.pop(f"{name}.codes"), matrix.weight.numel()
        if scale.shape != (len(rows), matrix.geometry.out) or sum(rows) * scale.shape[1] != count:
            raise CheckpointError(f"{name} has another shape in {path} than in this model.")
        codes = unpack(packed, about["bits"], count).reshape(matrix.geometry.out, -1)
        partition = replace(matrix.geometry.partition, rows=tuple(rows))
        split = matrix._replace(geometry=replace(matrix.geometry, partition=partition))
        tensors[name] = decode(Codes(codes, scale), split, limit)
    return tensors | {alias: tensors[name] for alias, name in about["aliases"].items()}


def _outside_arrays(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without what the arrays keep; loading checks that itself."""
    marks = (key for key in state if key.endswith(".record") and ".analog." in f".{key}")
    prefixes = tuple(key.removesuffix("record") for key in marks)
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def _check_shapes(here: dict[str, Tensor], stored: dict[str, Tensor], path: str | Path) -> None:
    """Refuse, before anything is copied, a file with other names or shapes than the model's."""
    for name in [*here, *stored]:
        if name not in stored or name not in here:
            lacks = "the file" if name not in stored else "this model"
            raise CheckpointError(f"{path} is of another model: {lacks} has no {name}.")
        if here[name].shape != stored[name].shape:
            shapes = f"{tuple(stored[name].shape)} in {path}, {tuple(here[name].shape)} here"
            raise CheckpointError(f"{name} has shape {shapes}.")


def _exact(coded: Codes, matrix: Matrix, limit: int, bits: int) -> Codes:
    """Return the codes, if they stand for exactly this matrix."""
    if not torch.equal(decode(coded, matrix, limit), matrix.weight.detach()):
        raise DataError(
            f"{matrix.name} is not on the levels of {bits} bits: call mho.quantize(model, "
            f"bits={bits}) with the same `per` and `where` first."
        )
    return coded


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise CheckpointError(f"{path} was not written by mho.save_quantized.")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from None
    return tensors, json.loads(about["quantization"])


def pack(codes: Tensor, bits: int) -> Tensor:
    """Return int8 codes (n,) as bytes: two to a byte up to 4 bits, else one."""
    bytes_ = codes.cpu().view(torch.uint8)
    if bits > 4:
        return bytes_
    if len(bytes_) % 2:
        bytes_ = torch.cat((bytes_, bytes_.new_zeros(1)))
    return (bytes_[::2] & 15) | (bytes_[1::2] << 4)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """Return `count` int8 codes of bytes: `pack` undone."""
    if bits > 4:
        return packed.view(torch.int8)
    halves = torch.stack((packed & 15, packed >> 4), dim=1).flatten()[:count].to(torch.int8)
    return torch.where(halves > 7, halves - 16, halves)
