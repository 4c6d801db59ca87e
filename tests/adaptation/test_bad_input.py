"""What cannot be meant is refused before anything is changed."""

import copy

import pytest
import torch
from torch import nn

import mho

LEARNED = mho.Hardware(dac={"bits": 8, "range": "learned"})
PCM = mho.load("pcm-joshi-2020")


def model(tied=False) -> nn.Module:
    found = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    if tied:
        found[1].weight = found[0].weight
    return found


def attempt(adaptation, hardware=PCM, net=None, parameters=None, **options):
    net = net or model()
    mho.convert(net, hardware)
    optimizer = torch.optim.SGD(parameters or net.parameters(), lr=0.1)
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    try:
        return mho.adapt(net, adaptation, optimizer, **options)
    finally:
        state, groups = before
        assert list(net.state_dict()) == list(state) or adaptation.output_scale
        assert all(torch.equal(net.state_dict()[k], v) for k, v in state.items())
        assert len(optimizer.param_groups) == len(groups["param_groups"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip": "learned", "remap": "column"}, "contradict"),
        ({"clip": {"kind": "fixed", "value": 0.5}, "remap": "layer"}, "contradict"),
        ({"clip": {"kind": "layer", "sigma": 0.5}}, "sigma"),
        ({"noise": {"kind": "aditive", "std": 0.1}}, "additive"),
        ({"noise": {"kind": "additive", "std": -0.1}}, "std"),
        ({"drop_connect": 1.0}, "drop_connect"),
        ({"faults": {"map": "chip.csv"}}, "map"),
        ({"quantization": {"kind": "uniform", "bits": 1}}, "bits"),
        ({"schedule": {"kind": "ramp", "steps": 0}}, "steps"),
        ({"per": "epoch"}, "per"),
        ({"noize": None}, "noize"),
        ({"distillation": {"temperature": 0}}, "temperature"),
    ],
    ids=str,
)
def test_values(fields, message):
    with pytest.raises(mho.MhoError, match=message):
        mho.Adaptation(**fields)


@pytest.mark.parametrize(
    ("fields", "hardware", "message"),
    [
        ({}, LEARNED, "saw no data.*mho.calibrate"),
        ({"noise": mho.ProgrammingNoise()}, mho.Hardware(), "has none"),
        ({"noise": mho.ProgrammingNoise(cell=mho.load("afm-2025").cell)}, PCM, "does not fit"),
        ({"range_decay": {}}, PCM, "the hardware has none"),
        ({"distillation": {}}, PCM, "give both"),
        (
            {"clip": {"kind": "fixed", "value": 1.5}, "remap": "column"},
            mho.Hardware(mapping={"kind": "differential", "scaling": "fixed", "w_max": 2.0}),
            "contradict.* to 2 ",
        ),
    ],
    ids=str,
)
def test_contradictions_with_the_hardware(fields, hardware, message):
    with pytest.raises(mho.MhoError, match=message):
        attempt(mho.Adaptation(**fields), hardware)


def test_models_and_optimizers():
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(mho.MhoError, match=r"call mho\.convert"):
        mho.adapt(net, mho.Adaptation(), optimizer)
    with pytest.raises(mho.MhoError, match=r"mho\.Adaptation"):
        mho.adapt(model(), {"clip": "learned"}, None)
    net = model()
    mho.convert(net, PCM)
    with pytest.raises(mho.MhoError, match=r"torch\.optim\.Optimizer, got str"):
        mho.adapt(net, mho.Adaptation(), "adam")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    mho.adapt(net, mho.Adaptation(), optimizer)
    with pytest.raises(mho.MhoError, match="adapted already"):
        mho.adapt(net, mho.Adaptation(), optimizer)


def test_weights_that_are_not_trained():
    foreign = [nn.Parameter(torch.ones(3))]
    for fields in ({"clip": {"kind": "fixed", "value": 1}}, {"output_scale": True}):
        with pytest.raises(mho.MhoError, match="holds none"):
            attempt(mho.Adaptation(**fields), parameters=foreign)
    attempt(mho.Adaptation(noise=mho.AdditiveNoise(std=0.1)), parameters=foreign)


@pytest.mark.parametrize(
    "fields", [{"output_scale": True}, {"remap": "layer"}, {"clip": "learned"}]
)
def test_tied_weights_have_no_scales_of_their_own(fields):
    with pytest.raises(mho.MhoError, match="tied"):
        attempt(mho.Adaptation(**fields), net=model(tied=True))


def test_a_draw_per_sample_needs_products_per_sample():
    net = nn.Sequential(nn.GRU(4, 4))
    with pytest.raises(mho.MhoError, match="GRU shares one draw"):
        attempt(mho.Adaptation(noise=mho.AdditiveNoise(std=0.1), per="sample"), net=net)


def test_teachers():
    net = model()
    with pytest.raises(mho.MhoError, match="shares its weights"):
        attempt(mho.Adaptation(distillation={}), net=net, teacher=net)
    with pytest.raises(mho.MhoError, match="give both"):
        attempt(mho.Adaptation(), teacher=lambda x: x)
    adapted = attempt(mho.Adaptation())
    with pytest.raises(mho.MhoError, match="no distillation"):
        adapted.loss(torch.zeros(1, 2))


def test_lbfgs_takes_no_further_parameters():
    net = model()
    mho.convert(net, PCM)
    optimizer = torch.optim.LBFGS(net.parameters())
    with pytest.raises(mho.MhoError, match="LBFGS"):
        mho.adapt(net, mho.Adaptation(output_scale=True), optimizer)


def test_what_a_checkpoint_lacks_is_noticed():
    """A learned scale of another shape is refused before anything is loaded."""
    net = model()
    attempt(mho.Adaptation(), net=net)
    state = net.state_dict()
    other = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 4))
    mho.convert(other, PCM)
    with pytest.raises((mho.MhoError, RuntimeError), match="shape"):
        other.load_state_dict(state)
