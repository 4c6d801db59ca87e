"""Train, rest, evaluate, save, resume: trained cells age by the law of the cell."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import mho
from mho.nn import sites

from .models import ALGORITHMS, SOFT, data, loss_of, perceptron, train, weights

PULSED = [name for name, each in ALGORITHMS.items() if each.kind != "exact"]
SOME = ["pulsed_sgd", "tiki_taka, gamma", "agad", "mixed_precision"]
T0 = 20.0
CONSTANT = {"kind": "constant_step", "step": 2e-3, "write_noise": 2.0}
BOUNDED = {"kind": "soft_bounds", "step": 2e-3}
"""All cells end at -1 and 1."""


def power_law(mean=0.06, std=0.0, **more):
    """g (1 + t / 20 s)^-nu."""
    mean = mean if isinstance(mean, dict) else {"kind": "constant", "value": mean}
    std = {"kind": "constant", "value": std}
    return {"kind": "power_law", "t0": T0, "nu_mean": mean, "nu_std": std, **more}


def cell(device=SOFT, **laws):
    return {"kind": "composed", "g_max": "25 uS", "device": device, **laws}


def network(hardware, seed=0):
    """A perceptron 6 - 8 - 3 on this hardware."""
    model = mho.restore(perceptron(seed=seed))
    mho.convert(model, hardware)
    return model


def start(algorithm="pulsed_sgd", lr=0.05, model=None, **laws):
    """A network on drifting cells, its optimizer, and its training."""
    laws = laws or {"drift": power_law()}
    model = model or network(mho.Hardware(cell=cell(**laws)))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    algorithm = ALGORITHMS[algorithm] if isinstance(algorithm, str) else algorithm
    return model, optimizer, mho.attach(optimizer, model, algorithm)


def matrix(rows, out, seed=0, fill=0.9, device=SOFT, mapping="differential", **laws):
    """One large matrix attached, its weights uniform up to `fill` of a cell's bound."""
    g = torch.Generator().manual_seed(seed)
    model = nn.Linear(rows, out, bias=False)
    with torch.no_grad():
        model.weight.copy_(2 * torch.rand(out, rows, generator=g) - 1)
    mho.convert(model, mho.Hardware(cell=cell(device, **laws), mapping=mapping))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, mho.attach(optimizer, model, mho.PulsedSGD(), fill=fill)


def factor(seconds, nu=0.06):
    return (1 + seconds / T0) ** -nu


def arrays(attached):
    """Every array of single devices of a training, by name."""
    return {
        (layer, name, k): single
        for layer, state in attached.states.items()
        for name, array in state.arrays.items()
        for k, single in enumerate(array.arrays)
    }


def states(attached):
    return {key: single.state.clone() for key, single in arrays(attached).items()}


def same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.mark.parametrize("name", PULSED)
def test_every_array_of_every_algorithm_drifts(name):
    """w (1 + t / t0)^-nu on all arrays; the Parameter shows what the algorithm makes of them."""
    model, optimizer, attached = start(name)
    train(model, optimizer, 5)
    before, digital = states(attached), attached.state_dict()["layers"]
    attached.rest("1 d")
    for key, state in states(attached).items():
        torch.testing.assert_close(state, before[key] * factor(86400), rtol=1e-5, atol=1e-7)
    for layer, state in attached.states.items():
        shown = ALGORITHMS[name].weight(state) * state.matrix.scale
        assert torch.equal(weights(model)[layer], shown)
        for kept, tensor in state.tensors.items():
            assert torch.equal(tensor, digital[layer]["tensors"][kept])
    train(model, optimizer, 5)


def test_exponents_are_drawn_for_every_device_and_kept_for_life():
    """nu = 0.06 + 0.02 xi: mean and spread within 5 standard errors, the same at every rest."""
    model, attached = matrix(100, 80, drift=power_law(std=0.02))
    fresh = model.weight.detach().clone()
    large = fresh.abs() > 0.02

    def exponents(seconds):
        ratio = (model.weight.detach() / fresh)[large].double()
        return -ratio.log() / math.log1p(seconds / T0)

    attached.rest("1 h")
    early = exponents(3600)
    attached.rest("1 d")
    late = exponents(3600 + 86400)
    n = len(late)
    assert abs(late.mean() - 0.06) < 5 * 0.02 / math.sqrt(n)
    assert abs(late.std() - 0.02) < 5 * 0.02 / math.sqrt(2 * n)
    torch.testing.assert_close(early, late, rtol=1e-3, atol=1e-5)


