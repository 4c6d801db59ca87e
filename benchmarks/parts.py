"""The parts of a run; each returns its tables."""

import copy
import sys
from collections.abc import Callable

import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from . import breakdown, in_memory, memory, models, peers, report
from . import training as T
from .contenders import NOISY, ONE_ARRAY, PLAIN, QUANTIZED, STANDARD, Contender
from .races import Limit, PulsedRace, Race, TrainingRace, against_peers, against_torch
from .timing import Paired, paired
from .training import Step, Training

Result = tuple[Race, Paired, float]


def lenet(pairs: int) -> list[Table]:
    """Eval forward of the LeNet."""
    model, batch = models.lenet()
    races = against_torch(quantized=1.5, noisy=2.5)
    return _tables("LeNet, batch 64, eval forward", model, batch, races, pairs, peer_limits=True)


def linear(pairs: int) -> list[Table]:
    """Eval forward of one large linear layer."""
    model, batch = models.square_linear()
    races = [*against_torch(quantized=2.0, noisy=2.0), Race(ONE_ARRAY, PLAIN)]
    title = "Linear 1024 x 1024, batch 64, eval forward"
    return _tables(title, model, batch, races, pairs, peer_limits=False)


def footprint(pairs: int) -> list[Table]:
    """Bytes of both models of the speed tests, and resident memory of a larger one."""
    limit, rows = Limit(1.05), []
    for name, make in (("LeNet", models.lenet), ("1024 x 1024", models.square_linear)):
        model, batch = make()
        digital, converted = (memory.tensor_bytes(c.ready(model, batch)) for c in (PLAIN, NOISY))
        rows.append((f"{name}: parameters and buffers", digital, converted, limit))
    if memory.told_here():
        plain, analog = memory.measure(converted=False), memory.measure(converted=True)
        large = "3 x 4096 x 4096:"
        rows += [
            (f"{large} parameters and buffers", plain.tensors, analog.tensors, limit),
            (f"{large} resident memory once converted", plain.resident, analog.resident, limit),
            (f"{large} its peak while converting", plain.building, analog.building, None),
            (f"{large} its peak over one forward", plain.forward, analog.forward, None),
        ]
    return [report.footprint(rows)]


def training(pairs: int) -> list[Table]:
    """Steps of hardware-aware training, and the memory of one."""
    step = "LeNet, batch 64, a training step"
    model, batch = models.lenet()
    races = [
        TrainingRace(T.QUIET, T.PLAIN),
        TrainingRace(T.CONSTANT, T.PLAIN, Limit(2)),
        TrainingRace(T.LEARNING, T.PLAIN),
    ]
    four, found = Limit(4, at_least=True), peers.installed()
    if "aihwkit" in found:
        races += [
            TrainingRace(T.aihwkit(learned=False), T.CONSTANT, four),
            TrainingRace(T.aihwkit(learned=True), T.LEARNING, four),
        ]
    tables = [_trained(step, races, Training.step, model, batch, pairs)]
    layer = "Linear 1024 x 1024, batch 256, forward and backward"
    model, batch = models.square_linear(batch=256)
    races = [
        TrainingRace(T.ONE_ARRAY, T.PLAIN, Limit(2)),
        TrainingRace(T.ONE_ARRAY_LEARNING, T.PLAIN),
    ]
    if "aihwkit-lightning" in found:
        one = Limit(1, at_least=True)
        races.append(TrainingRace(T.lightning(), T.ONE_ARRAY_LEARNING, one))
    tables.append(_trained(layer, races, Training.pass_through, model, batch, pairs))
    if memory.told_here():
        plain, adapted = memory.measure_training(False), memory.measure_training(True)
        row = ("3 x 4096 x 4096, batch 64, Adam: peak of training", plain, adapted, Limit(1.3))
        tables.append(report.footprint([row]))
    return tables


