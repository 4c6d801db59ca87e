"""Fits find what made the data: every kind without noise, and within intervals with noise."""

import numpy as np
import pytest

import mho
from mho.cells import (
    ConstantStep,
    ExponentialResponse,
    ExponentialStep,
    LinearStep,
    PiecewiseStep,
    PowerResponse,
    PowerStep,
    PulsedDevice,
    SoftBounds,
    SoftBoundsPmax,
)
from mho.fitting._likelihood import CYCLE, READING, Likelihood, events_of
from mho.fitting._parameters import layout_of
from mho.fitting._trace import trace_of
from oracles import devices as oracles

from .trains import pulses, soft, train

SIZE = {"step": 0.02, "asymmetry": 0.2, "low": -0.9, "high": 1.1}
DEVICES = [
    ConstantStep(**SIZE),
    LinearStep(gamma_up=0.5, gamma_down=0.3, **SIZE),
    SoftBounds(**SIZE),
    SoftBoundsPmax(pulses=200, rate=0.01, low=-0.9, high=1.1),
    PowerStep(exponent=1.7, exponent_asymmetry=-0.2, **{**SIZE, "step": 0.05}),
    PowerResponse(exponent=2.0, **SIZE),
    ExponentialResponse(exponent=1.5, **SIZE),
    ExponentialStep(**SIZE),
    PiecewiseStep(up=(1.5, 1.2, 1.0, 0.8, 0.5), down=(0.3, 0.6, 1.0, 1.1, 1.2), **SIZE),
]


def by_kind(devices):
    return [pytest.param(device, id=device.kind) for device in devices]


def exact(device: PulsedDevice, sent: np.ndarray) -> np.ndarray:
    cell = device.mean_cell()
    low, high = cell.low.item(), cell.high.item()
    state, values = np.zeros((1, 1)), [0.0]
    for p in sent[1:]:
        step, _ = device.respond(cell, state, bool(p > 0))
        state = np.clip(state + p * step, low, high)
        values.append(state.item())
    return np.array(values)


def test_every_kind_of_single_device_is_tried():
    """But one whose state is not what a reading shows."""
    kinds = {k for k, member in PulsedDevice.members.items() if issubclass(member, PulsedDevice)}
    assert {device.kind for device in DEVICES} == kinds - {"hidden_step"}


def test_a_hidden_state_is_refused():
    with pytest.raises(mho.errors.MhoError, match="hidden_step"):
        mho.fit_response((pulses(50), np.linspace(-1, 1, len(pulses(50)))), "hidden_step")


