"""The three parts of a run; each returns its tables."""

import torch
from rich.table import Table
from torch import Tensor, nn

from . import breakdown, memory, models, report
from .contenders import NOISY, PLAIN, QUANTIZED, STANDARD, Contender
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
    races = against_torch(quantized=2.0, noisy=2.0)
    title = "Linear 1024 x 1024, batch 64, eval forward"
    return _tables(title, model, batch, races, pairs, peer_limits=False)


def footprint(pairs: int) -> list[Table]:
    """Bytes of both models of the speed tests, and resident memory of a larger one."""
    rows = {}
    for name, make in (("LeNet", models.lenet), ("1024 x 1024", models.square_linear)):
        model, batch = make()
        sizes = [memory.tensor_bytes(c.ready(model, batch)) for c in (PLAIN, NOISY)]
        rows[f"{name}: parameters and buffers"] = tuple(sizes)
    rows |= report.footprint_rows(memory.measure(converted=False), memory.measure(converted=True))
    return [report.footprint(rows, Limit(1.05))]


def _tables(
    title: str, model: nn.Module, batch: Tensor, races: list[Race], pairs: int, peer_limits: bool
) -> list[Table]:
    tables = [report.speed(f"{title}: mho", [_run(r, model, batch, pairs) for r in races])]
    if against := against_peers(peer_limits):
        results = [_run(race, model, batch, pairs) for race in against]
        tables.append(report.speed(f"{title}: peers in units of mho's time", results))
    shown = (PLAIN, QUANTIZED, NOISY, STANDARD)
    profiles = {c.name: breakdown.self_times(_forward(c, model, batch)) for c in shown}
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
