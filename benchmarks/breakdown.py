"""Where the time goes: self time per forward pass of each PyTorch operator."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

Forward = Callable[[], Tensor]
CALLS = 20


def self_times(run: Forward) -> dict[str, float]:
    """Seconds per call that each operator spends in itself, without the operators it calls.

    The profiler adds about a microsecond to every operator, so many small ones look too dear.
    """
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(CALLS):
            run()
    events = profiler.key_averages()
    return {event.key: event.self_cpu_time_total * 1e-6 / CALLS for event in events}


def dearest(times: list[dict[str, float]], count: int) -> list[str]:
    """The operators with the largest time in any of several profiles, dearest first."""
    operators = {name for profile_times in times for name in profile_times}
    most = {name: max(t.get(name, 0.0) for t in times) for name in operators}
    return sorted(most, key=lambda name: most[name], reverse=True)[:count]


def forward(model: nn.Module, batch: Tensor) -> Forward:
    """A call of the model as people deploy it: no autograd."""

    def run() -> Tensor:
        with torch.inference_mode():
            return model(batch)

    return run
