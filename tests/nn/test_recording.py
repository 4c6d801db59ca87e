"""In-memory training gets exactly the vectors that the gradient of a weight is made of."""

import copy
import io

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import mho
from mho.cells import SoftBounds
from mho.nn import Recorded, Recorder, sites

from .cases import FAMILIES, TORCH_WARNS, every_family, leaves

pytestmark = pytest.mark.filterwarnings(*TORCH_WARNS)

IDEAL = mho.Hardware(array={"rows": 7, "cols": 5})
EPS = torch.finfo(torch.float32).eps


def record(model, **options):
    """Put a recorder on every crossbar."""
    found = list(sites(model))
    for site in found:
        site.crossbar.recorder = Recorder(site.crossbar.geometry, **options)
    return found


def gradient(recorder, limit):
    """G = sum d x^T over all that was recorded, its sum of magnitudes, and the largest piece."""
    total, size, largest = 0.0, 0.0, 0
    for each in recorder.take():
        pieces = list(each.chunks(limit))
        assert sum(len(x) for x, _ in pieces) == len(each)
        for x, d in pieces:
            total, size = total + d.T @ x, size + d.T.abs() @ x.abs()
            largest = max(largest, x.numel() + d.numel())
    return total, size, largest


def doubled(value):
    """Nested inputs in double precision."""
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(doubled(part) for part in value)
    return value.double()


def backward(module, case):
    torch.manual_seed(0)
    sum(y.square().sum() for y in leaves(module(*case.inputs, **case.options))).backward()


@every_family
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_vectors_and_errors_make_the_gradient(family, data):
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    case = data.draw(FAMILIES[family]())
    module = case.module.double().train()
    case.inputs = doubled(case.inputs)
    if getattr(module, "dropout", 0.0):
        module.dropout = 0.0
    twin = copy.deepcopy(module)
    for key, option in case.options.items():
        if isinstance(option, torch.Tensor) and option.is_floating_point():
            case.options[key] = option.double()
    backward(twin, case)
    mho.convert(module, IDEAL)
    found = record(module)
    backward(module, case)
    wanted = dict(twin.named_parameters())
    weights = {id(site.weight) for site in found}
    for name, parameter in module.named_parameters():
        if id(parameter) not in weights and wanted[name].grad is not None:
            torch.testing.assert_close(parameter.grad, wanted[name].grad)
    for site in found:
        assert site.weight.grad is None
        vectors = sum(map(len, site.crossbar.recorder.records))
        G, size, _ = gradient(site.crossbar.recorder, 1 << data.draw(st.integers(0, 22)))
        like = twin.get_parameter(site.path)
        theirs = torch.zeros_like(like) if like.grad is None else like.grad
        wanted_matrix = type(site.module).to_matrix(theirs, site.crossbar.geometry)
        # Vectors are rounded to single precision, and so is a sum of n terms after each of them.
        assert ((G - wanted_matrix).abs() <= (vectors + 2) * EPS * size + 1e-12).all()


def test_a_piece_holds_few_images():
    module = nn.Conv2d(8, 16, 3, padding=1)
    mho.convert(module, IDEAL)
    (site,) = record(module)
    module(torch.randn(10, 8, 20, 20)).sum().backward()
    one = 20 * 20 * (8 * 9 + 16)
    for limit in (1, one, 3 * one):
        record_ = copy.copy(site.crossbar.recorder.records)
        _, _, largest = gradient(site.crossbar.recorder, limit)
        assert largest == max(1, limit // one) * one
        site.crossbar.recorder.records = record_


def test_inputs_beyond_the_range_count_as_the_range():
    module = nn.Linear(3, 2)
    mho.convert(module, mho.Hardware(dac={"range": {"kind": "fixed", "value": 0.5}}))
    (site,) = sites(module)
    site.crossbar.recorder = Recorder(site.crossbar.geometry, limit=site.crossbar.full_scale)
    x = torch.tensor([[0.25, 2.0, -3.0]])
    module(x).sum().backward()
    ((pair,),) = [list(r.chunks()) for r in site.crossbar.recorder.take()]
    assert pair[0].tolist() == [[0.25, 0.5, -0.5]]
    assert pair[1].tolist() == [[1.0, 1.0]]


def test_errors_are_in_units_of_the_arrays_product():
    """A digital factor per output comes after the arrays, so it belongs to d, and not to y."""
    module = nn.Linear(3, 2, bias=False)
    mho.convert(module, IDEAL)
    (site,) = record(module)
    site.crossbar.gain = torch.tensor([2.0, 3.0])
    x = torch.randn(4, 3)
    y = module(x)
    torch.testing.assert_close(y, x @ module.weight.T * torch.tensor([2.0, 3.0]))
    y.sum().backward()
    ((pair,),) = [list(r.chunks()) for r in site.crossbar.recorder.take()]
    assert torch.equal(pair[1], torch.tensor([[2.0, 3.0]]).expand(4, 2))


def test_what_comes_after_may_work_in_place():
    module = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(inplace=True), nn.Flatten())
    mho.convert(module, IDEAL)
    (site,) = record(module)
    x = torch.randn(3, 1, 6, 6)
    y = module(x)
    y.sum().backward()
    ((pair,),) = [list(r.chunks()) for r in site.crossbar.recorder.take()]
    wanted = torch.func.functional_call(module.eval(), {}, x) > 0
    assert torch.equal(pair[1], wanted.view(3, 2, -1).movedim(1, -1).reshape(-1, 2).float())