def test_a_weight_of_one_is_g_max():
    """nu(r) = 0.02 + 0.08 r with r = |w|, and that of g_max for the cells beyond it."""
    law = power_law({"kind": "polynomial", "coefficients": [0.02, 0.08]})
    device = {**SOFT, "low": -1.4, "high": 1.4, "low_spread": 0.0, "high_spread": 0.0}
    _, attached = matrix(60, 50, device=device, drift=law)
    w = arrays(attached)["weight", "weight", 0].weight.clone()
    assert w.abs().max() > 1.2
    attached.rest("30 d")
    now = arrays(attached)["weight", "weight", 0].weight
    nu = 0.02 + 0.08 * w.abs().clamp(max=1.0)
    wanted = w * (1 + 30 * 86400 / T0) ** -nu
    torch.testing.assert_close(now, wanted, rtol=1e-4, atol=1e-6)


def test_the_law_acts_through_the_mapping():
    """A single device against a fixed reference: w = -1 is g_min, to which all cells drift."""
    _, attached = matrix(40, 30, mapping="single", device=BOUNDED, drift=power_law())
    w = arrays(attached)["weight", "weight", 0].weight.clone()
    attached.rest("1 d")
    now = arrays(attached)["weight", "weight", 0].weight
    torch.testing.assert_close(now, (w + 1) * factor(86400) - 1, rtol=1e-5, atol=1e-6)


def test_other_laws_and_their_times():
    """Logarithmic relaxation: a ln t + (b ln t + c) xi in siemens, here of single devices."""
    law = {"kind": "log_relaxation", "mean_slope": "-0.1 uS", "std_slope": "0 uS"}
    law["std_offset"] = "0.2 uS"
    _, attached = matrix(80, 70, mapping="single", device=BOUNDED, drift=law)
    w = arrays(attached)["weight", "weight", 0].weight.clone()
    for bad in ("0.5 s", "-1 s", "1 m"):
        with pytest.raises(mho.MhoError):
            attached.rest(bad)
        assert torch.equal(arrays(attached)["weight", "weight", 0].weight, w)
    attached.rest("1 d")
    now = arrays(attached)["weight", "weight", 0].weight
    inside = (w + 1) * 12.5 > 3  # uS above 0, where no cell ends
    change = ((now - w) * 12.5)[inside].double()  # g = 12.5 uS (w + 1)
    n = len(change)
    assert abs(change.mean() + 0.1 * math.log(86400)) < 5 * 0.2 / math.sqrt(n)
    assert abs(change.std() - 0.2) < 5 * 0.2 / math.sqrt(2 * n)


@pytest.mark.parametrize("name", PULSED)
def test_two_rests_are_one_of_their_sum(name):
    """To the last bit, also with the spread of exponents and through a checkpoint in between."""
    law = {"drift": power_law(std=0.02)}
    twice, once = start(name, **law), start(name, **law)
    for model, optimizer, _ in (twice, once):
        train(model, optimizer, 4)
    twice[2].rest("1 d")
    stored = twice[2].state_dict()
    train(twice[0], twice[1], 2)
    twice[2].load_state_dict(stored)
    twice[2].rest("1 d")
    once[2].rest("2 d")
    same(states(twice[2]), states(once[2]))
    same(weights(twice[0]), weights(once[0]))


