"""What is special about attention on arrays: which projections run, and what is refused."""

import pytest
import torch
from torch import nn

import mho
from mho.errors import DataError

from .effects import TINY, hardware

NOISY = hardware(noise={"output": 0.01})


def projections(module, *inputs):
    """The number of vectors in each call of each matrix."""
    calls = {}
    handles = [
        site.crossbar.register_forward_hook(
            lambda _, args, __, name=site.name: calls.setdefault(name, []).append(
                args[0].shape[:-1].numel()
            )
        )
        for site in mho.sites(module)
    ]
    module(*inputs)
    for handle in handles:
        handle.remove()
    return calls


def test_every_distinct_input_drives_the_packed_matrix_once():
    module = nn.MultiheadAttention(8, 2)
    mho.convert(module, NOISY)
    x, memory, other = torch.randn(5, 3, 8), torch.randn(4, 3, 8), torch.randn(4, 3, 8)
    for inputs, vectors in {
        (x, x, x): [15],
        (x, memory, memory): [15, 12],
        (x, memory, other): [15, 12, 12],
    }.items():
        assert projections(module, *inputs) == {"in_proj_weight": vectors, "out_proj.weight": [15]}


def test_different_widths_have_matrices_of_their_own():
    module = nn.MultiheadAttention(8, 2, kdim=6, vdim=5)
    receipt = mho.convert(module, NOISY)
    assert {entry.name: entry.shape for entry in receipt.entries} == {
        "(root).q_proj_weight": (8, 8), "(root).k_proj_weight": (8, 6),
        "(root).v_proj_weight": (8, 5), "(root).out_proj.weight": (8, 8),
    }  # fmt: skip
    called = projections(module, torch.randn(5, 3, 8), torch.randn(4, 3, 6), torch.randn(4, 3, 5))
    assert called == {
        "q_proj_weight": [15], "k_proj_weight": [12], "v_proj_weight": [12],
        "out_proj.weight": [15],
    }  # fmt: skip


def test_noise_reaches_the_result_through_every_projection():
    """Each third and the output projection alone, by weights of zero everywhere else."""
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    mho.convert(module, NOISY)
    x = torch.randn(2, 5, 8)
    first, weights = module(x, x, x)
    second, other = module(x, x, x)
    assert (first != second).all()
    assert (weights != other).all()


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_the_causal_hint_changes_nothing(need_weights, padded):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    options = {"need_weights": need_weights, "attn_mask": torch.ones(5, 5).triu(1).bool()}
    if padded:
        options["key_padding_mask"] = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    expected, _ = module(x, x, x, **options)
    mho.convert(module, hardware(noise={"output": TINY}))
    for hint in (True, False):
        y, _ = module(x, x, x, is_causal=hint, **options)
        assert (y - expected).abs().max() < 1e-10


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_of_the_weights_is_that_of_torch(need_weights):
    """Without other random numbers, the same seed drops the same weights."""
    module = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.manual_seed(1)
    expected, _ = module(x, x, x, need_weights=need_weights)
    mho.convert(module, hardware())
    torch.manual_seed(1)
    y, _ = module(x, x, x, need_weights=need_weights)
    assert (y - expected).abs().max() < 1e-12
    module.eval()
    assert torch.equal(*(module(x, x, x, need_weights=need_weights)[0] for _ in range(2)))


def test_the_output_layer_stays_a_child_with_its_keys():
    module = nn.MultiheadAttention(8, 2)
    child, keys = module.out_proj, list(module.state_dict())
    mho.convert(module, NOISY)
    assert module.out_proj is child
    assert isinstance(child, nn.Linear)
    assert not isinstance(child, mho.nn.Analog)
    assert list(module.state_dict()) == keys


X = torch.zeros(2, 5, 8)
MASK = torch.zeros(5, 5, dtype=torch.bool)
WRONG = {
    "is_causal is a hint": ((X, X, X), {"is_causal": True}),
    "all be 2-D or all be 3-D": ((X, X[0], X[0]), {}),
    r"must have \(8, 8, 8\) features, got \(8, 8, 7\)": ((X, X, X[..., :7]), {}),
    "differ in length or batch": ((X, X, X[:, :4]), {}),
    "attn_mask must have shape": ((X, X, X), {"attn_mask": MASK[:4]}),
    "key_padding_mask must have shape": ((X, X, X), {"key_padding_mask": MASK[:2, :4]}),
    "a mask must be bool or floating point": ((X, X, X), {"attn_mask": MASK.int()}),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_are_named(message):
    inputs, options = WRONG[message]
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    mho.convert(module, NOISY)
    with pytest.raises(DataError, match=message):
        module(*inputs, **options)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors_are_refused():
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    mho.convert(module, NOISY)
    nested = torch.nested.nested_tensor([torch.zeros(2, 8), torch.zeros(3, 8)])
    with torch.no_grad(), pytest.raises(DataError, match="nested tensors"):
        module(nested, nested, nested)
