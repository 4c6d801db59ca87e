"""The life of a chip: calibrate, program, at, compensate, evaluate."""

from ._calibrate import Calibration as Calibration
from ._calibrate import calibrate as calibrate
from ._compensate import compensate as compensate
from ._evaluate import evaluate as evaluate
from ._program import at as at
from ._program import erase as erase
from ._program import program as program
from ._result import Evaluation as Evaluation
from ._result import normalized_accuracy as normalized_accuracy
