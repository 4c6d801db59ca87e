"""Every layer type with drawn shapes and options: a module, its inputs, and how to call it."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

TORCH_WARNS = (
    # What torch itself says about some of the options drawn here.
    "ignore:Using padding='same' with even kernel lengths:UserWarning",
    "ignore:LSTM with projections is not supported with oneDNN:UserWarning",
)


@dataclass
class Case:
    module: nn.Module
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self):
        shapes = [tuple(leaf.shape) for leaf in leaves(self.inputs)]
        return f"{self.module}, inputs {shapes}, {self.options}"


def leaves(value):
    """The tensors in nested outputs or inputs, a packed sequence by its data."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    return []


def run(module, case, seed=0):
    """Outputs, and gradients of the sum of squares with respect to inputs and Parameters."""
    torch.manual_seed(seed)
    sources = [x for x in leaves(case.inputs) if x.is_floating_point()]
    sources += list(module.parameters())
    outputs = leaves(module(*case.inputs, **case.options))
    gradients = torch.autograd.grad(
        sum(y.square().sum() for y in outputs), sources, allow_unused=True
    )
    return outputs, gradients


def _sizes(draw, n, low, high):
    return tuple(draw(st.integers(low, high)) for _ in range(n))


@st.composite
def linear(draw):
    rows, out = _sizes(draw, 2, 1, 24)
    lead = draw(st.sampled_from([(), (1,), (5,), (2, 3)]))
    return Case(nn.Linear(rows, out, bias=draw(st.booleans())), (torch.randn(*lead, rows),))


@st.composite
def transformers_conv1d(draw):
    from transformers.pytorch_utils import Conv1D

    rows, out = _sizes(draw, 2, 1, 24)
    module = Conv1D(out, rows)
    nn.init.normal_(module.bias)
    lead = draw(st.sampled_from([(1,), (5,), (2, 3)]))
    return Case(module, (torch.randn(*lead, rows),))


CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONV_TRANSPOSE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@st.composite
def convolution(draw, dims):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    into, out = (groups * n for n in _sizes(draw, 2, 1, 3))
    kernel, dilation = _sizes(draw, dims, 1, 3), _sizes(draw, dims, 1, 2)
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    if draw(st.booleans()):
        stride, padding = 1, "same"
    else:
        stride, padding = _sizes(draw, dims, 1, 3), _sizes(draw, dims, 0, 2)
    module = CONV[dims - 1](
        into, out, kernel, stride, padding, dilation, groups, draw(st.booleans()), mode
    )
    # 'same' reflects up to dilation (kernel - 1) = 4 in all: 5 pixels are enough for every mode.
    spatial = _sizes(draw, dims, 5, 8 if dims < 3 else 6)
    lead = draw(st.sampled_from([(), (1,), (2,)]))
    return Case(module, (torch.randn(*lead, into, *spatial),))


@st.composite
def transposed_convolution(draw, dims):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    into, out = (groups * n for n in _sizes(draw, 2, 1, 3))
    kernel, dilation = _sizes(draw, dims, 1, 3), _sizes(draw, dims, 1, 2)
    stride = _sizes(draw, dims, 1, 3)
    most = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    extra = tuple(draw(st.integers(0, m)) for m in most)
    padding = _sizes(draw, dims, 0, 1)
    module = CONV_TRANSPOSE[dims - 1](
        into, out, kernel, stride, padding, extra, groups, draw(st.booleans()), dilation
    )
    spatial = _sizes(draw, dims, 3, 5)
    lead = draw(st.sampled_from([(), (2,)]))
    case = Case(module, (torch.randn(*lead, into, *spatial),))
    if draw(st.booleans()):
        larger = [draw(st.integers(0, s - 1)) for s in stride]
        case.options["output_size"] = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + more
            for n, s, p, d, k, more in zip(
                spatial, stride, padding, dilation, kernel, larger, strict=True
            )
        ]
    return case


@st.composite
def recurrent(draw, kind, dropout=True):
    width, hidden = _sizes(draw, 2, 2, 9)
    layers, options = draw(st.integers(1, 3)), {}
    if kind is nn.LSTM and draw(st.booleans()):
        options["proj_size"] = draw(st.integers(1, hidden - 1))
    if kind is nn.RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if dropout and layers > 1:
        options["dropout"] = draw(st.sampled_from([0.0, 0.4]))
    batch_first, both = draw(st.booleans()), draw(st.booleans())
    module = kind(
        width, hidden, layers,
        bias=draw(st.booleans()), batch_first=batch_first, bidirectional=both, **options,
    )  # fmt: skip
    form = draw(st.sampled_from(["padded", "packed", "unsorted", "single"]))
    batch, length = _sizes(draw, 2, 1, 5)
    x = torch.randn(batch, length, width) if batch_first else torch.randn(length, batch, width)
    lead: tuple[int, ...] = (layers * (1 + both), batch)
    if form == "single":
        x, lead = x.select(0 if batch_first else 1, 0), lead[:1]
    elif form != "padded":
        lengths = [draw(st.integers(1, length)) for _ in range(batch)]
        lengths = sorted(lengths, reverse=True) if form == "packed" else lengths
        x = pack_padded_sequence(x, torch.tensor(lengths), batch_first, form == "packed")
    if not draw(st.booleans()):
        return Case(module, (x,))
    h = torch.randn(*lead, options.get("proj_size", hidden))
    return Case(module, (x, (h, torch.randn(*lead, hidden)) if kind is nn.LSTM else h))


