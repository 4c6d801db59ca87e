"""Choppers: nothing changes where nothing is wrong, and offsets of the cells vanish."""

import math

import pytest
import torch

import mho
from mho.cells import Device
from mho.ops import Stream
from mho.tiles import Pulses, Samples
from mho.training import Matrix

SOFT = {"kind": "soft_bounds", "step": 0.01}
NEVER = {"input_chopper_probability": 0.0}


def run(algorithm, signs, steps=200, device=SOFT):
    """C after a least-squares training of a 4 x 6 matrix with given choppers."""
    given = Matrix("w", Device.select(device), (4, 6), Stream(0, "w"), pulses=Pulses(slots=5))
    state, g = algorithm.start(given, torch.zeros(4, 6)), torch.Generator().manual_seed(0)
    goal = 0.5 * torch.randn(4, 6, generator=g)
    if signs is not None:
        state.tensors["chopper in"].copy_(signs[0])
        state.tensors["chopper out"].copy_(signs[1])
    for _ in range(steps):
        x = torch.randn(8, 6, generator=g)
        d = x @ (algorithm.weight(state) - goal).T + 0.1 * torch.randn(8, 4, generator=g)
        algorithm.step(state, Samples.of(x, d), 0.5)
    return state


def test_signs_change_nothing_on_cells_with_equal_steps_up_and_down():
    """A is mirrored cell by cell, with its noise, and C is the same bit for bit."""
    plain = run(mho.ChoppedTikiTaka(**NEVER, gamma=0.3), None)
    signs = torch.tensor([1.0, -1, -1, 1, -1, 1]), torch.tensor([-1.0, 1, 1, -1])
    chopped = run(mho.ChoppedTikiTaka(**NEVER, gamma=0.3), signs)
    assert plain.arrays["C"].weight.abs().max() > 0.1
    mirrored = chopped.arrays["A"].weight * signs[1][:, None] * signs[0]
    assert torch.equal(mirrored, plain.arrays["A"].weight)
    assert torch.equal(chopped.arrays["C"].weight, plain.arrays["C"].weight)


def test_without_choppers_it_is_version_two():
    chopped, plain = run(mho.ChoppedTikiTaka(**NEVER), None), run(mho.TikiTakaV2(), None)
    assert torch.equal(chopped.arrays["C"].weight, plain.arrays["C"].weight)


def test_switching():
    """Regular: every N-th read of a column. Random: as often as the probability says."""
    regular = run(
        mho.ChoppedTikiTaka(columns=1, switching="regular", input_chopper_probability=0.25),
        None,
        21,
    )
    # Columns 0 to 2 were read four times, and 3 to 5 three times.
    assert regular.tensors["chopper in"].tolist() == [-1, -1, -1, 1, 1, 1]
    assert mho.ChoppedTikiTaka(input_chopper_probability=0.9).period == 2
    assert mho.ChoppedTikiTaka(input_chopper_probability=0.3).period == 4
    n, p = 40, 0.3
    algorithm = mho.ChoppedTikiTaka(
        columns=None, input_chopper_probability=p, output_chopper_probability=p
    )
    given = Matrix("w", Device.select(SOFT), (50, 60), Stream(0, "w"))
    state, flips = algorithm.start(given, torch.zeros(50, 60)), [0.0, 0.0]
    for _ in range(n):
        before = [state.tensors[f"chopper {side}"].clone() for side in ("in", "out")]
        algorithm.step(state, Samples.of(torch.ones(1, 60), torch.ones(1, 50)), 0.1)
        for k, side in enumerate(("in", "out")):
            flips[k] += float((state.tensors[f"chopper {side}"] != before[k]).sum())
    for found, lines in zip(flips, (60, 50), strict=True):
        trials = n * lines
        assert abs(found - p * trials) < 5 * math.sqrt(trials * p * (1 - p))


def programming_error(algorithm, offset, steps=2000, size=10):
    """Root mean square of C - W* after least squares with cells whose symmetry point is off."""
    device = {
        "kind": "soft_bounds", "step": 0.02, "step_spread": 0.1, "cycle_noise": 0.3,
        "subtract_symmetry_point": True, "reference_spread": offset,
    }  # fmt: skip
    slow, shape = {**device, "reference_spread": 0.0}, (size, size)
    given = Matrix("w", Device.select(slow), shape, Stream(0, "w"), pulses=Pulses(slots=5))
    algorithm = algorithm.with_fields(
        fast_device=device, auto_granularity=100.0, fast_learning_rate=1.0, columns=1
    )
    state, g = algorithm.start(given, torch.zeros(shape)), torch.Generator().manual_seed(0)
    goal = 0.3 * torch.randn(shape, generator=g).clamp(-2, 2)
    mean, late = torch.zeros(shape), steps // 4
    for step in range(steps):
        x = torch.rand(1, size, generator=g) * 2 - 1
        d = x @ (algorithm.weight(state) - goal).T
        algorithm.step(state, Samples.of(x, d), 1.0)
        if step >= steps - late:
            mean += state.arrays["C"].weight / late
    return float((mean - goal).square().mean().sqrt())


@pytest.mark.slow
def test_offsets_of_the_fast_cells_matter_less_and_less():
    """Rasch et al. (2024): v2 needs its reference, choppers spread its error, AGAD needs none."""
    algorithms = {
        "v2": mho.TikiTakaV2(),
        "chopped": mho.ChoppedTikiTaka(),
        "AGAD": mho.Agad(),
    }
    errors = {
        name: [programming_error(algorithm, offset) for offset in (0.0, 0.3)]
        for name, algorithm in algorithms.items()
    }
    assert errors["v2"][1] > 4 * errors["v2"][0]
    assert errors["AGAD"][1] < 1.5 * errors["AGAD"][0]
    assert 1.5 * errors["AGAD"][1] < errors["chopped"][1] < errors["v2"][1] / 1.5
