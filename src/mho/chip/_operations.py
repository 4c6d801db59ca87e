"""What operations of a digital unit cost, in multiplications and additions."""

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from ._graph import Window

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "mv", "dot", "addmv", "_convolution")
ATTENTION = "_scaled_dot_product"


@cache
def _table() -> dict[str, Any]:
    path = Path(__file__).parent / "operations.yaml"
    return yaml.safe_load(path.read_text(encoding="utf8"))


def moves(name: str) -> bool:
    """Whether an operation only moves data."""
    return name in _table()["moves"]


def keeps_order(name: str) -> bool:
    """Whether an operation only copies data, place by place."""
    return name in _table()["copies"]


def repeats(name: str) -> bool:
    """Whether an operation may write the same numbers several times."""
    return name in _table()["repeats"]


def pointwise(name: str, args: Any, x: Tensor, out: Tensor, layout: str | None) -> bool:
    """Whether each place of an output needs its own place of the input only.

    What is in no table waits for all of its input, and so do norms and softmax over places.
    """
    table = _table()
    if name in table["per_input"]:
        return layout == "dense" and out.shape == (*x.shape[:-1], 1)
    if name in table["norms"]:
        return layout == "dense" and len(args[1]) == 1
    if name in table["softmax"]:
        return layout == "dense" and args[1] % out.dim() == out.dim() - 1
    return name in table["per_element"] and name not in table["over_places"]


def pool_window(name: str, args: Any, x: Tensor, out: Tensor) -> Window | None:
    """Return the window of a pooling operation, None for any other."""
    if not _pool(name):
        return None
    axes = len(args[1])
    if "adaptive" in name:  # output row i covers the inputs to ceil((i + 1) rows_in / rows_out)
        kernel = stride = padding = dilation = [0] * axes
    else:
        kernel, stride, padding = args[1], _given(args, 2) or args[1], _given(args, 3) or [0]
        dilation = _given(args, 4) or [1] if name.startswith("max") else [1]
        kernel, stride, padding, dilation = (
            list(n) * (axes // len(n)) for n in (kernel, stride, padding, dilation)
        )
    axis = next((k for k in range(axes) if x.shape[k - axes] > 1), 0)
    images = x.shape[0] if x.dim() == axes + 2 else 1
    rows, into = x.shape[axis - axes], out.shape[axis - axes]
    if "adaptive" in name:
        return Window(images, into, rows, rows, rows - 1, into)
    reach = (kernel[axis] - 1) * dilation[axis] - padding[axis]
    return Window(images, into, rows, stride[axis], reach)


def _pool(name: str) -> bool:
    return name in _table()["per_window"] or "adaptive" in name


def _given(args: Any, place: int) -> Any:
    return args[place] if len(args) > place else None


def creates(name: str) -> bool:
    """Whether an operation makes a tensor without looking at another one's numbers."""
    return name.startswith("new_") or name.endswith("_like")


def full_name(func: Any, args: Any) -> str:
    """Return an operation's name, one of its own for a batch norm that takes its own statistics."""
    name = func.overloadpacket._qualified_op_name.split("::")[1]
    return "instance_norm" if name == "native_batch_norm" and args[5] else name


def plain(name: str) -> str:
    """Return an operation's name as people say it."""
    if name.startswith(ATTENTION):
        return "attention"
    return name.strip("_").removesuffix("_with_indices").removeprefix("native_")


def local(name: str) -> bool:
    """Whether a core's own digital unit can do it to what its arrays produce."""
    return name in _table()["local"]


def is_product(name: str) -> bool:
    """Whether an operation is a product of two tensors."""
    return name in PRODUCTS or name.startswith(ATTENTION)


def arithmetic(name: str, args: Any, inputs: list[Tensor], outputs: int) -> tuple[int, int]:
    """Return (multiplications, additions) of an operation that is not a product."""
    table = _table()
    if name in table["per_window"]:
        multiply, add = table["per_window"][name]
        count = outputs * prod(args[1])
        return multiply * count, add * count
    if name in table["per_input"]:
        multiply, add = table["per_input"][name]
        count = max((x.numel() for x in inputs), default=0)
        return multiply * count, add * count
    multiply, add = table["per_element"].get(name, table["other"])
    return multiply * outputs, add * outputs


def multiply_adds(name: str, args: Any, out: Tensor) -> tuple[int, int]:
    """Return (multiply-adds, exponentials) of a product.

    Attention of queries (..., L_q, d) with keys (..., L_k, d) takes L_q L_k (d + d_v) for each
    head, whatever a mask leaves out.
    """
    if name.startswith(ATTENTION):
        query, key, value = args[:3]
        pairs = prod(query.shape[:-1]) * key.shape[-2]
        return pairs * (query.shape[-1] + value.shape[-1]), pairs
    if name in ("convolution", "_convolution"):
        weight = args[1]
        transposed = args[6] if len(args) > 6 else False
        per_output = weight[0].numel() if not transposed else weight.numel() // weight.shape[0]
        return (args[0].numel() if transposed else out.numel()) * per_output, 0
    first = args[1] if name.startswith(("add", "badd")) else args[0]
    return out.numel() * first.shape[-1], 0


def softmax_of(pairs: int) -> tuple[int, int]:
    """Return (multiplications, additions) of a softmax over so many numbers."""
    multiply, add = _table()["per_element"]["_softmax"]
    return multiply * pairs, add * pairs


def operands(name: str, args: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Return the factors of a product that stream through it, and those that stay."""
    if name.startswith(ATTENTION):
        return [args[0]], [args[1], args[2]]
    if name.startswith(("addm", "badd")):
        return [args[1]], [args[2]]
    return [args[0]], [args[1]]