def test_time_counts_from_a_cells_last_change():
    """Pulsed cells begin anew from where they are; their neighbors go on."""
    attached = start()[2]
    array = arrays(attached)["0.weight", "weight", 0]
    fresh = array.state.clone()
    attached.rest("1 d")
    rested = array.state.clone()
    up = torch.zeros(8, 6, dtype=torch.int32)
    up[:4] = 5
    attached.states["0.weight"].arrays["weight"].pulse(up, torch.zeros_like(up))
    pulsed = array.state.clone()
    assert torch.equal(pulsed[4:], rested[4:])
    assert (pulsed[:4] != rested[:4]).all()
    # Pulses past the optimizer are no part of a training: show the Parameter what they made.
    attached.load_state_dict(attached.state_dict())
    attached.rest("1 d")
    torch.testing.assert_close(array.state[4:], fresh[4:] * factor(2 * 86400), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(array.state[:4], pulsed[:4] * factor(86400), rtol=1e-5, atol=1e-7)


def test_stuck_cells_and_bounds_and_references():
    """v = reference + w; a stuck device stays where it is."""
    device = {**SOFT, "stuck": 0.2, "reference": 0.2, "reference_spread": 0.05}
    _, attached = matrix(60, 50, device=device, drift=power_law())
    array = arrays(attached)["weight", "weight", 0]
    c, w = array.constants, array.weight.clone()
    stuck = c.low == c.high
    assert 0.15 < stuck.float().mean() < 0.25
    attached.rest("1 y")
    assert torch.equal(array.weight[stuck], w[stuck])
    wanted = (w * factor(31557600))[~stuck]
    torch.testing.assert_close(array.weight[~stuck], wanted, rtol=1e-4, atol=1e-6)
    assert (array.state >= c.low).all()
    assert (array.state <= c.high).all()


def test_the_devices_of_a_pair_drift_apart_and_noise_of_writing_stays():
    """w = g+ - g-, each of which drifts by itself, so that what both have in common goes too."""
    pair = {"kind": "one_sided_pair", "device": {**CONSTANT, "low": 0.0}}
    _, attached = matrix(40, 30, device=pair, drift=power_law())
    array = attached.states["weight"].arrays["weight"]
    up = torch.full((30, 40), 50, dtype=torch.int32)
    array.pulse(up, up // 2)
    attached.load_state_dict(attached.state_dict())
    before = [(each.state.clone(), each.written.clone()) for each in array.arrays]
    attached.rest("1 d")
    for each, (state, written) in zip(array.arrays, before, strict=True):
        assert (state > 0).float().mean() > 0.95
        torch.testing.assert_close(each.state, state * factor(86400), rtol=1e-5, atol=1e-7)
        assert torch.equal(each.written, written)


def test_a_rest_costs_accuracy_and_training_mends_it():
    model, optimizer, attached = start(drift=power_law(0.1, 0.05))
    batch = data()
    train(model, optimizer, 400)

    def loss():
        with torch.no_grad():
            return float(loss_of(model, batch))

    trained = loss()
    attached.rest("1 y")
    aged = loss()
    assert aged > 2 * trained
    train(model, optimizer, 400)
    assert loss() < 0.6 * aged


def test_no_time_changes_nothing():
    model, optimizer, attached = start()
    train(model, optimizer, 3)
    before = states(attached)
    attached.rest(0)
    for key, state in states(attached).items():
        assert torch.equal(state, before[key])


# Evaluation in between ---------------------------------------------------------------------------


def evaluated(model):
    """Program as trained, age, compensate, score and erase, by hand and by `evaluate`."""
    batch = data(seed=7)

    def score(m):
        with torch.no_grad():
            return -float(loss_of(m, batch))

    mho.at(mho.program(model, seed=3, method="as_trained"), "30 d")
    mho.compensate(model)
    score(model)
    mho.erase(model)
    times = ["1 s", "1 y"]
    return mho.evaluate(model, score, times=times, instances=2, method="as_trained")


@pytest.mark.parametrize("name", SOME)
def test_a_training_goes_on_after_an_evaluation_as_if_it_had_not_been(name):
    """Bit for bit, and the evaluation shows that time costs."""
    model, optimizer, attached = start(name, drift=power_law(0.1, 0.05))
    train(model, optimizer, 30)
    result = evaluated(model)
    assert (result.scores[:, 1] < result.scores[:, 0]).all()
    train(model, optimizer, 10, seed=1)
    other, optimizer, whole = start(name, drift=power_law(0.1, 0.05))
    train(other, optimizer, 30)
    train(other, optimizer, 10, seed=1)
    same(weights(model), weights(other))
    same(states(attached), states(whole))


def test_a_programmed_model_gets_no_pulses():
    model, optimizer, _ = start()
    mho.program(model, method="as_trained")
    with pytest.raises(mho.MhoError, match="digital gradient"):
        train(model, optimizer, 1)
    mho.erase(model)
    optimizer.zero_grad()
    train(model, optimizer, 1)


# Checkpoints in a new process --------------------------------------------------------------------

RESUME = """
import sys, torch, mho
sys.path.insert(0, {tests!r})
from training.test_life import RUNS, going_on, power_law, start
results = {{}}
for name, stored in torch.load({file!r}, weights_only=False).items():
    model, optimizer, attached = start(name, drift=power_law(std=0.02))
    model.load_state_dict(stored["model"])
    optimizer.load_state_dict(stored["optimizer"])
    attached.load_state_dict(stored["attached"])
    results[name] = going_on(model, optimizer, attached)
torch.save(results, {result!r})
"""
RUNS = {"tiki_taka, gamma": False, "agad": True, "mixed_precision": False, "pulsed_sgd": True}
"""Algorithm, and whether it is saved while the model is programmed."""


def going_on(model, optimizer, attached):
    """The second half of a run, and all that it leaves."""
    mho.erase(model)
    train(model, optimizer, 5, seed=2)
    attached.rest("1 d")
    train(model, optimizer, 5, seed=3)
    return dict(model.state_dict()), tensors(attached.state_dict()["layers"])


def tensors(value, name=""):
    """Every tensor and number in nested dictionaries and lists, by its path."""
    if isinstance(value, dict):
        value = {str(key): each for key, each in value.items()}
    elif isinstance(value, list):
        value = {str(k): each for k, each in enumerate(value)}
    else:
        return {name: value if isinstance(value, torch.Tensor) else torch.tensor(value)}
    return {k: v for key, each in value.items() for k, v in tensors(each, f"{name}.{key}").items()}


@pytest.mark.slow
def test_a_checkpoint_goes_on_in_a_new_process(tmp_path):
    """Bit for bit: weights, arrays, buffers, counters, rests; also saved while programmed."""
    runs, stored = {}, {}
    for name, programmed in RUNS.items():
        model, optimizer, attached = runs[name] = start(name, drift=power_law(std=0.02))
        train(model, optimizer, 10)
        attached.rest("1 h")
        train(model, optimizer, 3, seed=1)
        if programmed:
            mho.at(mho.program(model, seed=3, method="as_trained"), "1 d")
        parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        stored[name] = {**parts, "attached": attached.state_dict()}
    file, result = tmp_path / "runs.pt", tmp_path / "results.pt"
    torch.save(stored, file)
    tests = str(Path(__file__).parent.parent)
    code = RESUME.format(file=str(file), result=str(result), tests=tests)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    there = torch.load(result, weights_only=False)
    for name, run in runs.items():
        for here, other in zip(going_on(*run), there[name], strict=True):
            same(here, other)


# Bad input ---------------------------------------------------------------------------------------


def test_what_cannot_rest():
    no_drift = start(drift=None)[2]
    with pytest.raises(mho.MhoError, match="has no drift law"):
        no_drift.rest("1 d")
    exact = start("exact")[2]
    with pytest.raises(mho.MhoError, match="trained without devices"):
        exact.rest("1 d")
    plain = nn.Linear(3, 2)
    mho.convert(plain, mho.Hardware(cell="pcm"))
    with pytest.raises(mho.MhoError, match="trained without devices"):
        start("exact", model=plain)[2].rest("1 d")


def test_when_arrays_cannot_rest():
    model, _, attached = start()
    before = states(attached)
    mho.program(model, method="as_trained")
    with pytest.raises(mho.MhoError, match=r"call mho\.at\(model, time\)"):
        attached.rest("1 d")
    mho.erase(model)
    loss_of(model, data()).backward()
    with pytest.raises(mho.MhoError, match="vectors that no step has used"):
        attached.rest("1 d")
    attached.forget()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    with pytest.raises(mho.MhoError, match="was changed since the last step"):
        attached.rest("1 d")
    with torch.no_grad():
        model[0].weight.sub_(1.0)
    same(states(attached), before)
    attached.remove()
    with pytest.raises(mho.MhoError, match="attached no more"):
        attached.rest("1 d")


def test_arrays_on_the_meta_device_cannot_rest():
    model, _, attached = start()
    model.to("meta")
    with pytest.raises(mho.MhoError, match="meta device"):
        attached.rest("1 d")
    assert all(site.weight.is_meta for site in sites(model))


def test_a_law_that_refuses_leaves_every_array_as_it_was():
    """Known at one time only: the second rest would be at another one."""
    std = [{"kind": "constant", "value": 0.1}]
    law = {"kind": "measured_times", "times": ["1 d"], "std": std, "full_scale": 25.0}
    model, optimizer, attached = start("tiki_taka, gamma", drift=law)
    train(model, optimizer, 3)
    before = states(attached)
    with pytest.raises(mho.MhoError, match="measured at 1 d only"):
        attached.rest("1 h")
    same(states(attached), before)
    attached.rest("1 d")
    after = states(attached)
    with pytest.raises(mho.MhoError, match="measured at 1 d only"):
        attached.rest("1 d")
    same(states(attached), after)


def test_the_page_on_a_chips_life_runs():
    """In order, with what it asserts."""
    page = Path(__file__).parents[2] / "docs" / "life-of-a-chip.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf8"), flags=re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {"__name__": "life"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in blocks:
            exec(compile(block, str(page), "exec"), names)
    assert names["report"].unreachable >= 0
    assert names["report"].error < 0.05
