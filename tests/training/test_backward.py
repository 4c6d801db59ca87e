"""Errors that go back through the arrays by converters and noise of their own."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import mho
from mho.errors import CheckpointError, MhoError
from mho.mapping import Partition
from mho.nn import sites
from mho.tiles import Convolution, Dense, mvm_t
from nn.cases import FAMILIES, TORCH_WARNS, every_family, leaves
from oracles import mvm as oracle

from .models import SYMMETRIC, attached, hardware, perceptron, train

pytestmark = pytest.mark.filterwarnings(*TORCH_WARNS)
LEVELS = mho.Backward(dac={"steps": 14, "range": "per_token"}, adc={"steps": 60, "bound": 3.0})
AIHWKIT = mho.Backward(
    dac={"steps": 126, "range": "per_token"}, adc={"steps": 510, "bound": 12.0},
    noise={"output": 0.06},
)  # fmt: skip
NARROW = Partition(rows=(3, 2), columns=(2, 2, 3), array_rows=3, array_columns=3)
SCALE = 0.7


def literal(d, weight, partition, backward):
    """Vectors d (n, out) through W^T, array by array."""
    matrix = oracle.Matrix(
        weight=weight.T,
        scale=np.full((len(partition.columns), weight.shape[1]), SCALE),
        rows=partition.columns,
        columns=partition.rows,
    )
    effects = oracle.Effects(
        input_range="per_token",
        dac_half_steps=backward.dac.half_steps,
        bound=backward.adc.bound,
        adc_half_steps=backward.adc.half_steps,
    )
    return oracle.product(d, matrix, effects)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_dense_products_are_the_literal_ones():
    weight, d = normal(7, 5), normal(40, 7, seed=1)
    d[3] = 0
    got = mvm_t(d, normal(40, 5), weight, SCALE, LEVELS, Dense(7, NARROW))
    wanted = literal(d.numpy(), weight.numpy(), NARROW, LEVELS)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=0, atol=1e-12)
    assert float((got - d @ weight).abs().max()) > 0.1  # levels are coarse, and some were bounded
    assert bool((got[3] == 0).all())


CONVOLUTIONS = {
    "plain": dict(kernel=(3, 2), stride=(1, 1), padding=(1, 0), dilation=(1, 1)),
    "strided, dilated": dict(kernel=(2, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
    "groups": dict(kernel=(2, 2), stride=(1, 2), padding=(1, 1), dilation=(1, 1), groups=2),
    "depthwise": dict(kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=4),
}


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_convolutions_are_the_literal_ones(options):
    """Every vector of errors by itself, and its patch added up by probing each pixel."""
    groups = options.get("groups", 1)
    channels, out = 4, 8
    rows = channels // groups * int(np.prod(options["kernel"]))
    positions = int(np.prod(options["kernel"]))
    split = (rows - positions, positions) if rows > positions else (rows,)
    partition = Partition(rows=split, columns=(3, 5), array_rows=rows, array_columns=5)
    both_sides = tuple((n, n) for n in options["padding"])
    geometry = Convolution(out, partition, **{**options, "padding": both_sides})
    x, weight = normal(2, channels, 5, 4), normal(out, rows, seed=1)
    plain = {k: v for k, v in options.items() if k != "kernel"}
    twin = weight.reshape(out, channels // groups, *options["kernel"])
    d = normal(*nn.functional.conv2d(x, twin, **plain).shape, seed=2)
    got = mvm_t(d, x, weight, SCALE, LEVELS, geometry)

    errors, per_group = d.movedim(1, -1).reshape(-1, out).numpy(), out // groups
    read = np.zeros((len(errors), groups, rows))
    for group in range(groups):
        mine = range(group * per_group, (group + 1) * per_group)
        sizes = [sum(a <= i < a + n for i in mine) for a, n in ((0, 3), (3, 5))]
        own = Partition(partition.rows, tuple(n for n in sizes if n), None, None)
        read[:, group] = literal(errors[:, mine], weight.numpy()[mine], own, LEVELS)
    wanted = np.zeros(x.numel())
    for pixel in range(x.numel()):
        probe = np.zeros(x.numel())
        probe[pixel] = 1
        probe = torch.from_numpy(probe).reshape(x.shape)
        patches = geometry.vectors_of(probe).numpy()  # held against torch below
        wanted[pixel] = (patches * read).sum()
    np.testing.assert_allclose(got.numpy().ravel(), wanted, rtol=0, atol=1e-12)
    leaf = x.clone().requires_grad_()
    nn.functional.conv2d(leaf, twin, **plain).backward(d)
    ideal = mvm_t(d, x, weight, SCALE, mho.Backward(), geometry)
    torch.testing.assert_close(ideal, leaf.grad, rtol=1e-12, atol=1e-12)


@every_family
@settings(max_examples=3, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_nothing_on_is_the_exact_gradient(family, data):
    """Every layer type, on several arrays: gradients of the inputs as without `backward`."""
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    case = data.draw(FAMILIES[family]())
    module = case.module.train()
    if getattr(module, "dropout", 0.0):
        module.dropout = 0.0
    given_x = [
        x.detach().clone().requires_grad_()
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for x in case.inputs
    ]
    free = [x for x in given_x if isinstance(x, torch.Tensor) and x.requires_grad]
    grads = []
    for backward in (None, mho.Backward()):
        net = copy.deepcopy(module)
        mho.convert(net, hardware(SYMMETRIC, array={"rows": 7, "cols": 5}))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        mho.attach(optimizer, net, mho.Exact(), backward=backward)
        value = sum(y.square().sum() for y in leaves(net(*given_x, **case.options)))
        value.backward()
        digital = [p.grad for p in net.parameters() if p.grad is not None]
        grads.append([x.grad for x in free] + digital)
        for x in free:
            x.grad = None
    for one, other in zip(*grads, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_moments_of_the_noise():
    """Mean and variance at five standard errors: (noise r scale)^2 for each array of a row."""
    n, sigma = 20_000, 0.1
    backward = mho.Backward(dac={"range": "per_token"}, noise={"output": sigma})
    weight, one = normal(7, 5), normal(1, 7, seed=1)
    torch.manual_seed(0)
    got = mvm_t(one.expand(n, 7), normal(n, 5), weight, SCALE, backward, Dense(7, NARROW))
    ranges = torch.stack([part.abs().max() for part in one[0].split((2, 2, 3))])
    std = float((sigma * SCALE * ranges).square().sum().sqrt())
    assert float((got.mean(0) - (one @ weight)[0]).abs().max()) <= 5 * std / n**0.5
    assert float((got.var(0) - std**2).abs().max()) <= 5 * std**2 * (2 / n) ** 0.5


def test_levels_and_bound():
    backward = mho.Backward(dac={"range": "per_token"}, adc={"steps": 20, "bound": 0.5})
    weight, d = normal(4, 6), normal(50, 4, seed=1)
    whole = Partition(rows=(6,), columns=(4,), array_rows=None, array_columns=None)
    got = mvm_t(d, normal(50, 6), weight, SCALE, backward, Dense(4, whole))
    codes = got / (d.abs().amax(1, keepdim=True) * SCALE * 0.05)
    assert float((codes - codes.round()).abs().max()) < 1e-9
    assert float(codes.abs().max()) == pytest.approx(10)
    assert len(codes.round().unique()) == 21


def test_errors_of_zero_stay_zero():
    backward = mho.Backward(dac={"steps": 126, "range": "per_token"}, noise={"output": 0.1})
    whole = Partition(rows=(6,), columns=(4,), array_rows=None, array_columns=None)
    got = mvm_t(torch.zeros(3, 4), torch.zeros(3, 6), torch.ones(4, 6), SCALE, backward,
                Dense(4, whole))  # fmt: skip
    assert bool(torch.isfinite(got).all())
    assert float(got.abs().max()) < 1e-30


def trained(backward, lr=0.1, dac=None, **options):
    model = perceptron(SYMMETRIC, **({} if dac is None else {"dac": dac}))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return (
        model,
        optimizer,
        mho.attach(optimizer, model, mho.PulsedSGD(), backward=backward, **options),
    )


def test_clipped_inputs_get_no_error():
    model, _, _ = trained(LEVELS, dac={"range": {"kind": "fixed", "value": 0.5}})
    x = torch.tensor([[0.2, 0.5, 0.7, -0.4, -0.9, 0.1]], requires_grad=True)
    model(x).square().sum().backward()
    assert (x.grad == 0).tolist()[0][2] and (x.grad == 0).tolist()[0][4]  # noqa: PT018
    assert int((x.grad != 0).sum()) == 4


def test_learned_ranges_keep_their_gradient():
    grads = []
    for backward in (None, mho.Backward()):
        model = perceptron(SYMMETRIC, dac={"range": "learned"})
        x = torch.linspace(-1, 1, 60).view(10, 6)
        mho.calibrate(model, [x], method="max")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        mho.attach(optimizer, model, mho.PulsedSGD(), backward=backward)
        model(2 * x).square().sum().backward()
        grads.append([p.grad for name, p in model.named_parameters() if p.grad is not None])
    assert len(grads[0]) == len(grads[1])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_only_what_is_needed_is_read(monkeypatch):
    """The first layer's input needs no gradient."""
    from mho.nn import _recording

    shapes, plain = [], _recording.mvm_t
    monkeypatch.setattr(
        _recording, "mvm_t", lambda d, *rest: shapes.append(d.shape[1]) or plain(d, *rest)
    )
    model, _, _ = trained(LEVELS)
    model(torch.randn(5, 6)).sum().backward()
    assert shapes == [3]


