"""Conversion in place: what stays, what is shared, what is refused; nothing is half done."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import mho
from mho.errors import ConversionError, DataError, MhoError
from mho.nn import Analog, AnalogLinear
from mho.tiles import Hardware

from .effects import hardware

SMALL = hardware(noise={"output": 0.01})


class Net(nn.Module):
    """Layers of several kinds, one of them used under two names."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 9)
        self.conv = nn.Conv1d(9, 9, 3, padding=1)
        self.norm = nn.LayerNorm(9)
        self.rnn = nn.GRU(9, 6, batch_first=True)
        self.head = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 11))
        self.again = self.head[0]

    def forward(self, tokens):
        x = self.conv(self.table(tokens).transpose(1, 2)).transpose(1, 2)
        y, _ = self.rnn(self.norm(x))
        return self.head(self.again(y))


TOKENS = torch.arange(10).reshape(2, 5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net()


def snapshot(model):
    """Everything about a model that a failed conversion could have changed."""
    modules = {
        name: (type(module), set(vars(module)), tuple(module._modules), module.training)
        for name, module in model.named_modules(remove_duplicate=False)
    }
    hooks = [len(m._load_state_dict_pre_hooks) for m in model.modules()]
    tensors = {name: (id(p), p.detach().clone()) for name, p in model.named_parameters()}
    return modules, hooks, tensors


def assert_unchanged(model, before):
    now = snapshot(model)
    assert now[:2] == before[:2]
    assert now[2].keys() == before[2].keys()
    for name, (identity, value) in now[2].items():
        assert identity == before[2][name][0]
        assert torch.equal(value, before[2][name][1]) or value.isnan().any()


def test_a_converted_model_is_the_same_object_with_the_same_state(model):
    modules = dict(model.named_modules(remove_duplicate=False))
    parameters = list(model.named_parameters())
    state = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    mho.convert(model, SMALL)
    for name, module in modules.items():
        assert model.get_submodule(name) is module
    now = list(model.named_parameters())
    assert [name for name, _ in now] == [name for name, _ in parameters]
    assert all(p is q for (_, p), (_, q) in zip(now, parameters, strict=True))
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    model(TOKENS).sum().backward()
    optimizer.step()
    assert not torch.equal(model.head[0].weight, state["head.0.weight"])


def test_the_root_itself_becomes_analog():
    root = nn.Linear(9, 6)
    receipt = mho.convert(root, SMALL)
    assert isinstance(root, AnalogLinear)
    assert receipt.analog == ["(root)"]
    # ceil(9 / 7) x ceil(6 / 5) arrays of 35 cells
    assert receipt.arrays == 4
    assert receipt.entries[0].utilization == 54 / (4 * 35)
    assert list(root.state_dict()) == ["weight", "bias"]
    mho.restore(root)
    assert type(root) is nn.Linear


def test_the_receipt_lists_every_module_with_parameters(model):
    receipt = mho.convert(model, SMALL)
    # rows x columns of arrays: conv 27 -> 5 (3 positions stay together, 6 rows each) x 2,
    # GRU 9 -> 2 by 18 -> 4 and 6 -> 1 by 4, heads 6 -> 1 by 2 and 1 by 3.
    arrays = {entry.name: entry.arrays for entry in receipt.entries if entry.analog}
    assert arrays == {
        "conv": 10, "rnn.weight_ih_l0": 8, "rnn.weight_hh_l0": 4, "head.0": 2, "head.2": 3,
    }  # fmt: skip
    assert receipt.arrays == 27
    assert receipt.digital == {
        "table": "Embedding is a look-up, not a product",
        "norm": "LayerNorm has no weight matrix",
    }
    assert receipt.hardware == (SMALL,)
    text = str(receipt)
    assert all(entry.name in text and entry.kind in text for entry in receipt.entries)


def test_hooks_stay_and_fire(model):
    seen = []
    layer = model.head[0]
    layer.register_forward_pre_hook(lambda *_: seen.append("before"))
    layer.register_forward_hook(lambda *_: seen.append("after"))
    layer.register_full_backward_hook(lambda *_: seen.append("backward"))
    layer.register_state_dict_post_hook(lambda *_: seen.append("saved"))
    mho.convert(model, SMALL)
    model.head(torch.randn(2, 6, requires_grad=True)).sum().backward()
    model.state_dict()
    assert seen == ["before", "after", "backward", "saved", "saved"]  # `head.0` and `again`
    mho.restore(model)
    model.head(torch.randn(2, 6))
    assert seen[5:] == ["before", "after"]


def test_a_module_with_two_names_is_converted_once(model):
    receipt = mho.convert(model, SMALL)
    assert [entry.name for entry in receipt.entries].count("head.0") == 1
    assert "again" not in receipt.analog
    assert model.again is model.head[0]


@pytest.mark.parametrize("together", [True, False])
def test_tied_weights_share_their_arrays(together):
    first, second, other = (nn.Linear(9, 6) for _ in range(3))
    second.weight = first.weight
    model = nn.ModuleDict({"a": first, "b": second, "c": other})
    if together:
        receipt = mho.convert(model, SMALL)
    else:  # one after the other
        mho.convert(model, SMALL, where=mho.named("a"))
        receipt = mho.convert(model, SMALL)
    assert first.analog["weight"] is second.analog["weight"]
    assert other.analog["weight"] is not first.analog["weight"]
    entries = {entry.name: entry for entry in receipt.entries}
    assert entries["b"].arrays == 0
    assert "shares the arrays of a.weight" in entries["b"].reason
    assert len(list(mho.sites(model))) == 2
    mho.program(model, seed=1)
    assert first.analog["weight"].programmed is second.analog["weight"].programmed
    assert second.weight is first.weight


def test_weights_tied_to_a_table_stay_tied():
    model = nn.Sequential(nn.Embedding(11, 9), nn.Linear(9, 11, bias=False))
    model[1].weight = model[0].weight
    receipt = mho.convert(model, SMALL, strict=True)
    assert receipt.analog == ["1"]
    assert model[1].weight is model[0].weight


def test_where_and_rules_choose(model):
    receipt = mho.convert(copy.deepcopy(model), SMALL, where=mho.linear & ~mho.named("head.2"))
    assert receipt.analog == ["head.0"]
    assert receipt.digital["head.2"] == "excluded by `where`"
    assert receipt.digital["conv"] == "excluded by `where`"

    big = Hardware(array={"rows": 64})
    rules = mho.Rules([("head.2", None), (mho.linear, big), ("rnn", SMALL), ("head.*", SMALL)])
    receipt = mho.convert(model, rules)
    assert receipt.analog == ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.0"]
    assert receipt.digital["head.2"] == "left digital by a rule"
    assert receipt.digital["conv"] == "no rule matches"
    assert {site.name: site.crossbar.hardware for site in mho.sites(model)} == {
        "rnn.weight_ih_l0": SMALL, "rnn.weight_hh_l0": SMALL, "head.0.weight": big,
    }  # fmt: skip
    assert receipt.hardware == (SMALL, big)


def test_converting_again_changes_nothing(model):
    mho.convert(model, SMALL)
    mho.program(model, seed=3)
    crossbars = [site.crossbar for site in mho.sites(model)]
    before = snapshot(model)
    receipt = mho.convert(model, SMALL)
    assert_unchanged(model, before)
    assert all(site.crossbar is c for site, c in zip(mho.sites(model), crossbars, strict=True))
    assert all(crossbar.is_programmed for crossbar in crossbars)
    assert {entry.reason for entry in receipt.entries if entry.analog} == {"already analog"}


def test_layers_may_be_added_later(model):
    mho.convert(model, SMALL, where=mho.linear)
    mho.convert(model, SMALL, where=mho.conv)
    assert isinstance(model.conv, Analog)
    assert isinstance(model.head[0], Analog)
    assert not isinstance(model.rnn, Analog)


def test_the_mode_and_the_copy_follow(model):
    model.eval()
    mho.convert(model, SMALL)
    assert not any(module.training for module in model.modules())
    twin = copy.deepcopy(model)
    torch.manual_seed(1)
    y = model(TOKENS)
    torch.manual_seed(1)
    assert torch.equal(twin(TOKENS), y)
    assert twin.head[0].weight is not model.head[0].weight


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def _replaced_forward():
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: x
    return layer


REFUSED = {
    "Doubled is a subclass of Linear": lambda: Doubled(4, 4),
    "no analog layer for Bilinear": lambda: nn.Bilinear(3, 3, 3),
    "weights are re-parametrized": lambda: parametrizations.weight_norm(nn.Linear(4, 4)),
    "`weight` is not a Parameter": lambda: prune.random_unstructured(nn.Linear(4, 4), "weight", 1),
    "LazyLinear has no weights yet": lambda: nn.LazyLinear(4),
    "`forward` was replaced on the instance": _replaced_forward,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_converted_is_said_or_refused(reason):
    odd = REFUSED[reason]()
    model = nn.Sequential(nn.Linear(4, 4), odd)
    before = snapshot(nn.Sequential(model[0]))
    with pytest.raises(ConversionError, match="strict=True") as caught:
        mho.convert(model, SMALL, strict=True)
    assert f"1: {reason}" in str(caught.value).replace("its ", "")
    assert_unchanged(nn.Sequential(model[0]), before)
    receipt = mho.convert(model, SMALL)
    assert reason in receipt.digital["1"]
    assert receipt.analog == ["0"]
    assert not isinstance(odd, Analog)


def _not_finite(model):
    with torch.no_grad():
        model.head[2].weight[0, 0] = float("nan")
    return {"hardware": SMALL}


def _where_fails(model):
    def where(name, module):
        if name == "head.2":
            raise MhoError("the predicate of the user failed")
        return True

    return {"hardware": SMALL, "where": where}


def _other_hardware(model):
    mho.convert(model, SMALL, where=mho.linear)
    return {"hardware": Hardware()}


def _odd_layer(model):
    model.head.append(nn.Bilinear(2, 2, 2))
    return {"hardware": SMALL, "strict": True}


MISTAKES = {
    "head.2.weight has values that are not finite": _not_finite,
    "the predicate of the user failed": _where_fails,
    "head.0 is already analog, on other hardware": _other_hardware,
    "head.3: no analog layer for Bilinear": _odd_layer,
    "no layer of the model becomes analog": lambda _: {
        "hardware": SMALL, "where": mho.named("nothing"),
    },
    "which is not a Hardware": lambda _: {"hardware": mho.Rules([("*", {"dac": {"bits": 8}})])},
    "no-such-preset": lambda _: {"hardware": "no-such-preset"},
}  # fmt: skip


@pytest.mark.parametrize("message", MISTAKES)
def test_no_mistake_leaves_a_model_half_converted(model, message):
    arguments = MISTAKES[message](model)
    before = snapshot(model)
    with pytest.raises(MhoError, match=message):
        mho.convert(model, **arguments)
    assert_unchanged(model, before)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ConversionError, match="it has no parameters"):
        mho.convert(nn.Sequential(nn.ReLU()), SMALL)


def test_inputs_that_are_not_finite_are_refused(model):
    mho.convert(model, SMALL)
    with pytest.raises(
        DataError, match=r"head\.0\.weight: the input has values that are not finite"
    ):
        model.head(torch.full((1, 6), float("inf")))