@st.composite
def recurrent_cell(draw, kind):
    width, hidden = _sizes(draw, 2, 1, 12)
    options = {}
    if kind is nn.RNNCell:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    module = kind(width, hidden, draw(st.booleans()), **options)
    lead = draw(st.sampled_from([(), (1,), (4,)]))
    x = torch.randn(*lead, width)
    if draw(st.booleans()):
        return Case(module, (x,))
    h, c = torch.randn(*lead, hidden), torch.randn(*lead, hidden)
    return Case(module, (x, (h, c) if kind is nn.LSTMCell else h))


@st.composite
def attention(draw, dropout=True):
    heads, batch = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    width = heads * draw(st.integers(1, 4))
    same = draw(st.sampled_from(["self", "memory", "distinct", "widths"]))
    key_width, value_width = (width, width) if same != "widths" else _sizes(draw, 2, 2, 7)
    batch_first, single = draw(st.booleans()), draw(st.booleans())
    module = nn.MultiheadAttention(
        width, heads, draw(st.sampled_from([0.0, 0.3])) if dropout else 0.0,
        bias=draw(st.booleans()), add_bias_kv=draw(st.booleans()),
        add_zero_attn=draw(st.booleans()), kdim=key_width, vdim=value_width,
        batch_first=batch_first,
    )  # fmt: skip
    for bias in (module.in_proj_bias, module.out_proj.bias):  # torch begins with zeros
        if bias is not None:
            nn.init.normal_(bias)
    module.train(draw(st.booleans()))
    queries = draw(st.integers(1, 4))
    keys = queries if same == "self" else draw(st.integers(1, 4))

    def sequence(length, features):
        if single:
            return torch.randn(length, features)
        lead = (batch, length) if batch_first else (length, batch)
        return torch.randn(*lead, features)

    query = sequence(queries, width)
    key = query if same == "self" else sequence(keys, key_width)
    value = key if same in ("self", "memory") else sequence(keys, value_width)
    options = _masks(draw, module, 1 if single else batch, queries, keys, single)
    return Case(module, (query, key, value), options)


def _masks(draw, module, batch, queries, keys, single):
    options = {"need_weights": draw(st.booleans()), "average_attn_weights": draw(st.booleans())}
    floats = draw(st.booleans())

    def as_kind(mask):
        return torch.zeros(mask.shape).masked_fill(mask, float("-inf")) if floats else mask

    # The first key stays visible to all: a query that may attend to nothing has no defined answer.
    if draw(st.booleans()):
        padding = torch.rand(batch, keys) < 0.4
        padding[:, 0] = False
        options["key_padding_mask"] = as_kind(padding[0] if single else padding)
    which = draw(st.sampled_from([None, "causal", "shared", "each"]))
    if which == "causal":
        options["attn_mask"] = as_kind(torch.ones(queries, keys, dtype=torch.bool).triu(1))
        # With appended positions torch's hint means another mask than attn_mask does.
        appended = module.bias_k is not None or module.add_zero_attn
        options["is_causal"] = False if appended else draw(st.booleans())
    elif which is not None:
        lead = () if which == "shared" else (batch * module.num_heads,)
        mask = torch.rand(*lead, queries, keys) < 0.4
        mask[..., 0] = False
        options["attn_mask"] = as_kind(mask)
    return options


TRANSFORMERS = "Conv1D of transformers"
FAMILIES = {
    "Linear": linear,
    **{kind.__name__: lambda n=n, **_: convolution(n + 1) for n, kind in enumerate(CONV)},
    **{
        kind.__name__: lambda n=n, **_: transposed_convolution(n + 1)
        for n, kind in enumerate(CONV_TRANSPOSE)
    },
    TRANSFORMERS: transformers_conv1d,
    **{
        kind.__name__: lambda kind=kind, **options: recurrent(kind, **options)
        for kind in (nn.RNN, nn.LSTM, nn.GRU)
    },
    **{
        kind.__name__: lambda kind=kind, **_: recurrent_cell(kind)
        for kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
    },
    "MultiheadAttention": attention,
}
"""Layer types, each with a function that returns the strategy for its cases."""

_OPTIONAL = pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
every_family = pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=_OPTIONAL if name == TRANSFORMERS else ()) for name in FAMILIES],
)
"""Run a test for each layer type."""
