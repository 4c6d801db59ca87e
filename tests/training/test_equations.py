"""The algorithms' own arithmetic against literal loops, on arrays that follow exactly."""

import numpy as np
import pytest
import torch

import mho
from mho.cells import Device
from mho.ops import Stream
from mho.tiles import Pulses, Samples
from mho.training import Matrix, ReadOut
from oracles import in_memory as oracle

EPS, OUT, IN = 1 / 256, 3, 5  # a power of two, so that whole steps add up exactly
DEVICE = Device.select({"kind": "constant_step", "step": EPS, "low": -64.0, "high": 64.0})


def matrix(scale=1.0, device=DEVICE, shape=(OUT, IN), **options):
    options = {"pulses": Pulses(train="exact"), **options}
    return Matrix("w", device, shape, Stream(0, "w"), scale, **options)


def batches(n, seed=0, size=2):
    g = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, IN, generator=g), torch.randn(size, OUT, generator=g)) for _ in range(n)
    ]


def start(seed=1):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(-20, 20, (OUT, IN), generator=g) * EPS


def run(algorithm, given, steps, lr=0.3):
    state = algorithm.start(matrix(**given), start())
    for x, d in steps:
        algorithm.step(state, Samples.of(x, d), lr)
    return state


BUFFERED = {
    "v2": (mho.TikiTakaV2(columns=1), {}),
    "v2, not forgetting": (
        mho.TikiTakaV2(columns=1, forget_buffer=False, momentum=0.3),
        {"forget": False, "momentum": 0.3},
    ),
    "v2, momentum": (mho.TikiTakaV2(columns=1, momentum=0.5), {"momentum": 0.5}),
    "v2, granularity": (
        mho.TikiTakaV2(
            columns=1, auto_granularity=40.0, buffer_granularity=0.7, fast_learning_rate=0.3
        ),
        {"auto": 40.0, "buffer": 0.7, "fast": 0.3},
    ),
    "chopped": (
        mho.ChoppedTikiTaka(
            columns=1, switching="regular", input_chopper_probability=0.3, auto_momentum=0.8
        ),
        {"chop": 0.3, "auto_momentum": 0.8},
    ),
    "AGAD": (mho.Agad(columns=1), {"chop": 0.1, "reference": True}),
    "AGAD, tail": (
        mho.Agad(
            columns=1, tail_weighting=1.5, input_chopper_probability=0.25, fast_learning_rate=0.02
        ),
        {"chop": 0.25, "reference": True, "tail": 1.5, "fast": 0.02},
    ),
}
DEFAULTS = {
    "fast": 0.1, "slots": 31, "auto_momentum": 0.99, "buffer": 1.0, "auto": 0.0, "momentum": 0.0,
    "forget": True, "chop": 0.0, "reference": False, "tail": 5.0,
}  # fmt: skip


