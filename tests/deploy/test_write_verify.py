"""Write and verify: closed forms, a literal loop, and exactly the cells that cannot be reached."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.cells import reach
from mho.nn import sites
from oracles.write_verify import write_and_verify

CONSTANT = {"kind": "constant_step", "step": 0.01}
DIFFERENTIAL = {"kind": "differential", "scaling": "fixed", "w_max": 1.0}
SCALED = mho.WriteVerify(fill=0.5)


def layer(device=CONSTANT, shape=(120, 150), seed=0, mapping=DIFFERENTIAL, extent=1.0, **cell):
    """A linear layer with weights uniform in +-extent of full scale, on cells of a device."""
    g = torch.Generator().manual_seed(seed)
    model = nn.Linear(shape[1], shape[0], bias=False)
    with torch.no_grad():
        model.weight.copy_(extent * (2 * torch.rand(shape, generator=g) - 1))
    cell = {"kind": "composed", "g_max": "25 uS", "device": device, **cell}
    mho.convert(model, mho.Hardware(cell=cell, mapping=mapping))
    return model


def held(model):
    """The weights by which the arrays compute now."""
    (site,) = sites(model)
    return site.crossbar.operand(site.matrix).weight.detach()


def written(model, seed=1, **fields):
    """Program by write and verify; return the report on the only matrix."""
    mho.program(model, seed=seed, method=mho.WriteVerify(**fields))
    return mho.programming_report(model).matrices[0]


def constants(model, seed=1):
    """The single devices, as an attached training with the same seed finds them."""
    mho.erase(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attached = mho.attach(optimizer, model, mho.PulsedSGD(), seed=seed)
    (state,) = attached.states.values()
    attached.remove()
    return state.arrays["weight"].arrays[0].constants


@pytest.mark.parametrize("ratio", [0.5, 0.75, 1.0])
def test_constant_steps_end_uniformly_over_the_last_step(ratio):
    """sign(target) (target - w) is uniform in (tolerance - s, tolerance], s = 0.02 full scale."""
    model, s = layer(), 0.02
    matrix = written(model, tolerance=ratio * s)
    assert matrix.step == pytest.approx(s)
    assert matrix.inside[-1] == 1
    # Targets nearer to 0 than the tolerance get no pulse; a whole number of steps is uniform.
    w = model.weight.detach()
    chosen = (w.abs() > 2 * s) & (w.abs() <= 0.98)
    error = (torch.sign(w) * (w - held(model)))[chosen].double()
    n = len(error)
    tolerance, rounding = ratio * s, 1e-5
    assert error.max() <= tolerance + rounding
    assert error.min() >= tolerance - s - rounding
    variance = s**2 / 12
    assert abs(error.mean() - (tolerance - s / 2)) < 5 * math.sqrt(variance / n)
    # A uniform number of variance v has the kurtosis 9/5, so that of the variance is 4/5 v^2 / n.
    assert abs(error.var() - variance) < 5 * variance * math.sqrt(0.8 / n)


def test_steps_wider_than_the_window_jump_over_it():
    """A cell lands where its lattice of steps lies: in the window for a share 2 tolerance / s."""
    model, s, tolerance = layer(), 0.02, 0.004
    matrix = written(model, tolerance=tolerance, iterations=30)
    n, share = model.weight.numel(), 2 * tolerance / s
    assert abs(matrix.inside[-1] - share) < 5 * math.sqrt(share * (1 - share) / n)
    error = (model.weight - held(model)).detach()
    assert error.abs().max() < s + 1e-5
    assert matrix.iterations == 30
    assert int(matrix.outside.sum()) == round((1 - matrix.inside[-1]) * n)
    assert matrix.unreachable.sum() == 0


@pytest.mark.parametrize(
    "noise",
    [
        {},
        {"cycle": 0.5},
        {"write": 0.6},
        {"read": 0.02},
        {"cycle": 1.5, "write": 0.3, "read": 0.01},
    ],
    ids=str,
)
def test_every_round_has_the_error_of_the_literal_loop(noise):
    """Error and share inside, round by round, with the noise on: 5 standard errors."""
    s, tolerance, rounds, n = 0.02, 0.012, 25, 3000
    device = {
        **CONSTANT,
        "cycle_noise": noise.get("cycle", 0),
        "write_noise": noise.get("write", 0),
    }
    model = layer(device, (120, 150), extent=0.9)
    read = {"noise": noise.get("read", 0.0)}
    matrix = written(model, tolerance=tolerance, iterations=rounds, read=read)
    rng = np.random.default_rng(5)
    target = rng.uniform(-0.9, 0.9, n)
    errors, inside = write_and_verify(target, s, tolerance, 0.5, rounds, rng, **noise)
    count = model.weight.numel()
    for number in range(rounds + 1):
        if number > matrix.iterations:  # all were inside, so it stopped
            assert inside[number].all()
            continue
        square = errors[number] ** 2
        off = math.sqrt(square.var() * (1 / n + 1 / count))
        assert abs(matrix.errors[number] ** 2 - square.mean()) < 5 * off
        share = (inside[number].sum() + matrix.inside[number] * count) / (n + count)
        off = math.sqrt(share * (1 - share) * (1 / n + 1 / count))
        assert abs(matrix.inside[number] - inside[number].mean()) <= 5 * off + 1e-9


def test_noise_sets_the_floor():
    """Finer steps, and more reads of a noisy cell, leave a smaller error."""
    coarse = written(layer(), tolerance=0.01)
    fine = written(layer({**CONSTANT, "step": 0.002}), tolerance=0.002)
    assert fine.error / coarse.error == pytest.approx(0.2, rel=0.05)
    once, often = (
        written(layer(), tolerance=0.01, read={"noise": 0.05}, averages=k, iterations=30)
        for k in (1, 16)
    )
    assert often.error < 0.6 * once.error


def test_errors_fall_until_the_floor():
    matrix = written(layer(), tolerance=0.01)
    assert all(
        later < earlier for earlier, later in zip(matrix.errors, matrix.errors[1:], strict=False)
    )
    assert matrix.errors[0] == pytest.approx(
        float(layer().weight.detach().square().mean().sqrt()), rel=1e-5
    )
    assert matrix.error == matrix.errors[-1]


def test_cells_out_of_reach_are_reported_exactly():
    """Stuck cells and those whose own bounds end too early, known from the draws of the cells."""
    device = {**CONSTANT, "low_spread": 0.3, "high_spread": 0.3, "stuck": 0.05, "reference": 0.1}
    model = layer(device)
    matrix = written(model, tolerance=0.011, fill=0.8)
    full = 0.8 * reach(model.analog["weight"].hardware.cell.device)
    assert matrix.full_scale == pytest.approx(0.8 * (1 - 0.1))
    error = held(model) - model.weight.detach()
    report = mho.programming_report(model)
    target = model.weight.detach() * full
    c = constants(model)
    low, high = c.low - c.reference, c.high - c.reference
    stuck = (low == high) & ((target - low).abs() > 0.011 * full)
    bound = (low != high) & ((target < low - 0.011 * full) | (target > high + 0.011 * full))
    assert 0.03 < stuck.float().mean() < 0.07
    assert bound.sum() > 100
    assert np.array_equal(matrix.stuck, stuck.numpy())
    assert np.array_equal(matrix.out_of_bounds, bound.numpy())
    assert np.array_equal(matrix.outside, matrix.unreachable)
    assert report.unreachable == int(stuck.sum() + bound.sum())
    assert error[~(stuck | bound)].abs().max() <= 0.011 + 1e-5
    assert matrix.error > 5 * matrix.errors[-1]


DEVICES = {
    "soft bounds": {"kind": "soft_bounds", "step": 0.002, "step_spread": 0.1, "cycle_noise": 0.3},
    "asymmetric": {"kind": "linear_step", "step": 0.002, "asymmetry": 0.4, "gamma_up": 0.5},
    "symmetry point": {
        "kind": "soft_bounds", "step": 0.002, "asymmetry": 0.1, "subtract_symmetry_point": True
    },
    "pair": {"kind": "one_sided_pair", "device": {"kind": "soft_bounds", "step": 0.004}},
    "unit cell": {"kind": "unit_cell", "devices": [CONSTANT, CONSTANT], "policy": "sequential"},
    "reference cell": {
        "kind": "unit_cell", "devices": [{**CONSTANT, "step": 0.004}, CONSTANT],
        "significance": [1.0, -1.0], "policy": "fixed",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DEVICES)
def test_cells_of_any_kind_are_written(name):
    """Without stuck cells and spreads of bounds, all cells come within two steps."""
    model = layer(DEVICES[name], (40, 50))
    matrix = written(model, tolerance=0.02, iterations=100)
    assert matrix.unreachable.sum() == 0
    assert matrix.inside[-1] == 1
    assert (held(model) - model.weight).abs().max() <= 0.02 + 1e-5
    if name == "pair":
        assert matrix.pulses_down == 0
    assert matrix.pulses_up > 0
    assert 0 < matrix.most_pulses <= matrix.pulses_up + matrix.pulses_down


def test_pulses_are_counted():
    """Constant steps of equal size: pulses up less pulses down is the weight in steps."""
    model = layer(shape=(30, 40))
    matrix = written(model, tolerance=0.01)
    steps = held(model) / 0.02
    assert matrix.pulses_up - matrix.pulses_down == pytest.approx(float(steps.sum()), abs=1e-2)
    assert matrix.pulses_up + matrix.pulses_down == pytest.approx(
        float(steps.abs().sum()), abs=1e-2
    )  # equal steps never overshoot


def test_the_reads_see_what_is_fixed_in_the_array():
    """A spread of conductances is corrected; what stuck conductances leave is reported."""
    spread = {"variability": {"gain": 0.1}}
    open_loop, closed = layer(**spread), layer(**spread)
    mho.program(open_loop, seed=1)
    matrix = written(closed, tolerance=0.016)  # steps are up to 1.4 times 0.02
    inside = torch.from_numpy(~matrix.unreachable)
    assert (held(open_loop) - open_loop.weight).abs().max() > 0.1
    assert (held(closed) - closed.weight)[inside].abs().max() <= 0.016 + 1e-5

    faulty = layer(faults={"at_max": 0.05})
    matrix = written(faulty, tolerance=0.01, fill=0.5)
    error = (held(faulty) - faulty.weight).detach()
    assert matrix.error == pytest.approx(float(error.square().mean().sqrt()), rel=1e-4)
    assert error[torch.from_numpy(~matrix.outside)].abs().max() <= 0.01 + 1e-5
    # G- at g_max leaves G+ to correct it: 1 + w > 1 is 2 of full scale, which cells of twice that
    # bound reach; G+ and G- both stuck is for nobody to correct.
    assert 0 < matrix.unreachable.mean() < 0.02


def test_the_chip_ages_from_where_it_was_written():
    """g(t) = g_P (1 + t / t0)^-0.05 on conductances as they were written."""
    drift = {"kind": "power_law", "t0": "20 s", "nu_mean": {"kind": "constant", "value": 0.05}}
    drift["nu_std"] = {"kind": "constant", "value": 0.0}
    model = layer(shape=(30, 40), drift=drift)
    written(model)
    fresh = held(model)
    mho.at(model, "1 d")
    factor = (1 + 86400 / 20) ** -0.05
    torch.testing.assert_close(held(model), fresh * factor, rtol=1e-5, atol=1e-7)
    mho.compensate(model, "global")
    assert float(model.analog["weight"].gain[0]) == pytest.approx(1 / factor, rel=1e-4)


def test_a_chip_is_a_function_of_its_seed_and_its_report_lasts_as_long_as_it():
    device = {**DEVICES["soft bounds"], "write_noise": 1.0, "low_spread": 0.1}
    model = layer(device, (20, 30))
    first = written(model, seed=4)
    weights = held(model)
    other = written(model, seed=5)
    assert not torch.equal(held(model), weights)
    assert first.errors != other.errors
    again = written(model, seed=4)
    assert torch.equal(held(model), weights)
    assert again.errors == first.errors
    parted = layer(device, (20, 30))
    hardware = parted.analog["weight"].hardware.with_fields(array={"rows": 7, "cols": 9})
    parted = mho.restore(parted)
    mho.convert(parted, hardware)
    written(parted, seed=4)
    assert torch.equal(held(parted), weights)

    result = mho.evaluate(
        model, lambda m: float(held(m).sum()), times=[0], instances=2, seed=4, method=SCALED
    )
    assert result.scores[0, 0] == pytest.approx(float(weights.sum()), rel=1e-6)
    assert mho.programming_report(model).matrices[0].errors == first.errors
    stored = model.state_dict()
    mho.erase(model)
    with pytest.raises(mho.MhoError, match=r"call mho\.program\(model, seed"):
        mho.programming_report(model)
    model.load_state_dict(stored)
    assert torch.equal(held(model), weights)
    with pytest.raises(mho.MhoError, match="loaded from a file has no report"):
        mho.programming_report(model)


def test_reads_are_those_of_the_hardware_unless_others_are_given():
    """Output noise of 0.05 reads a cell with that error; then it cannot be told better."""
    model = layer()
    hardware = model.analog["weight"].hardware
    noisy = hardware.with_fields(
        noise={"output": 0.05}, dac={"range": {"kind": "fixed", "value": 1.0}}
    )
    noisy_model = layer()
    noisy_model = mho.restore(noisy_model)
    mho.convert(noisy_model, noisy)
    assert written(noisy_model, iterations=20).error > 2 * written(model, iterations=20).error
    assert written(noisy_model, iterations=20, read={}).error == pytest.approx(
        written(model, iterations=20).error
    )


def test_levels_limit_what_a_read_tells():
    """With 4 bits over +-1, a level is 1/7: a cell anywhere within half of it reads as right."""
    model = layer({**CONSTANT, "step": 0.001}, (60, 60))
    levels = torch.round(model.weight.detach() * 7) / 7
    with torch.no_grad():
        model.weight.copy_(levels)
    matrix = written(model, tolerance=0.01, read={"bits": 4, "bound": 1.0}, approach=0.1)
    assert matrix.inside[-1] == 1
    error = (held(model) - model.weight).detach().abs()
    assert error.max() > 0.05
    assert error.max() <= 1 / 14 + 1e-4


def test_it_prints_and_plots(tmp_path):
    model = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 5))
    mho.convert(model, layer().analog["weight"].hardware)
    mho.program(model, method={"kind": "write_verify", "tolerance": 0.01})
    report = mho.programming_report(model)
    text = str(report)
    for part in ("0.weight", "1.weight", "30x20", "1.00%", "pulses", "out of reach"):
        assert part in text
    assert report.pulses == sum(m.pulses_up + m.pulses_down for m in report.matrices)
    left, right = report.plot().axes
    assert len(left.lines) == 4  # error and tolerance of both
    assert list(right.lines[0].get_ydata()) == list(report.matrices[0].inside)
    assert report.plot(tmp_path / "report.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "wirte_verify",
            r"unknown programmingmethod kind 'wirte_verify' \(did you mean 'write_ver",
        ),
        ({"kind": "write_verify", "iteration": 3}, "did you mean 'iterations'"),
        ({"kind": "write_verify", "tolerance": 0}, "greater than 0"),
        ({"kind": "write_verify", "iterations": 0}, "greater than or equal to 1"),
        ({"kind": "write_verify", "fill": 1.5}, "less than or equal to 1"),
        ({"kind": "write_verify", "approach": 0}, "greater than 0"),
        ({"kind": "write_verify", "averages": 0}, "greater than or equal to 1"),
        ({"kind": "write_verify", "read": {"bits": 8}}, "bits need a bound"),
        (7, "expected a mapping with 'kind', got 7"),
    ],
)
def test_bad_methods(method, message):
    model = layer(shape=(3, 4))
    with pytest.raises(mho.MhoError, match=message):
        mho.program(model, method=method)
    with pytest.raises(mho.MhoError, match=message):
        mho.evaluate(model, lambda m: 0.0, method=method)
    assert not model.analog["weight"].is_programmed


def test_what_cannot_be_written():
    plain = nn.Linear(3, 4)
    mho.convert(plain, mho.Hardware(cell="pcm"))
    with pytest.raises(mho.MhoError, match=r"give `cell: \{device"):
        mho.program(plain, method=SCALED)
    sliced = layer(shape=(3, 4), mapping="bit_sliced")
    with pytest.raises(mho.MhoError, match="use differential, single or signed"):
        mho.program(sliced, method=SCALED)
    broken = layer(shape=(3, 4))
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")
    with pytest.raises(mho.MhoError, match="not finite"):
        mho.program(broken, method=SCALED)
    large = layer(shape=(3, 4), extent=2.0)
    with pytest.raises(mho.MhoError, match=r"above mapping\.w_max"):
        mho.program(large, method=SCALED)
    one_sided = layer({**CONSTANT, "low": 0.0}, (3, 4))
    with pytest.raises(mho.MhoError, match="weights have both signs"):
        mho.program(one_sided, method=SCALED)
    direct = mho.program(layer(shape=(3, 4)))
    with pytest.raises(mho.MhoError, match="nothing was reported"):
        mho.programming_report(direct)
