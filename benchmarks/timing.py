"""Paired timing: two callables take turns in one process, so that slow drifts cancel."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

# Thread pools (OpenMP's, OpenBLAS') spin for some milliseconds after their last task; on two cores
# a pool that still spins slows the other contender down. A rest before each block lets it sleep.
REST_SECONDS = 0.05
# A block of calls this long is timed as one, far above the resolution of the clock.
BLOCK_SECONDS = 0.03


@dataclass(frozen=True)
class Paired:
    """Seconds per call of a subject and of a baseline, one entry per pair of timed blocks."""

    subject: tuple[float, ...]
    baseline: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Time of the subject over time of the baseline, pair by pair."""
        return tuple(s / b for s, b in zip(self.subject, self.baseline, strict=True))

    @property
    def ratio(self) -> float:
        """Median of the paired ratios."""
        return median(self.ratios)

    @property
    def fastest(self) -> float:
        """Ratio of the fastest blocks; far from the median, it says that the machine was busy."""
        return min(self.subject) / min(self.baseline)


def paired(subject: Callable[[], object], baseline: Callable[[], object], pairs: int) -> Paired:
    """Time both callables in turn, baseline first in even pairs and second in odd ones."""
    calls = {run: _calls_per_block(run) for run in (subject, baseline)}
    times: dict[Callable[[], object], list[float]] = {subject: [], baseline: []}
    for pair in range(pairs):
        order = (baseline, subject) if pair % 2 == 0 else (subject, baseline)
        for run in order:
            times[run].append(_timed_block(run, calls[run]))
    return Paired(tuple(times[subject]), tuple(times[baseline]))


def _timed_block(run: Callable[[], object], calls: int) -> float:
    """Seconds per call over a block, after a rest and one untimed call that refills the caches."""
    time.sleep(REST_SECONDS)
    run()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _calls_per_block(run: Callable[[], object]) -> int:
    run()  # the first call pays for lazy initialisation
    return max(1, round(BLOCK_SECONDS / max(_timed_block(run, calls=3), 1e-9)))
