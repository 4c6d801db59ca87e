"""Fused paths of torch that would read weights past the arrays are off while a model is analog."""

import copy

import pytest
import torch
from torch import nn

import mho

from .effects import TINY, hardware

NOISY = hardware(noise={"output": 0.01})
EXACT = hardware(noise={"output": TINY})


def encoder_layer():
    return nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu")


def encoder():
    return nn.TransformerEncoder(encoder_layer(), 2)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def products(model, *args, **kwargs):
    """How often each matrix was used in one call without gradients."""
    counts = {}
    handles = []
    for site in mho.sites(model):
        counts[site.name] = 0

        def count(*_, name=site.name):
            counts[name] += 1

        handles.append(site.crossbar.register_forward_hook(count))
    with torch.no_grad():
        model(*args, **kwargs)
    for handle in handles:
        handle.remove()
    return counts


@pytest.mark.parametrize("build", [encoder_layer, encoder])
@pytest.mark.parametrize("where", [None, mho.linear, mho.named("self_attn"), mho.named("linear2")])
def test_every_matrix_on_arrays_is_used(build, where):
    model = build().eval()
    x = torch.randn(3, 5, 8)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    mho.convert(model, NOISY, where=where)
    assert set(products(model, x).values()) == {1}
    assert set(products(model, x, src_key_padding_mask=padding).values()) == {1}


@pytest.mark.parametrize("build", [encoder_layer, encoder])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_paths_come_back_with_restore(build):
    model = build().eval()
    x = torch.randn(3, 5, 8)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    switches = [
        (m.activation_relu_or_gelu if isinstance(m, nn.TransformerEncoderLayer) else None,
         m.use_nested_tensor if isinstance(m, nn.TransformerEncoder) else None)
        for m in model.modules()
    ]  # fmt: skip
    attributes = [set(vars(module)) for module in model.modules()]
    with torch.no_grad():
        expected = model(x, src_key_padding_mask=padding)
    mho.convert(model, NOISY)
    with torch.no_grad():
        assert not torch.equal(model(x, src_key_padding_mask=padding), expected)
    mho.restore(model)
    with torch.no_grad():
        assert torch.equal(model(x, src_key_padding_mask=padding), expected)
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert switches == [
        (m.activation_relu_or_gelu if isinstance(m, nn.TransformerEncoderLayer) else None,
         m.use_nested_tensor if isinstance(m, nn.TransformerEncoder) else None)
        for m in model.modules()
    ]  # fmt: skip


def test_the_receipt_says_so():
    model = nn.Sequential(encoder(), nn.Linear(8, 3))
    receipt = mho.convert(model, NOISY)
    assert receipt.notes == (
        "0: the fused path of TransformerEncoder is switched off.",
        "0.layers.0: the fused path of TransformerEncoderLayer is switched off.",
        "0.layers.1: the fused path of TransformerEncoderLayer is switched off.",
    )
    assert all(note in str(receipt) for note in receipt.notes)
    assert not mho.convert(nn.Linear(8, 3), NOISY).notes


def test_digital_layers_keep_their_paths():
    model = nn.Sequential(encoder_layer(), nn.Linear(8, 3))
    mho.convert(model, NOISY, where=mho.named("1"))
    assert model[0].activation_relu_or_gelu == 2


def test_without_the_fused_path_the_result_is_the_same():
    """In float64 and where nothing is padded, torch's two ways agree to rounding."""
    model = encoder().eval().double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    twin = copy.deepcopy(model)
    mho.convert(model, EXACT)
    with torch.no_grad():
        assert (model(x) - twin(x)).abs().max() < 1e-12 * twin(x).abs().max()


def test_attention_has_no_way_past_the_arrays():
    """In eval mode torch's own layer runs as one kernel on the raw weights."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    mho.convert(attention, NOISY)
    assert products(attention, x, x, x) == {"in_proj_weight": 1, "out_proj.weight": 1}
    assert products(attention, x, x, x, need_weights=False) == {
        "in_proj_weight": 1, "out_proj.weight": 1,
    }  # fmt: skip


def test_ideal_attention_keeps_the_kernel():
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        expected = attention(x, x, x)
    mho.convert(attention, mho.Hardware())
    with torch.no_grad():
        found = attention(x, x, x)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