def test_pulses_are_made_of_what_came_back():
    """The first layer's errors are those behind the second layer's converters."""
    model, _, _ = trained(LEVELS)
    first, second = (site.crossbar.recorder for site in sites(model))
    x = torch.randn(4, 6)
    model(x).square().sum().backward()
    (after,), (before,) = second.take(), first.take()
    hidden = torch.tanh(model[0](x)).detach()
    weight = model[2].weight.detach()
    back = mvm_t(after.d, hidden, weight, second.scale, LEVELS, second.geometry)
    torch.testing.assert_close(before.d, back * (1 - hidden.square()), rtol=1e-5, atol=1e-7)
    exact = after.d @ weight * (1 - hidden.square())
    assert float((before.d - exact).abs().max()) > 0.01 * float(exact.abs().max())


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_models_read_the_same(backend):
    torch._dynamo.reset()
    model, _, _ = trained(LEVELS)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    x = torch.randn(8, 6)
    found = []
    for net in (model, compiled):
        net(x).square().sum().backward()
        found.append([site.crossbar.recorder.take()[0].d for site in sites(model)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_scaled_loss_drives_the_same():
    """A fixed range sees errors in their own size."""
    fixed = mho.Backward(dac={"steps": 30, "range": {"kind": "fixed", "value": 2.0}})
    found = []
    for scale in (1.0, 1024.0):
        scaler = None
        if scale != 1:
            scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        model, _, _ = trained(fixed, scaler=scaler)
        value = model(torch.linspace(-1, 1, 24).view(4, 6)).square().sum()
        (value if scaler is None else scaler.scale(value)).backward()
        (record,) = next(iter(sites(model))).crossbar.recorder.take()
        found.append(record.d * record.factor)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("backward", [None, AIHWKIT], ids=["exact", "converters"])
def test_training_converges(backward):
    torch.manual_seed(0)
    model, optimizer, _ = attached(mho.PulsedSGD(), SYMMETRIC, lr=0.1, backward=backward)
    before, after = train(model, optimizer, steps=300)
    assert after < 0.2 * before


def test_converters_as_they_are_forward():
    hw = mho.load("idealized-2019")
    back = mho.Backward.of(hw)
    assert back.dac == hw.dac
    assert back.noise == hw.noise
    assert back.adc.overflow == "saturate"
    assert back.adc.bound == hw.adc.bound
    other = mho.Hardware(dac={"bits": 8, "range": "calibrated"}, adc={"bits": 8, "bound": 10.0})
    assert mho.Backward.of(other).dac.range.kind == "per_token"
    assert mho.Backward.of(other).dac.bits == 8


def test_a_state_belongs_to_its_backward_pass():
    state = trained(LEVELS)[2].state_dict()
    trained(LEVELS)[2].load_state_dict(state)
    with pytest.raises(CheckpointError, match="backward of"):
        trained(AIHWKIT)[2].load_state_dict(state)


BAD = {
    "calibrated": {"dac": {"bits": 8, "range": "calibrated"}},
    "bounds of their own": {"adc": {"bits": 8, "bound": "maximum"}},
    "offset_spread": {"adc": {"bits": 8, "bound": 1.0, "offset_spread": 0.1}},
    "output_spread": {"noise": {"output": 0.1, "output_spread": 0.1}},
    "front_end": {"adc": {"front_end": {}}},
    "give dac.range, per_token": {"noise": {"output": 0.1}},
    "dac.range, per_token or": {"adc": {"bits": 8, "bound": 1.0}},
    "dac.range": {"noise": {"input": 0.1}},
}


@pytest.mark.parametrize(("text", "fields"), BAD.items(), ids=BAD.keys())
def test_what_cannot_be_meant(text, fields):
    with pytest.raises((MhoError, ValueError), match=text):
        mho.Backward(**fields)


def test_bad_argument():
    with pytest.raises(MhoError, match=r"mho\.Backward"):
        trained("ideal")


@pytest.mark.parametrize("rule", ["charge_average", {"kind": "voltage_mean", "load": "1 uS"}])
def test_only_sums_of_currents_are_read_backward(rule):
    model = perceptron(SYMMETRIC, array={"combine": rule})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(MhoError, match="no product in the other direction"):
        mho.attach(optimizer, model, mho.PulsedSGD(), backward=mho.Backward())


def test_wires_are_the_same_in_both_directions():
    """Reciprocity: the network that is driven at the columns' feet and read at the rows' heads.

    It is solved as one of its own, mirrored so that its drivers and feet are where they belong.
    """
    wires = {"kind": "resistive", "row": "500 ohm", "column": "200 ohm", "pair": "apart"}
    model = perceptron(SYMMETRIC, array={"wires": wires})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mho.attach(optimizer, model, mho.PulsedSGD(), backward=mho.Backward())
    (site, _), weight = sites(model), model[0].weight.detach()
    x, d = torch.randn(4, 6, requires_grad=True), torch.randn(4, len(weight))
    model[0](x).backward(d)
    hardware, scale = site.crossbar.hardware, site.crossbar.recorder.scale
    cell, mapping = hardware.cell, hardware.mapping
    g = mapping.encode(weight.double() / scale, cell.g_min, cell.g_max)
    turned = hardware.array.wires.with_fields(row="200 ohm", column="500 ohm")
    back = turned.currents(g.flip(1, 2).transpose(1, 2), d.double().flip(1)).flip(2)
    wanted = mapping.decode(back.transpose(0, 1), cell.g_min, cell.g_max)[0] * scale
    torch.testing.assert_close(x.grad.double(), wanted, rtol=1e-4, atol=1e-6)
    assert float((x.grad - d @ weight).abs().max()) > 0.01 * float(x.grad.abs().max())


def test_vectors_are_limited_to_the_range_as_it_is_and_not_as_it_was():
    """A learned range goes on changing after attach; pulses are made of what the arrays saw."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    cell = {"kind": "ideal", "device": SYMMETRIC}
    mho.convert(model, mho.Hardware(cell=cell, dac={"range": "learned"}))
    x = torch.tensor([[0.25, 2.0, -3.0]])
    mho.calibrate(model, [x])
    attached = mho.attach(torch.optim.SGD(model.parameters(), lr=0.1), model, mho.PulsedSGD())
    (layer,) = attached._layers
    for limit in (0.5, 1.5):
        with torch.no_grad():
            layer.site.crossbar.input_range.fill_(limit)
        model(x).sum().backward()
        ((pair,),) = [list(record.chunks()) for record in layer.recorder.take()]
        assert pair[0].tolist() == [[0.25, limit, -limit]]
