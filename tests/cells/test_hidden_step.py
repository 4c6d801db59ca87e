"""Devices of few visible levels: switches, what they add up to, and what arrays make of them."""

import numpy as np
import pytest
import torch

import mho
from mho.cells import Composed, Constant, HiddenStep, PowerLaw, response_curve
from mho.errors import MhoError, SpecError
from mho.ops import PulsedCells, Stream, integrate_shuffled
from mho.ops._shuffled import _on_tensors
from mho.tiles import DeviceArray, Hardware, Pulses, Samples

QUARTER = HiddenStep(step=0.5)  # four pulses from -1 to 1
THREE = HiddenStep(step=0.1, levels=3)  # ten pulses from level to level: -1, 0, 1


def array(device, shape=(1, 1), name="hidden") -> DeviceArray:
    return DeviceArray(device, shape, Stream(1, name))


def pulsed(given: DeviceArray, *runs: int) -> list[float]:
    """Weights of a cell after runs of pulses, positive up and negative down."""
    weights = []
    for run in runs:
        up, down = (torch.full(given.shape, max(n, 0), dtype=torch.int32) for n in (run, -run))
        given.pulse(up, down)
        weights.append(given.weight[0, 0].item())
    return weights


def test_a_switch_takes_its_pulses_and_starts_anew():
    given = array(QUARTER)
    given.write(torch.tensor([[-1.0]]))
    assert pulsed(given, 3, 1, -3, -1, -1, 2, 3) == [-1, 1, 1, -1, -1, -1, 1]


def test_pulses_the_other_way_undo_progress():
    given = array(THREE)
    assert pulsed(given, 9, -9, -9, 9, 5, 4, -8, 8, 1) == [0] * 8 + [1]


def test_levels_spread_with_the_bounds_and_nothing_lies_between():
    device = HiddenStep(levels=4, step=0.1, low_spread=0.2, high_spread=0.2, step_spread=0.3,
                        cycle_noise=0.3)  # fmt: skip
    given = array(device, (20, 30))
    g = torch.Generator().manual_seed(0)
    for _ in range(5):
        x, d = torch.randn(8, 30, generator=g), torch.randn(8, 20, generator=g)
        given.update(Samples.of(x, d), 0.1, Pulses())
        c = given.arrays[0].constants
        at = 3 * (given.weight - c.low) / (c.high - c.low)
        assert float((at - at.round()).abs().max()) < 1e-5
    assert len(at.round().unique()) == 4


def test_the_mean_movement_is_the_step_however_many_pulses_cancel():
    """Far from the outermost levels, weight and twice the hidden progress add up to all pulses."""
    given = array(HiddenStep(step=0.25, levels=2001, low=-1000.0, high=1000.0), (40, 50))
    g, net = torch.Generator().manual_seed(0), torch.zeros(40, 50)
    for _ in range(5):
        up, down = torch.randint(0, 30, (2, 40, 50), generator=g, dtype=torch.int32)
        given.pulse(up, down)
        net += up - down
    hidden = given.arrays[0].state - given.weight
    torch.testing.assert_close(given.weight + 2 * hidden, 0.25 * net, atol=1e-3, rtol=0)
    assert len(hidden.mul(8).round().unique()) == 7  # -3 to 3 of four pulses


def test_noise_loses_what_goes_beyond_a_switch():
    """With fifty pulses to a switch, at most one of them on average."""
    n, net = 4000, 4 * 60
    device = HiddenStep(step=0.02, levels=201, low=-100.0, high=100.0, cycle_noise=0.3)
    given = array(device, (n, 1))
    for _ in range(4):
        given.pulse(*(torch.full((n, 1), count, dtype=torch.int32) for count in (110, 50)))
    total = (2 * given.arrays[0].state - given.weight).double() / 0.02
    error = 5 * float(total.std()) / n**0.5
    assert net * (1 - 1 / 50) - error <= float(total.mean()) <= net + error


def visible(fidelity: str, cells=4000) -> np.ndarray:
    """Weights of independent cells that are pulsed both ways, by a quarter of the samples each."""
    device = HiddenStep(step=0.25, levels=9, low=-4.0, high=4.0, cycle_noise=0.3)
    given = DeviceArray(device, (cells + 1, 1), Stream(1, fidelity))
    g = torch.Generator().manual_seed(1)
    signs = torch.where(torch.rand(150, cells + 1, generator=g) < 0.4, 1.0, -1.0)
    d = 0.005 * signs
    d[:, 0] = 0.6  # its probabilities are 1
    rate = 31 * given.granularity / 0.6
    given.update(Samples.of(torch.ones(150, 1), d), rate, Pulses(fidelity=fidelity))
    return given.weight[1:, 0].double().numpy()


def test_fidelities_agree_where_cells_switch():
    """Forty pulses on each cell, ten switches: the same mean and variance of the weight."""
    truth = visible("pulse")
    assert len(np.unique(truth)) >= 8
    for fidelity in ("batch", "moments"):
        other = visible(fidelity)
        error = np.sqrt((truth.var() + other.var()) / len(truth))
        assert abs(truth.mean() - other.mean()) <= 5 * error, fidelity
        moments = [np.std((v - v.mean()) ** 2) / np.sqrt(len(v)) for v in (truth, other)]
        assert abs(truth.var() - other.var()) <= 5 * np.hypot(*moments), fidelity


