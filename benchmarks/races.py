"""The ratios that are measured, and the limits that mho sets itself."""

from dataclasses import dataclass

from . import contenders, peers
from .contenders import NOISY, PLAIN, QUANTIZED, STANDARD, Contender
from .in_memory import Pulsed
from .training import Training


@dataclass(frozen=True)
class Limit:
    """A bound on a ratio of times."""

    value: float
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        """Whether a measured ratio keeps to it."""
        return ratio >= self.value if self.at_least else ratio <= self.value

    def __str__(self) -> str:
        """Return, for instance, `≤ 1.5`."""
        return f"{'≥' if self.at_least else '≤'} {self.value:g}"


@dataclass(frozen=True)
class Race:
    """The subject's time is given in units of the baseline's."""

    subject: Contender
    baseline: Contender
    limit: Limit | None = None


@dataclass(frozen=True)
class TrainingRace:
    """The same for ways to train."""

    subject: Training
    baseline: Training
    limit: Limit | None = None


@dataclass(frozen=True)
class PulsedRace:
    """The same for pulsed updates and training in memory."""

    subject: Pulsed
    baseline: Pulsed
    limit: Limit | None = None


def against_torch(quantized: float, noisy: float) -> list[Race]:
    """Return mho, with one effect more from race to race, against the digital model."""
    return [
        Race(contenders.ARRAYS_ONLY, PLAIN),
        Race(contenders.DAC_ONLY, PLAIN),
        Race(contenders.ADC_ONLY, PLAIN),
        Race(QUANTIZED, PLAIN, Limit(quantized)),
        Race(NOISY, PLAIN, Limit(noisy)),
        Race(STANDARD, PLAIN),
    ]


def against_peers(limits: bool) -> list[Race]:
    """Return the peers that are installed, against mho with the same effects."""
    found = peers.installed()
    races = []
    if "aihwkit" in found:
        races += [
            Race(peers.aihwkit(noise=0.0), QUANTIZED),
            Race(peers.aihwkit(), NOISY, Limit(5, at_least=True) if limits else None),
            Race(peers.aihwkit(torch_tile=True), NOISY),
            Race(peers.aihwkit_standard(), STANDARD, Limit(15, at_least=True) if limits else None),
        ]
    if "aihwkit-lightning" in found:
        races += [Race(peers.lightning(noise=0.0), QUANTIZED), Race(peers.lightning(), NOISY)]
    return races
