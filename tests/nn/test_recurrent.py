"""What is special about recurrent layers on arrays: which vectors meet which matrix, and when."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import mho
from mho.errors import DataError

from .cases import leaves
from .effects import hardware

LENGTHS = torch.tensor([2, 5, 1, 3])
NOISY = hardware(noise={"output": 0.01})
LEVELS = hardware(
    dac={"bits": 6, "range": "per_token"}, adc={"bits": 6, "bound": 2.0, "asymmetry": 0.1}
)
KINDS = (nn.RNN, nn.LSTM, nn.GRU)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def packed(batch_first=True, dtype=None):
    """Sequences of several lengths; the padding would be seen: it is a thousand times larger."""
    x = torch.randn(4, 5, 9, dtype=dtype)
    for sequence, length in zip(x, LENGTHS, strict=True):
        sequence[length:] = 1000.0
    x = x if batch_first else x.transpose(0, 1)
    return pack_padded_sequence(x, LENGTHS, batch_first, enforce_sorted=False)


def multiplied(model, *inputs):
    """The number of vectors in each call of each matrix."""
    calls = {}
    handles = [
        site.crossbar.register_forward_hook(
            lambda _, args, __, name=site.name: calls.setdefault(name, []).append(len(args[0]))
        )
        for site in mho.sites(model)
    ]
    model(*inputs)
    for handle in handles:
        handle.remove()
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_a_sequence_are_one_product_and_padding_is_none(kind):
    model = kind(9, 6, num_layers=2, bidirectional=True)
    mho.convert(model, NOISY)
    sizes = [4, 3, 2, 1, 1]  # sequences that are still running, step by step
    for name, vectors in multiplied(model, packed(batch_first=False)).items():
        backward = "reverse" in name
        assert vectors == ([11] if "ih" in name else sizes[::-1] if backward else sizes), name
    for name, vectors in multiplied(model, torch.randn(5, 4, 9)).items():
        assert vectors == ([20] if "ih" in name else [4] * 5), name


def test_a_projection_is_a_product_of_each_step():
    model = nn.LSTM(9, 6, proj_size=3)
    mho.convert(model, NOISY)
    assert multiplied(model, torch.randn(5, 4, 9)) == {
        "weight_ih_l0": [20], "weight_hh_l0": [4] * 5, "weight_hr_l0": [4] * 5,
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_sees_every_vector_once_and_no_padding(kind):
    model = kind(9, 6, batch_first=True)
    twin = kind(9, 6, batch_first=True)
    twin.load_state_dict(model.state_dict())
    mho.convert(model, hardware(array={"rows": None, "cols": None}, dac={"range": "calibrated"}))
    batch = packed()
    mho.calibrate(model, [batch], method="max")
    with torch.no_grad():
        states, _ = pad_packed_sequence(twin(batch)[0], batch_first=True)
    # The last state of a sequence is not multiplied any more.
    states = [s[: n - 1].abs().max() for s, n in zip(states, LENGTHS, strict=True) if n > 1]
    ranges = {site.name: float(site.crossbar.input_range) for site in mho.sites(model)}
    assert ranges["weight_ih_l0"] == float(batch.data.abs().max())
    assert ranges["weight_hh_l0"] == pytest.approx(float(max(states)), rel=1e-6)


def test_the_observer_gets_a_whole_sequence_at_once():
    """A statistic of a batch is one of the sequence: steps must not count as batches."""
    model, seen = nn.LSTM(9, 6, proj_size=3), []
    mho.convert(model, NOISY)
    for site in mho.sites(model):
        site.crossbar.observer = lambda c, x, w: seen.append((c.name, len(x)))
    model(packed(batch_first=False))
    assert sorted(seen) == [
        ("(root).weight_hh_l0", 11), ("(root).weight_hr_l0", 11), ("(root).weight_ih_l0", 11),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_a_batch_do_not_touch_each_other(kind):
    """On hardware that is far from linear, a packed batch gives what each sequence gives alone."""
    model = kind(9, 6, num_layers=2, bidirectional=True, batch_first=True).double()
    mho.convert(model, LEVELS)
    batch = packed(dtype=torch.float64)
    packed_outputs, last = model(batch)
    outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True)
    inputs, _ = pad_packed_sequence(batch, batch_first=True)
    for b, n in enumerate(LENGTHS):
        alone, own = model(inputs[b, :n])
        assert (outputs[b, :n] - alone).abs().max() < 1e-12
        for states, state in zip(leaves(last), leaves(own), strict=True):
            assert (states[:, b] - state).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["padded", "packed"])
def test_dropout_between_layers_is_that_of_torch(kind, form):
    """Without other random numbers, the same seed drops the same outputs."""
    model = kind(9, 6, num_layers=3, dropout=0.5, bidirectional=True).double()
    x = torch.randn(5, 4, 9, dtype=torch.float64)
    x = packed(batch_first=False, dtype=torch.float64) if form == "packed" else x
    torch.manual_seed(1)
    expected = leaves(model(x))
    mho.convert(model, hardware())
    torch.manual_seed(1)
    for y, other in zip(leaves(model(x)), expected, strict=True):
        assert (y - other).abs().max() < 1e-12
    model.eval()
    assert torch.equal(*(leaves(model(x))[0] for _ in range(2)))


def test_every_step_has_its_own_noise():
    """With zero weights the output of a ReLU layer is the rectified noise of each step."""
    model = nn.RNN(1, 200, nonlinearity="relu", bias=False)
    for weight in model.parameters():
        nn.init.zeros_(weight)
    sigma = 0.01
    mho.convert(
        model, hardware(array={"rows": None, "cols": None}, noise={"output": sigma})
    )  # a column of zeros has the scale 1
    y = model(torch.zeros(500, 1, 1))[0].squeeze(1).detach()
    n = y.numel()
    # The sum of two products with std sigma r each; E[max(z, 0)^2] = s^2 / 2, var = 5 s^4 / 4.
    s2 = 2 * (sigma * 64.0) ** 2
    assert abs(y.square().mean() - s2 / 2) < 5 * s2 * (5 / 4 / n) ** 0.5
    before, after = (y[:-1] - y.mean()).flatten(), (y[1:] - y.mean()).flatten()
    assert abs((before * after).mean()) < 5 * y.var() / n**0.5


@pytest.mark.parametrize("kind", [*KINDS, nn.LSTMCell])
def test_parameters_stay_the_same_objects(kind):
    model = kind(9, 6)
    parameters = dict(model.named_parameters())
    mho.convert(model, NOISY)
    model(torch.randn(4, 9)) if kind is nn.LSTMCell else model(torch.randn(5, 4, 9))
    mho.program(model, seed=1)
    model.eval()
    model.requires_grad_(False).requires_grad_(True)
    for name, parameter in model.named_parameters():
        assert parameters[name] is parameter
    model.double()
    x = torch.randn(5, 4, 9, dtype=torch.float64)
    y = model(x[0])[0] if kind is nn.LSTMCell else model(x)[0]
    assert y.dtype == torch.float64


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_one_graph_without_breaks(kind):
    model = kind(9, 6, num_layers=1)
    mho.convert(model, NOISY)
    x = torch.randn(2, 4, 9)
    torch._dynamo.reset()
    # torch traces recurrent layers, of which these are subclasses, only on demand.
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.manual_seed(1)
        y, _ = compiled(x)
    torch.manual_seed(1)
    assert torch.equal(y, model(x)[0])
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


WRONG = {
    "no step": (nn.GRU(3, 4), (torch.zeros(0, 2, 3),), DataError, "none with a step"),
    "no sequence": (nn.GRU(3, 4), (torch.zeros(2, 0, 3),), DataError, "no sequence"),
    "width": (nn.RNN(3, 4), (torch.zeros(2, 2, 5),), RuntimeError, "Expected 3, got 5"),
    "state": (
        nn.LSTM(3, 4), (torch.zeros(2, 2, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 1, 4))),
        RuntimeError, r"Expected hidden\[1\] size \(1, 2, 4\)",
    ),
    "cell width": (nn.GRUCell(3, 4), (torch.zeros(2, 5),), DataError, r"must be \(3,\) or"),
    "cell state": (
        nn.LSTMCell(3, 4), (torch.zeros(2, 3), (torch.zeros(2, 4), torch.zeros(1, 4))),
        DataError, r"must be 2 of shape \(2, 4\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_shapes_are_named(mistake):
    model, inputs, error, message = WRONG[mistake]
    mho.convert(model, NOISY)
    with pytest.raises(error, match=message):
        model(*inputs)
    mho.restore(model)
