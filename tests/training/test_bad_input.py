"""What cannot be meant is refused, before anything is changed."""

import copy

import pytest
import torch
from torch import nn

import mho
from mho.nn import sites
from mho.training import ReadOut

from .models import SOFT, SYMMETRIC, attached, data, hardware, loss_of, perceptron, train, weights

SGD = torch.optim.SGD


def attempt(model=None, algorithm=None, make=None, **options):
    """Try to attach; if that is refused, the model is as it was."""
    model = model or perceptron()
    optimizer = make(model) if make else SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    try:
        return mho.attach(optimizer, model, algorithm or mho.PulsedSGD(), **options)
    except mho.MhoError:
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        raise


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("tiki_taka", {"transfer_every": 0}, "transfer_every"),
        ("tiki_taka", {"columns": 0}, "columns"),
        ("tiki_taka", {"arrays": 1}, "arrays"),
        ("tiki_taka", {"gamma": 1.0}, "gamma"),
        ("tiki_taka", {"gama": 0.1}, "gamma"),
        ("tiki_taka", {"reset_probability": 1.5}, "reset_probability"),
        ("tiki_taka_v2", {"momentum": 1.0}, "momentum"),
        ("tiki_taka_v2", {"input_chopper_probability": 0.1}, "input_chopper_probability"),
        ("chopped_tiki_taka", {"input_chopper_probability": -0.1}, "input_chopper_probability"),
        ("chopped_tiki_taka", {"switching": "sometimes"}, "switching"),
        ("agad", {"input_chopper_probability": 0.0}, "a reference is taken when"),
        ("mixed_precision", {"input_bins": 1}, "input_bins"),
        ("residual_learning", {"beta": 0.0}, "beta"),
        ("residual_learning_v2", {"beta": 1.5}, "beta"),
    ],
    ids=str,
)
def test_values(kind, fields, message):
    with pytest.raises(mho.MhoError, match=message):
        mho.training.Algorithm.members[kind](**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise": -1.0}, "noise"),
        ({"bits": 4}, "bits need a bound"),
        ({"bits": 1, "bound": 1.0}, "bits"),
        ({"bound": 0.0}, "bound"),
    ],
    ids=str,
)
def test_read_outs(fields, message):
    with pytest.raises(mho.MhoError, match=message):
        ReadOut(**fields)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale=0"),
        ({"scale": float("nan")}, "scale=nan"),
        ({"fill": 1.2}, "fill=1.2"),
        ({"fill": -1.0}, "fill=-1"),
        ({"largest_error": 0.0}, "largest_error"),
        ({"algorithm": mho.PulsedSGD}, "such as mho.TikiTaka"),
        ({"where": "0"}, r"mho.named\('0'\)"),
        ({"where": mho.named("7")}, "picks none"),
        ({"make": lambda m: None}, "must be a torch.optim.Optimizer"),
        ({"make": lambda m: torch.optim.LBFGS(m.parameters())}, "LBFGS"),
        ({"make": lambda m: SGD(m.parameters(), 0.1, momentum=0.9)}, "group 0.*momentum=0.9.*own"),
        ({"make": lambda m: SGD(m.parameters(), 0.1, weight_decay=1e-4)}, "weight_decay=0.0001"),
        ({"make": lambda m: SGD(m.parameters(), 0.1, maximize=True)}, "maximize=True.*False"),
        ({"make": lambda m: torch.optim.AdamW(m.parameters())}, "weight_decay=0.01"),
        ({"make": lambda m: SGD([m[0].bias], 0.1)}, "holds none of the analog weights"),
        ({"model": perceptron({**SYMMETRIC, "low": 0.0})}, "0 to 1 only.*both sides"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_arguments(options, message):
    with pytest.raises(mho.MhoError, match=message):
        attempt(**options)


def test_momentum_elsewhere_is_fine():
    def make(model):
        analog = [site.weight for site in sites(model)]
        digital = [model[0].bias, model[2].bias]
        return SGD([{"params": analog, "momentum": 0.0}, {"params": digital}], 0.1, momentum=0.9)

    attempt(make=make)


def test_groups_are_looked_at_in_every_step():
    model, optimizer, _ = attached(mho.PulsedSGD())
    optimizer.param_groups[0]["weight_decay"] = 0.1
    before = weights(model)
    with pytest.raises(mho.MhoError, match=r"weight_decay=0\.1"):
        train(model, optimizer, 1)
    assert all(torch.equal(v, before[k]) for k, v in weights(model).items())


def test_hardware_without_a_device():
    with pytest.raises(mho.MhoError, match=r"0\.weight.*does not say how a cell answers pulses"):
        attempt(perceptron(None))
    attempt(perceptron(None), mho.Exact())


@pytest.mark.parametrize("name", ["tiki_taka", "tiki_taka_v2", "agad", "residual_learning_v2"])
def test_cells_without_a_symmetry_point(name):
    """Steps down that are weaker everywhere: what collects gradients would end at its bound."""
    algorithm, device = mho.training.Algorithm.members[name](), {**SYMMETRIC, "asymmetry": 0.2}
    with pytest.raises(mho.MhoError, match=f"{name} collects gradients.*never equal"):
        attempt(perceptron(device), algorithm)
    attempt(perceptron(device), algorithm.with_fields(fast_device=SOFT))
    attempt(perceptron(device), mho.PulsedSGD())


def test_models():
    plain = nn.Linear(3, 3)
    with pytest.raises(mho.MhoError, match=r"mho\.convert"):
        attempt(plain)
    programmed = perceptron()
    mho.program(programmed, seed=1)
    with pytest.raises(mho.MhoError, match=r"is programmed.*mho\.erase"):
        attempt(programmed)
    twice, optimizer, training = attached(mho.PulsedSGD())
    with pytest.raises(mho.MhoError, match=r"attached already.*remove"):
        mho.attach(optimizer, twice, mho.PulsedSGD())
    training.remove()
    with torch.no_grad():
        twice[0].weight[0, 0] = float("nan")
    optimizer = SGD(twice.parameters(), 0.1)
    with pytest.raises(mho.MhoError, match="not finite"):
        mho.attach(optimizer, twice, mho.PulsedSGD())
    meta = perceptron().to("meta")
    with pytest.raises(mho.MhoError, match="meta device"):
        mho.attach(SGD(meta.parameters(), 0.1), meta, mho.PulsedSGD())


def test_adapted_models():
    model = perceptron()
    optimizer = SGD(model.parameters(), 0.1)
    mho.adapt(model, mho.Adaptation(drop_connect=0.1), optimizer)
    with pytest.raises(mho.MhoError, match=r"is adapted.*mho\.adapt"):
        mho.attach(optimizer, model, mho.PulsedSGD())


def test_slices():
    sliced = nn.Linear(4, 4)
    mho.convert(sliced, hardware(SOFT, mapping={"kind": "bit_sliced", "bits": 5, "slice_bits": 2}))
    with pytest.raises(mho.MhoError, match=r"bit_sliced.*slices"):
        attempt(sliced)


def test_weights_that_are_used_past_their_arrays():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.head.weight = self.embedding.weight

    model = Tied()
    mho.convert(model, hardware())
    with pytest.raises(mho.MhoError, match=r"head\.weight is tied to embedding\.weight"):
        attempt(model)


def test_weights_that_somebody_else_changes():
    model, optimizer, _ = attached(mho.PulsedSGD())
    average = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(average)  # the same values may come and go
    train(model, optimizer, 1)
    average["0.weight"] += 0.1
    model.load_state_dict(average)
    with pytest.raises(mho.MhoError, match=r"0\.weight was changed since the last step"):
        train(model, optimizer, 1)


def test_models_that_are_moved():
    model, optimizer, _ = attached(mho.PulsedSGD())
    model.to("meta")
    with pytest.raises(mho.MhoError, match=r"moved to meta.*then attach"):
        optimizer.step()


def test_digital_gradients():
    model, optimizer, _ = attached(mho.PulsedSGD())
    model.eval()
    loss_of(model, data(8)).backward()
    with pytest.raises(mho.MhoError, match=r"digital gradient.*model\.train\(\)"):
        optimizer.step()


def test_errors_that_are_not_finite():
    model, optimizer, training = attached(mho.PulsedSGD())
    before = weights(model)
    (loss_of(model, data(8)) * float("nan")).backward()
    with pytest.raises(mho.MhoError, match=r"not finite.*forget\(\)"):
        optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in weights(model).items())
    training.forget()
    optimizer.zero_grad()
    train(model, optimizer, 1)


def test_states_of_something_else():
    _, _, training = attached(mho.TikiTaka())
    saved = training.state_dict()
    with pytest.raises(mho.MhoError, match="no state of a training in memory"):
        training.load_state_dict({"layers": {}})
    for other in (
        attached(mho.TikiTaka(gamma=0.1)),
        attached(mho.TikiTaka(), seed=1),
        attached(mho.TikiTaka(), SYMMETRIC),
        attached(mho.TikiTaka(), read_out=ReadOut(noise=0.1)),
    ):
        before = weights(other[0])
        with pytest.raises(mho.MhoError, match="the checkpoint has"):
            other[2].load_state_dict(saved)
        assert all(torch.equal(v, before[k]) for k, v in weights(other[0]).items())
    cut = copy.deepcopy(saved)
    del cut["layers"]["0.weight"]["arrays"]["A0"]
    with pytest.raises(mho.MhoError, match="the checkpoint has the arrays"):
        training.load_state_dict(cut)


def test_saving_between_backward_and_step():
    model, _, training = attached(mho.PulsedSGD())
    loss_of(model, data(8)).backward()
    with pytest.raises(mho.MhoError, match=r"no step has used.*forget\(\)"):
        training.state_dict()