@pytest.mark.parametrize("name", BUFFERED)
def test_buffered_transfers(name):
    algorithm, options = BUFFERED[name]
    steps = batches(150)
    state = run(algorithm, {}, steps, lr=0.2)
    literal = oracle.Buffered(start().double().numpy(), EPS, **{**DEFAULTS, **options})
    for x, d in steps:
        literal.step(x.double().numpy(), d.double().numpy(), 0.2)
    assert np.abs(literal.C - start().numpy()).max() >= 2 * EPS  # something was transferred
    np.testing.assert_allclose(state.arrays["A"].weight, literal.A, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(state.arrays["C"].weight, literal.C)
    np.testing.assert_allclose(state.tensors["H"], literal.H, rtol=1e-3, atol=1e-4)
    if "chop" in options:
        assert (literal.c_in < 0).any()
        np.testing.assert_array_equal(state.tensors["chopper in"], literal.c_in)
    if options.get("reference"):
        np.testing.assert_allclose(state.tensors["mean"], literal.M, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.tensors["reference"], literal.P, rtol=1e-4, atol=1e-5)


def test_residual_learning_v2():
    steps = batches(60)
    state = run(mho.ResidualLearningV2(beta=0.05, gamma=0.3), {"scale": 2.0}, steps, lr=0.02)
    gradients = [(d.T @ x).double().numpy() for x, d in steps]
    P, H, W = oracle.residual_v2(start().double().numpy(), gradients, 0.01, 0.05, EPS)
    np.testing.assert_allclose(state.arrays["P"].weight, P, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.tensors["H"], H, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(state.arrays["W"].weight, W)


@pytest.mark.parametrize("every", [1, 3])
def test_mixed_precision(every):
    steps = batches(40)
    state = run(mho.MixedPrecision(transfer_every=every), {"scale": 2.0}, steps, lr=0.01)
    gradients = [(d.T @ x).double().numpy() for x, d in steps]
    chi, W = oracle.mixed_precision(start().double().numpy(), gradients, 0.005, EPS, every)
    np.testing.assert_allclose(state.tensors["chi"], chi, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(state.arrays["weight"].weight, W)


@pytest.mark.parametrize(("x_bins", "d_bins"), [(5, None), (None, 3), (4, 7)])
def test_mixed_precision_on_levels(x_bins, d_bins):
    """Levels of the largest value of each vector over floor(b / 2); right in the mean."""
    n, (x, d) = 4000, batches(1)[0]
    algorithm = mho.MixedPrecision(input_bins=x_bins, error_bins=d_bins, threshold=1e9)
    state = run(algorithm, {}, [(x, d)] * n, lr=1.0)
    mean, exact = -state.tensors["chi"] / n, d.T @ x

    def spread(v, bins):
        return v.abs().amax(1) / (bins // 2) / 2 if bins else torch.zeros(len(v))

    # A level is off by at most a width, with a standard deviation of at most half of it.
    most_x, most_d = x.abs().amax(1), d.abs().amax(1)
    s_x, s_d = spread(x, x_bins), spread(d, d_bins)
    variance = (most_x**2 * s_d**2 + most_d**2 * s_x**2 + s_x**2 * s_d**2).sum()
    assert ((mean - exact).abs() < 5 * float(variance) ** 0.5 / n**0.5).all()
    nearest = mho.MixedPrecision(
        input_bins=x_bins, error_bins=d_bins, rounding="nearest", threshold=1e6
    )
    (got,) = [-run(nearest, {}, [(x, d)], lr=1.0).tensors["chi"]]

    def leveled(v, bins):
        width = v.abs().amax(1, keepdim=True) / (bins // 2) if bins else None
        return v if width is None else torch.round(v / width) * width

    torch.testing.assert_close(got, leveled(d, d_bins).T @ leveled(x, x_bins))


def test_tiki_taka_moves_a_column_in_the_mean():
    """C <- C + lambda A e_j: one column per step, in turn, by whole pulses of the right mean."""
    n = 3000
    algorithm = mho.TikiTaka(columns=1, transfer_learning_rate=0.05, scale_transfer=False)
    state = algorithm.start(matrix(shape=(n, IN)), torch.zeros(n, IN))
    x, d = torch.randn(1, IN, generator=torch.Generator().manual_seed(0)), -torch.ones(1, n)
    for step in range(1, 4):
        algorithm.step(state, Samples.of(x, d), 0.1)
        C = state.arrays["A1"].weight
        assert (C[:, step:] == 0).all()
        assert torch.equal(C, (C / EPS).round() * EPS)
        expected = 0.05 * step * 0.1 * x[0, step - 1]
        tolerance = 5 * EPS / 2 / n**0.5  # a rounded number is off by half a step at most
        assert abs(float(C[:, step - 1].mean() - expected)) < tolerance
    torch.testing.assert_close(state.arrays["A0"].weight, (0.3 * x).expand(n, IN))


@pytest.mark.parametrize(("columns", "sweep"), [(1, 5), (2, 3), (4, 2), (None, 1)])
def test_a_link_is_due_after_the_whole_matrix_before_it(columns, sweep):
    """T_(k+1) = T_k times the transfers that go through all columns, whatever the outputs."""
    algorithm = mho.TikiTaka(arrays=3, columns=columns, transfer_every=2, gamma=0.5)
    state, moved = algorithm.start(matrix(), start()), []
    x, d = torch.ones(1, IN), -torch.ones(1, OUT)
    last = state.arrays["A2"].weight
    for step in range(1, 4 * sweep + 1):
        algorithm.step(state, Samples.of(x, 100 * d), 1.0)
        if not torch.equal(state.arrays["A2"].weight, last):
            moved.append(step)
        last = state.arrays["A2"].weight
    assert moved == [2 * sweep, 4 * sweep]


def test_significances():
    """Of four arrays the last counts 1 and the others powers of gamma."""
    algorithm = mho.ResidualLearning(arrays=4, gamma=0.5)
    assert algorithm.significances == (0.125, 0.25, 0.5, 1.0)
    state = algorithm.start(matrix(), start())
    assert torch.equal(algorithm.weight(state), start())
    for k, array in enumerate(state.arrays.values()):
        array.write(torch.full((OUT, IN), EPS * 2.0**k))
    shown = EPS * (0.125 + 0.5 + 2 + 8)
    torch.testing.assert_close(algorithm.weight(state), torch.full((OUT, IN), shown))


def test_random_columns_are_all_read():
    algorithm = mho.TikiTaka(
        columns=1, order="random", transfer_learning_rate=1.0, scale_transfer=False
    )
    state = algorithm.start(matrix(), torch.zeros(OUT, IN))
    for _ in range(60):
        algorithm.step(state, Samples.of(torch.ones(1, IN), -torch.ones(1, OUT)), 0.1)
    assert (state.arrays["A1"].weight != 0).all()


def test_columns_can_be_reset_after_their_read():
    algorithm = mho.TikiTaka(columns=2, reset_probability=1.0)
    state = algorithm.start(matrix(), torch.zeros(OUT, IN))
    algorithm.step(state, Samples.of(torch.ones(1, IN), -torch.ones(1, OUT)), 0.1)
    zero = (state.arrays["A0"].weight == 0).all(0)
    assert zero.tolist() == [True, True, False, False, False]


def test_read_outs():
    """Noise, then the bound, then levels with one at zero."""
    column = torch.linspace(-2, 2, 9)
    read = ReadOut(bits=3, bound=1.5).read(column, torch.zeros(9))
    step = 0.5  # 2^3 - 2 = 6 steps from -1.5 to 1.5
    assert torch.equal(read, (column.clamp(-1.5, 1.5) / step).round() * step)
    xi = torch.randn(9)
    assert torch.equal(ReadOut(noise=0.1).read(column, xi), column + 0.1 * xi)
    hardware = mho.Hardware(
        dac={"range": {"kind": "fixed", "value": 1.0}},
        adc={"bits": 9, "bound": 12.0},
        noise={"output": 0.06, "read": {"kind": "additive", "sigma": 0.08}},
    )
    found = ReadOut.of(hardware)
    assert (found.bits, found.bound) == (9, 12.0)
    assert found.noise == pytest.approx(0.1)
    assert ReadOut.of(mho.Hardware()) == ReadOut()


def test_transfers_read_with_noise():
    """The mean of H over cells is that of what is read; its spread is that of the read-out."""
    n = 4000
    algorithm = mho.TikiTakaV2(columns=1, scale_transfer=False, transfer_learning_rate=1.0)
    given = matrix(shape=(n, IN), read_out=ReadOut(noise=0.01 * EPS))
    state = algorithm.start(given, torch.zeros(n, IN))
    state.arrays["A"].write(torch.full((n, IN), 0.5 * EPS))
    algorithm.step(state, Samples.of(torch.zeros(1, IN), torch.ones(1, n)), 1.0)
    H = state.tensors["H"][:, 0]
    assert abs(float(H.mean()) - 0.5) < 5 * 0.01 / n**0.5
    assert abs(float(H.std()) / 0.01 - 1) < 5 / (2 * n) ** 0.5
