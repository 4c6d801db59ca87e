"""Training on the arrays themselves: pulsed devices, and every algorithm."""

from ..tiles import ReadOut as ReadOut
from ._agad import Agad as Agad
from ._algorithm import Algorithm as Algorithm
from ._attach import attach as attach
from ._attached import Attached as Attached
from ._chopped import ChoppedTikiTaka as ChoppedTikiTaka
from ._exact import Exact as Exact
from ._mixed_precision import MixedPrecision as MixedPrecision
from ._receipt import AttachReceipt as AttachReceipt
from ._residual import ResidualLearning as ResidualLearning
from ._residual_v2 import ResidualLearningV2 as ResidualLearningV2
from ._sgd import PulsedSGD as PulsedSGD
from ._state import Matrix as Matrix
from ._state import State as State
from ._tiki_taka import TikiTaka as TikiTaka
from ._tiki_taka_v2 import TikiTakaV2 as TikiTakaV2