@pytest.mark.parametrize("device", by_kind(DEVICES))
def test_a_train_without_noise_is_reproduced(device):
    sent = pulses(150)
    # The nodes of a table lie between its bounds, which must be those of the device.
    fixed = {"low": -0.9, "high": 1.1} if device.kind == "piecewise_step" else {}
    trace = sent, exact(device, sent)
    found = mho.fit_response(trace, device.kind, fixed=fixed, restarts=1, nodes=5)
    assert found.deviation < 1e-3  # of the range, over the whole train from its first reading
    assert found.residual < 1e-3
    # The very response, whatever its parameters are: as large a step at every state.
    ours, theirs = found.device.mean_cell(), device.mean_cell()
    state = np.linspace(theirs.low.item() * 0.8, theirs.high.item() * 0.8, 9)[None]
    for up in (True, False):
        step, expected = (
            np.broadcast_to(d.respond(cell, state, up)[0], state.shape)
            for d, cell in ((found.device, ours), (device, theirs))
        )
        np.testing.assert_allclose(step, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("device", by_kind(DEVICES))
def test_the_gradient_is_that_of_the_likelihood(device, rng):
    sent = pulses(60, 1)
    values = exact(device, sent) + 0.01 * rng.standard_normal(len(sent))
    # Starts off the fit, so that no derivative is 0.
    starts = {"low": -1.0, "high": 1.2, "step_up": 0.03, "step_down": 0.03, "step": 0.03,
              "rate_up": 0.02, "rate_down": 0.03, "asymmetry": 0.0, "pulses": 200,
              "gamma_up": 0.3, "gamma_down": 0.3}  # fmt: skip
    layout = layout_of(device.kind, {}, (), starts, 5)
    events = events_of(trace_of((sent, values)), 0.0, 1.0, pooled=True)
    likelihood = Likelihood(events, layout, 1, (CYCLE, READING), {}, 1e-6)
    free = [p.free(p.start) for p in layout.parameters]
    free = np.array([*free, np.log(0.4), np.log(0.01)]) + 0.05 * rng.standard_normal(len(free) + 2)
    gradient, _ = likelihood.derivatives(free)
    # Tables and their noise are float32 in the formula: their differences need a larger step.
    step = 1e-2 if device.kind == "piecewise_step" else 1e-4
    for k in range(len(free)):
        shift = np.eye(len(free))[k] * step
        one, two = (
            (likelihood.value(free + m * shift) - likelihood.value(free - m * shift))
            / (2 * m * step)
            for m in (1, 2)
        )
        richardson, doubt = (4 * one - two) / 3, abs(one - two)
        assert abs(gradient[k] - richardson) < doubt + 1e-5 * np.abs(gradient).max()


def test_intervals_contain_the_truth_as_often_as_they_say():
    """40 trains of 800 pulses: 95 % of 40 is 38, with a standard deviation of 1.4."""
    truth = {"step_up": 0.02, "step_down": 0.015, "low": -0.8, "high": 1.2, "cycle_noise": 0.3}
    n, sent = 40, pulses(200)
    values = soft(np.random.default_rng(11), sent, cells=n)
    inside = dict.fromkeys([*truth, "write_noise"], 0)
    for row in values:
        found = mho.fit_response((sent, row), restarts=1)
        truth["write_noise"] = 0.005 / found.device.step  # it is in units of the step
        for name, value in truth.items():
            inside[name] += found[name].low <= value <= found[name].high
    least = 0.95 * n - 5 * np.sqrt(0.95 * 0.05 * n)
    assert min(inside.values()) >= least, inside
    assert np.mean(list(inside.values())) < n  # nor are they so wide that they always do


def test_noise_of_pulses_and_of_readings_are_told_apart(rng):
    sent = pulses(300)
    noisy = mho.fit_response((sent, soft(rng, sent, 0.0, 0.01)[0]), restarts=1)
    pulsed = mho.fit_response((sent, soft(rng, sent, 1.0, 0.0)[0]), restarts=1)
    reading = noisy.device.write_noise * noisy.device.step
    assert abs(reading - 0.01) < 5 * 0.01 / np.sqrt(2 * len(sent))
    assert noisy.device.cycle_noise < 0.3  # 0 is at the edge of what can be; 0.3 would be seen
    assert abs(pulsed.device.cycle_noise - 1.0) < 5 / np.sqrt(2 * len(sent))
    assert pulsed.device.write_noise * pulsed.device.step < 0.1 * 0.02


def test_spreads_over_devices(rng):
    n, sent = 16, pulses(150)
    drawn = oracles.draw(
        rng, n, dw_min=0.02, dw_min_dtod=0.2, up_down=0.1, up_down_dtod=0.05,
        w_min=-0.8, w_max=1.0, w_min_dtod=0.1, w_max_dtod=0.15,
    )  # fmt: skip
    cell = oracles.Cell(drawn.bmin, drawn.bmax, drawn.s_up, drawn.s_down, 0, 0)
    values = train(oracles.soft_bounds(0.3), cell, sent, rng, 0.005)
    found = mho.fit_response((sent, values), restarts=1)
    device = found.device
    # Against these very devices, whose draw is known: only the fit's own error is left.
    of_one = {
        name: [values[name] for values in found.by_device.values()] for name in ("low", "high")
    }
    for name, true in (("low", drawn.bmin), ("high", drawn.bmax)):
        assert np.corrcoef(of_one[name], true)[0, 1] > 0.95
        spread = true.std(ddof=1) / abs(true.mean())
        assert abs(getattr(device, f"{name}_spread") / spread - 1) < 0.2
    gain = (drawn.s_up + drawn.s_down).std(ddof=1) / 2 / device.step
    skew = (drawn.s_up - drawn.s_down).std(ddof=1) / 2 / device.step
    assert abs(device.step_spread / gain - 1) < 0.2
    assert abs(device.asymmetry_spread / skew - 1) < 0.5
    assert abs(device.step / max(drawn.s_up.mean(), drawn.s_down.mean()) - 1) < 0.05
    assert "spread over devices" in str(found)
    assert len(found.by_device) == n


def test_the_right_kind_has_the_lowest_criterion(rng):
    sent = pulses(200)
    values = soft(rng, sent)[0]
    kinds = ("soft_bounds", "constant_step", "power_step")
    criteria = {kind: mho.fit_response((sent, values), kind, restarts=1).bic for kind in kinds}
    assert min(criteria, key=criteria.__getitem__) == "soft_bounds"


def test_several_pulses_between_readings(rng):
    sent = pulses(300)
    values = soft(rng, sent, reading=0.0)[0]
    found = mho.fit_response((sent[::3] * 3, values[::3]), restarts=1)
    assert found["low"].low < -0.8 < found["low"].high
    assert abs(found["cycle_noise"].value - 0.3) < 5 * 0.3 / np.sqrt(2 * len(sent) / 3)


def test_fixed_fields_stay_and_the_same_seed_gives_the_same_fit(rng):
    sent = pulses(100)
    trace = sent, soft(rng, sent)[0]
    options = {"fixed": {"low": -0.8, "write_noise": 0}, "restarts": 2, "seed": 5}
    one, two = (mho.fit_response(trace, **options) for _ in range(2))
    assert one.device == two.device
    assert one.device.low == -0.8
    assert one.device.write_noise == 0
    assert [p.name for p in one.parameters] == ["step_up", "step_down", "high", "cycle_noise"]


def test_what_the_trace_does_not_determine_is_said(rng):
    sent = pulses(60)  # constant steps that never reach a bound
    cell = oracles.Cell(*(np.array([x]) for x in (-9.0, 9.0, 0.01, 0.01, 0.0, 0.0)))
    values = train(oracles.constant_step(0.3), cell, sent, rng)[0] - 0.3
    found = mho.fit_response((sent, values), "constant_step", restarts=1)
    assert found["step_up"].known
    assert not found["high"].known
    assert "not determined by the trace" in str(found)


def test_conductances_become_weights_and_a_yaml_file(rng, tmp_path):
    sent = pulses(150)
    weights = soft(rng, sent)[0]
    plain = mho.fit_response((sent, weights), restarts=1)
    file = tmp_path / "trace.csv"
    rows = "".join(f"{p},{20 + 10 * w:.9f}\n" for p, w in zip(sent, weights, strict=True))
    file.write_text(f"pulses,conductance [uS]\n{rows}")
    found = mho.fit_response(file, zero=20e-6, scale=10e-6, restarts=1)
    for name in ("low", "high", "step"):
        assert abs(getattr(found.device, name) / getattr(plain.device, name) - 1) < 1e-4
    target = tmp_path / "my.yaml"
    text = found.to_yaml(target)
    assert text == target.read_text()
    loaded = mho.load(target)
    assert loaded == found.hardware
    assert loaded.cell.device == found.device
    assert loaded.cell.g_max == 10e-6
    assert "trace.csv" in mho.document(target).source
    middle = mho.fit_response(file, restarts=1)
    assert middle.zero == pytest.approx((weights.min() + weights.max()) / 2 * 1e-5 + 2e-5)


def test_the_plot_has_three_panels(rng, tmp_path):
    sent = pulses(60)
    found = mho.fit_response((sent, soft(rng, sent, cells=6)), restarts=1)
    assert len(found.plot().axes) == 3
    assert found.plot(tmp_path / "fit.png").stat().st_size > 10_000


def test_a_fit_of_phase_change_memory_frees_the_noise_of_its_state(rng):
    """Pulses up only: the direction that is not there must be fixed, and noise grows with it."""
    cell = oracles.Cell(*(np.array([x]) for x in (-1e-9, 2.0, 0.01, 0.01, 0.0, 0.0)))
    pulse = oracles.exponential_step(0.6, -27.235, -2.235, 2.5, 2.5, -1.0, 0.0, 0.042, 0.108)
    sent = np.concatenate([[0], np.ones(60, int)])
    values = np.concatenate([train(pulse, cell, sent, rng) for _ in range(6)])[:, None]
    given = {
        "asymmetry": 0.0, "low": 0.0, "high": 2.0, "scale": -1.0, "shift": 0.0, "step": 0.01,
        "rate_up": 2.5, "rate_down": 2.5, "amplitude_down": -2.235, "noise_offset": 0.042,
        "write_noise": 0,
    }  # fmt: skip
    found = mho.fit_response(
        (sent, values.transpose(1, 0, 2)),
        "exponential_step",
        fixed=given,
        free=["noise_slope"],
        restarts=3,
    )
    for name, true in (("amplitude_up", -27.235), ("noise_slope", 0.108), ("cycle_noise", 0.6)):
        fitted = found[name]
        half = (fitted.high - fitted.low) / 2
        assert abs(fitted.value - true) < 5 / 1.96 * half, name