def in_memory_training(pairs: int) -> list[Table]:
    """Pulsed updates, and steps of training in memory, against digital training and the peer."""
    M = in_memory
    batch = M.update("batch")
    peer = "aihwkit" in peers.installed()
    updates = [PulsedRace(M.update(f), batch) for f in ("pulse", "moments")]
    if peer:
        own, limits = M.peer_update(), (("batch", 15), ("pulse", 3))
        updates += [PulsedRace(own, M.update(f), Limit(n, at_least=True)) for f, n in limits]
    title = f"Pulsed update, {M.SIDE} x {M.SIDE} soft bounds, batch {M.BATCH}, {M.SLOTS} slots"
    tables = [_pulsed(title, updates, pairs)]
    plain, buffered = "IdealizedPreset", "TTv2IdealizedPreset"
    for name, network, limits in (
        ("LeNet", M.lenet, (("PulsedSGD", plain, 8), ("TikiTakaV2", buffered, 40))),
        ("Perceptron 784-256-128-10", M.perceptron, (("TikiTakaV2", buffered, 15),)),
    ):
        races = []
        for algorithm, preset, limit in limits:
            own = M.trained(network, algorithm)
            races.append(PulsedRace(own, M.plain(network)))
            if peer:
                other = M.peer_trained(network, preset)
                races.append(PulsedRace(other, own, Limit(limit, at_least=True)))
        tables.append(_pulsed(f"{name}, batch {M.BATCH}, a step in memory", races, pairs))
    if memory.told_here():
        base = memory.measure_in_memory("plain")
        ways = [("mho", algorithm) for algorithm in ("PulsedSGD", "TikiTakaV2")]
        ways += [("aihwkit", preset) for preset in (plain, buffered)] if peer else []
        rows = [
            (
                f"LeNet in memory, {who} {what}: peak",
                base,
                memory.measure_in_memory(who, what),
                None,
            )
            for who, what in ways
        ]
        tables.append(report.footprint(rows))
    return tables


def _pulsed(title: str, races: list[PulsedRace], pairs: int) -> Table:
    shown = track(races, title, transient=True, disable=not sys.stdout.isatty())
    results = [(race, paired(race.subject.make(), race.baseline.make(), pairs)) for race in shown]
    return report.races(title, results)


def _trained(
    title: str,
    races: list[TrainingRace],
    make: Callable[[Training, nn.Module, Tensor], Step],
    model: nn.Module,
    batch: Tensor,
    pairs: int,
) -> Table:
    shown = track(races, title, transient=True, disable=not sys.stdout.isatty())
    results = []
    for race in shown:
        both = [make(t, copy.deepcopy(model), batch) for t in (race.subject, race.baseline)]
        results.append((race, paired(both[0], both[1], pairs)))
    return report.races(title, results)


def _tables(
    title: str, model: nn.Module, batch: Tensor, races: list[Race], pairs: int, peer_limits: bool
) -> list[Table]:
    tables = []
    parts = {"mho": races, "peers in units of mho's time": against_peers(peer_limits)}
    for part, entries in parts.items():
        if entries:
            shown = track(
                entries, f"{title}: {part}", transient=True, disable=not sys.stdout.isatty()
            )
            results = [_run(race, model, batch, pairs) for race in shown]
            tables.append(report.speed(f"{title}: {part}", results))
    profiled = (PLAIN, QUANTIZED, NOISY, STANDARD)
    profiles = {c.name: breakdown.self_times(_forward(c, model, batch)) for c in profiled}
    return [*tables, report.operators(f"{title}: where the time goes", profiles)]


def _run(race: Race, model: nn.Module, batch: Tensor, pairs: int) -> Result:
    """Time one race, and compare the subject's output with the digital one."""
    subject, baseline = (_forward(c, model, batch) for c in (race.subject, race.baseline))
    with torch.inference_mode():
        exact = model(batch)
    error = float((subject() - exact).norm() / exact.norm())
    return race, paired(subject, baseline, pairs), error


def _forward(contender: Contender, model: nn.Module, batch: Tensor) -> breakdown.Forward:
    return breakdown.forward(contender.ready(model, batch), batch)
