"""The three parts of a run; each returns its tables."""

import sys

import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from . import breakdown, memory, models, report
from .contenders import NOISY, ONE_ARRAY, PLAIN, QUANTIZED, STANDARD, Contender
from .races import Limit, Race, against_peers, against_torch
from .timing import Paired, paired

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