def test_an_input_changed_in_place_is_refused():
    module = nn.Linear(3, 3)
    mho.convert(module, IDEAL)
    record(module)
    x = torch.randn(2, 3)
    y = module(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_when_nothing_is_recorded():
    module = nn.Linear(3, 3)
    mho.convert(module, IDEAL)
    (site,) = record(module)
    x = torch.randn(2, 3, requires_grad=True)
    module.eval()(x).sum().backward()
    module.train()
    with torch.no_grad():
        module(x)
    module.weight.requires_grad_(False)
    module(x).sum().backward()
    module.weight.requires_grad_(True)
    assert site.crossbar.recorder.records == []
    mho.program(module, seed=1)
    module(x).sum().backward()
    assert site.crossbar.recorder.records == []


def test_second_derivatives_are_refused():
    module = nn.Linear(3, 3)
    mho.convert(module, IDEAL)
    record(module)
    x = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(mho.MhoError, match="create_graph"):
        torch.autograd.grad(module(x).square().sum(), x, create_graph=True)


def test_copies_have_no_recorder():
    module = nn.Linear(3, 3)
    mho.convert(module, IDEAL)
    record(module)
    assert next(sites(copy.deepcopy(module))).crossbar.recorder is None
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert next(sites(torch.load(buffer, weights_only=False))).crossbar.recorder is None


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_models_hand_over_the_same(backend):
    torch._dynamo.reset()
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4), nn.Tanh(), nn.Linear(4, 3)
    )
    mho.convert(module, IDEAL)
    found = record(module)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    for _ in range(2):
        x = torch.randn(3, 1, 6, 6)
        compiled(x).square().sum().backward()
        ours = [gradient(site.crossbar.recorder, 1 << 22)[0] for site in found]
        module(x).square().sum().backward()
        theirs = [gradient(site.crossbar.recorder, 1 << 22)[0] for site in found]
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b)
        assert all(site.weight.grad is None for site in found)


def test_recomputed_layers_hand_over_once():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    mho.convert(module, IDEAL)
    found = record(module)
    x = torch.randn(5, 3, requires_grad=True)
    checkpoint(module, x, use_reentrant=False).sum().backward()
    assert [len(r) for site in found for r in site.crossbar.recorder.records] == [5, 5]


@pytest.mark.parametrize("slots", [31, 100])
@pytest.mark.parametrize("groups", [1, 2])
def test_patches_that_are_never_built_make_the_same_pulses(groups, slots, monkeypatch):
    """Trains longer than a word, and groups, are built; padding belongs to the patches."""
    from mho.ops import Stream, _one_pass
    from mho.tiles import DeviceArray, Pulses, Samples

    g = torch.Generator().manual_seed(3)
    layer = nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=groups)
    mho.convert(layer, mho.Hardware())
    (site,) = sites(layer)
    x, d = torch.randn(9, 4, 12, 12, generator=g), torch.randn(9, 6, 6, 6, generator=g)
    states, device = [], SoftBounds(step=0.002, cycle_noise=0.3)
    for small in (_one_pass.SMALL, 10**9):
        monkeypatch.setattr(_one_pass, "SMALL", small)
        array = DeviceArray(device, (6, 36 // groups), Stream(0, "test"))
        records = [Recorded(x, d, site.crossbar.geometry)]
        array.update(Samples(records), 0.02, Pulses(slots=slots))
        states.append(array.weight)
    assert torch.equal(*states)
    assert states[0].abs().max() > 0
