"""The analog multi-head attention: projections on arrays, the attention itself digital."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import DataError
from ..tiles import Geometry, Hardware
from ._layer import Analog, biased, dense

PACKED = ("in_proj_weight",)
SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
OUT = "out_proj.weight"


class AnalogMultiheadAttention(Analog, nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention` with its projections on arrays.

    softmax(Q K^T / sqrt(d)) V multiplies activations with activations and stays digital. Where the
    three input projections are one Parameter they are one matrix on the arrays: every distinct
    input drives all of its columns, and the thirds that are asked for are used.
    """

    digital = nn.MultiheadAttention

    @staticmethod
    def layouts(module: Any, hardware: Hardware) -> dict[str, Geometry]:
        """See `Analog.layouts`."""
        names = PACKED if module._qkv_same_embed_dim else SEPARATE
        shapes = {name: getattr(module, name).shape for name in names}
        shapes[OUT] = module.out_proj.weight.shape
        return {name: dense(out, rows, hardware) for name, (out, rows) in shapes.items()}

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, with the arguments and results of the torch layer."""
        if all(crossbar.transparent for crossbar in self.analog.values()):
            return nn.MultiheadAttention.forward(
                self, query, key, value, key_padding_mask, need_weights, attn_mask,
                average_attn_weights, is_causal,
            )  # fmt: skip
        _check(self, query, key, value, is_causal and attn_mask is None)
        padding, mask = _masks(query, key_padding_mask, attn_mask)
        if is_causal and padding is None and not need_weights:
            mask = None  # the hint says the same, and lets the fused kernel run
        else:
            is_causal = False
        batched = query.dim() == 3
        if not batched and padding is not None:
            padding = padding.unsqueeze(0)
        axis = 0 if self.batch_first or not batched else 1
        q, k, v = (
            (x if batched else x.unsqueeze(0)).movedim(axis, 0)
            for x in _project(self, query, key, value)
        )
        k, v, padding, mask = _extended(self, k, v, padding, mask)
        heads, weights = _attend(
            self, q, k, v, _merged(self, q, k, padding, mask), is_causal, need_weights
        )
        out = self.out_proj
        y = biased(self.analog["out_proj_weight"], heads, out.weight, out.bias)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return y.movedim(0, axis), weights


def _check(
    module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, bare: bool
) -> None:
    if bare:
        raise DataError("is_causal is a hint about attn_mask: give the causal attn_mask with it.")
    if query.is_nested or key.is_nested or value.is_nested:
        raise DataError(
            "nested tensors cannot be laid on arrays: give padded tensors and key_padding_mask."
        )
    if query.dim() not in (2, 3) or not query.dim() == key.dim() == value.dim():
        shapes = ", ".join(str(tuple(x.shape)) for x in (query, key, value))
        raise DataError(f"query, key and value must all be 2-D or all be 3-D, got {shapes}.")
    widths = (query.shape[-1], key.shape[-1], value.shape[-1])
    if widths != (wanted := (module.embed_dim, module.kdim, module.vdim)):
        raise DataError(f"query, key and value must have {wanted} features, got {widths}.")
    if key.shape[:-1] != value.shape[:-1]:
        raise DataError(
            f"key {tuple(key.shape)} and value {tuple(value.shape)} differ in length or batch."
        )


def _masks(
    query: Tensor, padding: Tensor | None, mask: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return both masks as what is added to the scores: 0, or -inf where a mask is True."""

    def added(given: Tensor | None) -> Tensor | None:
        if given is None or given.is_floating_point():
            return given
        if given.dtype != torch.bool:
            raise DataError(f"a mask must be bool or floating point, got {given.dtype}.")
        return torch.zeros_like(given, dtype=query.dtype).masked_fill(given, float("-inf"))

    return added(padding), added(mask)


def _project(module: Any, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """Return Q, K and V with embed_dim features each."""
    inputs = (query, key, value)
    bias = module.in_proj_bias
    if module._qkv_same_embed_dim:
        crossbar, weight = module.analog["in_proj_weight"], module.in_proj_weight
        distinct = {id(x): x for x in inputs}  # each input is driven once, whatever it is used for
        products = {
            which: biased(crossbar, x, weight, bias).chunk(3, -1) for which, x in distinct.items()
        }
        return [products[id(x)][third] for third, x in enumerate(inputs)]
    biases: Any = (None,) * 3 if bias is None else bias.chunk(3)
    triples = zip(SEPARATE, inputs, biases, strict=True)
    return [biased(module.analog[n], x, getattr(module, n), b) for n, x, b in triples]


def _extended(
    module: Any, k: Tensor, v: Tensor, padding: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Append the learned and the zero position to keys, values (batch, position, ...), masks."""
    ends: list[tuple[Tensor, Tensor]] = []
    if module.bias_k is not None:
        ends.append((module.bias_k.expand(len(k), 1, -1), module.bias_v.expand(len(v), 1, -1)))
    if module.add_zero_attn:
        ends.append((k.new_zeros(len(k), 1, k.shape[-1]), v.new_zeros(len(v), 1, v.shape[-1])))
    if not ends:
        return k, v, padding, mask
    k = torch.cat((k, *(end for end, _ in ends)), 1)
    v = torch.cat((v, *(end for _, end in ends)), 1)
    more = (0, len(ends))
    padding = None if padding is None else F.pad(padding, more)
    return k, v, padding, None if mask is None else F.pad(mask, more)


def _merged(
    module: Any, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None
) -> Tensor | None:
    """Return one mask that broadcasts to (batch, heads, queries, keys)."""
    batch, queries, keys = len(q), q.shape[1], k.shape[1]
    if mask is not None:
        allowed = (queries, keys), (batch * module.num_heads, queries, keys)
        if mask.shape not in allowed:
            raise DataError(
                f"attn_mask must have shape {allowed[0]} or {allowed[1]}, got {tuple(mask.shape)}."
            )
        mask = mask.view(-1, 1 if mask.dim() == 2 else module.num_heads, queries, keys)
    if padding is None:
        return mask
    if padding.shape != (batch, keys):
        raise DataError(
            f"key_padding_mask must have shape {(batch, keys)}, got {tuple(padding.shape)}."
        )
    padding = padding.view(batch, 1, 1, keys)
    return padding if mask is None else mask + padding


def _attend(
    module: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    need_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the heads' outputs side by side (batch, queries, embed_dim), and their weights."""
    q, k, v = (x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    dropout = module.dropout if module.training else 0.0
    if not need_weights:
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
        return y.transpose(1, 2).flatten(2), None
    scores = (q * module.head_dim**-0.5) @ k.transpose(-2, -1)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    weights = F.dropout(weights, dropout) if dropout else weights
    return (weights @ v).transpose(1, 2).flatten(2), weights
