"""Making models accurate on their hardware: hardware-aware training."""

from ._adapt import adapt as adapt
from ._adaptation import Adaptation as Adaptation
from ._adaptation import RangeDecay as RangeDecay
from ._adapted import Adapted as Adapted
from ._clip import Clip as Clip
from ._distillation import Distillation as Distillation
from ._noise import AdditiveNoise as AdditiveNoise
from ._noise import MultiplicativeNoise as MultiplicativeNoise
from ._noise import ProgrammingNoise as ProgrammingNoise
from ._noise import WeightNoise as WeightNoise
from ._quantization import WeightQuantization as WeightQuantization
from ._schedule import Schedule as Schedule
