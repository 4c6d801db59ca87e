"""The life of a chip: calibrate, program, at, compensate, evaluate, diagnose."""

from ._calibrate import Calibration as Calibration
from ._calibrate import calibrate as calibrate
from ._compensate import compensate as compensate
from ._diagnose import diagnose as diagnose
from ._diagnosis import Diagnosis as Diagnosis
from ._diagnosis import LayerDiagnosis as LayerDiagnosis
from ._evaluate import evaluate as evaluate
from ._mvm_error import mvm_error as mvm_error
from ._mvm_result import MvmError as MvmError
from ._plot import plot_evaluation as plot_evaluation
from ._program import at as at
from ._program import erase as erase
from ._program import program as program
from ._result import Evaluation as Evaluation
from ._result import normalized_accuracy as normalized_accuracy