@pytest.mark.parametrize("whole", [True, False])
def test_tensors_take_the_same_pulses_as_kernels(whole):
    device = HiddenStep(step=0.3, levels=3, cycle_noise=0.3, step_spread=0.3, stuck=0.1)
    cells = device.draw((9, 21), Stream(1, "cells"))
    g = torch.Generator().manual_seed(0)
    up, down = torch.randint(0, 40, (2, 9, 21), generator=g, dtype=torch.int32)
    up[:, ::5] = down[:, ::5] = 0
    if not whole:
        up, down = (n + torch.randn(n.shape, generator=g) * (n > 0) for n in (up, down))
    state = cells.low + (cells.high - cells.low) * torch.rand((9, 21), generator=g)
    states, rules = [], (HiddenStep.formula, HiddenStep.landing)
    for drive, extra in ((integrate_shuffled, ()), (_on_tensors, (whole,))):
        moved = PulsedCells(state.clone(), *cells[:6])
        drive(*rules, moved, device.constants, up, down, *extra, (5, (7, 8)))
        states.append(moved.state)
    # Single precision: a state within 1e-6 of a switch may or may not take it; none is here.
    assert float((states[0] - states[1]).abs().max()) < 1e-4
    idle = (up == 0) & (down == 0)
    assert torch.equal(states[0][idle], state[idle])
    assert float((states[0] - state).abs().max()) > 0.5


def test_means_are_rounded_without_bias():
    """A mean of 0.3 pulses is one pulse in three tenths of all cells; -0.3 is one the other way."""
    n = 20_000
    device = HiddenStep(step=0.002, levels=3)
    cells = device.draw((n, 1), Stream(1, "cells"))
    for mean in (0.3, -0.3, 2.6):
        moved = PulsedCells(torch.zeros(n, 1), *cells[:6])
        up, rules = torch.full((n, 1), mean), (HiddenStep.formula, HiddenStep.landing)
        integrate_shuffled(*rules, moved, device.constants, up, 0 * up, (0, (1, 2)))
        count = (moved.state.double() / 0.001).round()
        error = 5 * (0.3 * 0.7 / n) ** 0.5 if mean < 1 else 5 * (0.6 * 0.4 / n) ** 0.5
        assert float(count.mean()) == pytest.approx(mean, abs=error)
        assert len(count.unique()) == 2


def test_write_noise_is_drawn_at_switches():
    given = array(HiddenStep(step=0.5, write_noise=0.1), (50, 40))
    given.write(torch.full((50, 40), -1.0))
    n, first = 2000, given.weight
    assert float(first.std()) == pytest.approx(0.05, abs=5 * 0.05 / (2 * n) ** 0.5)
    ones = torch.ones(50, 40, dtype=torch.int32)
    given.pulse(3 * ones, 0 * ones)
    assert torch.equal(given.weight, first)
    kept = given.state_dict()
    given.pulse(ones, 0 * ones)
    switched = given.weight
    assert float(switched.mean()) == pytest.approx(1.0, abs=5 * 0.05 / n**0.5)
    again = array(HiddenStep(step=0.5, write_noise=0.1), (50, 40))
    again.load_state_dict(kept)
    again.pulse(ones, 0 * ones)
    assert torch.equal(again.weight, switched)


def test_writing_and_reset_end_at_levels():
    given = array(THREE, (1, 4))
    share = given.write(torch.tensor([[-0.9, 0.0, 0.6, 1.0]]))
    assert given.weight.tolist() == [[-1.0, 0.0, 1.0, 1.0]]
    assert share == 0.5
    pulsed(given, 5)
    given.reset(torch.ones(4, dtype=torch.bool))
    assert torch.equal(given.arrays[0].state, torch.zeros(1, 4))


def test_diffusion_switches_too():
    given = array(HiddenStep(step=0.1, levels=3, diffusion=0.2), (40, 50))
    for _ in range(10):
        given.tick()
    assert set(given.weight.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_curves_show_levels():
    curve = response_curve(HiddenStep(step=0.25), [8, -8], cells=2)
    assert curve.mean.tolist() == [-1.0] * 8 + [1.0] * 8 + [-1.0]


def test_three_levels_learn():
    """Ternary weights in memory find a teacher's ternary weights."""
    torch.manual_seed(0)
    model = torch.nn.Linear(12, 4, bias=False)
    device = HiddenStep(step=0.05, levels=3, cycle_noise=0.3, step_spread=0.3)
    cell = Composed(g_max=1e-6, signed=True, device=device)
    mho.convert(model, Hardware(cell=cell, mapping="signed"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    mho.attach(optimizer, model, mho.PulsedSGD(), scale=1.0)
    teacher = torch.randint(-1, 2, (4, 12)).float()
    for _ in range(300):
        x = torch.randn(20, 12)
        optimizer.zero_grad()
        (model(x) - x @ teacher.T).square().mean().backward()
        optimizer.step()
    # Chance finds a third of 48 weights, 16 +- 3.3.
    assert int((model.weight == teacher).sum()) >= 16 + 5 * 3.3


def refused(text, call):
    with pytest.raises(MhoError, match=text):
        call()


def test_bad_input():
    with pytest.raises((SpecError, ValueError), match="exceeds the spacing"):
        HiddenStep(step=1.0, levels=4)
    trace = np.ones(40), np.linspace(-1, 1, 40)
    refused("jumps", lambda: mho.fit_response(trace, kind="hidden_step"))
    cell = Composed(
        g_max=1e-6,
        signed=True,
        drift=PowerLaw(nu_mean=Constant(value=0.05), nu_std=Constant(value=0.0)),
        device=QUARTER,
    )
    hardware = Hardware(cell=cell, mapping="signed")
    model = torch.nn.Linear(3, 2)
    mho.convert(model, hardware)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attached = mho.attach(optimizer, model, mho.PulsedSGD())
    refused("levels", lambda: attached.rest("1 d"))
