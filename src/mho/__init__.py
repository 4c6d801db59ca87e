"""mho: analog in-memory computing for PyTorch.

One description of the hardware answers how accurate a model is on it, today and in a year.

    hw = mho.load("standard-hwa-2023")
    mho.convert(model, hw)
    mho.calibrate(model, batches)
    print(mho.evaluate(model, score).table())
"""

from torch import nn as _torch_nn

from .adaptation import Adaptation as Adaptation
from .adaptation import Adapted as Adapted
from .adaptation import AdditiveNoise as AdditiveNoise
from .adaptation import Distillation as Distillation
from .adaptation import ProgrammingNoise as ProgrammingNoise
from .adaptation import adapt as adapt
from .cells import Cell as Cell
from .cells import Composed as Composed
from .chip import Chip as Chip
from .chip import Constant as Constant
from .chip import Cost as Cost
from .chip import Placement as Placement
from .chip import Sweep as Sweep
from .chip import chips as chips
from .chip import cost as cost
from .chip import load as load
from .chip import place as place
from .chip import sweep as sweep
from .circuits import ADC as ADC
from .circuits import DAC as DAC
from .circuits import Array as Array
from .circuits import FixedPoint as FixedPoint
from .circuits import Noise as Noise
from .deploy import Diagnosis as Diagnosis
from .deploy import DigitalReport as DigitalReport
from .deploy import Evaluation as Evaluation
from .deploy import GradientDescent as GradientDescent
from .deploy import MvmError as MvmError
from .deploy import OneShot as OneShot
from .deploy import ProgrammingCost as ProgrammingCost
from .deploy import ProgrammingMethod as ProgrammingMethod
from .deploy import ProgrammingReport as ProgrammingReport
from .deploy import WriteVerify as WriteVerify
from .deploy import at as at
from .deploy import calibrate as calibrate
from .deploy import compensate as compensate
from .deploy import diagnose as diagnose
from .deploy import digital_report as digital_report
from .deploy import erase as erase
from .deploy import evaluate as evaluate
from .deploy import mvm_error as mvm_error
from .deploy import normalized_accuracy as normalized_accuracy
from .deploy import plot_evaluation as plot_evaluation
from .deploy import plot_response as plot_response
from .deploy import program as program
from .deploy import programming_report as programming_report
from .deploy import recalibrate_batch_norm as recalibrate_batch_norm
from .errors import MhoError as MhoError
from .fitting import FittedResponse as FittedResponse
from .fitting import MeasuredResponse as MeasuredResponse
from .fitting import Trace as Trace
from .fitting import fit_response as fit_response
from .fitting import measured_response as measured_response
from .fitting import plot_drift as plot_drift
from .fitting import plot_programming as plot_programming
from .fitting import plot_symmetry as plot_symmetry
from .fitting import read_trace as read_trace
from .mapping import Mapping as Mapping
from .mapping import partition_counts as partition_counts
from .nn import L1BatchNorm as L1BatchNorm
from .nn import Quantization as Quantization
from .nn import Receipt as Receipt
from .nn import TopKBatchNorm as TopKBatchNorm
from .nn import analog_config as analog_config
from .nn import convert as convert
from .nn import digital_state_dict as digital_state_dict
from .nn import fold_batch_norm as fold_batch_norm
from .nn import load_quantized as load_quantized
from .nn import quantize as quantize
from .nn import register_transformers as register_transformers
from .nn import restore as restore
from .nn import save_quantized as save_quantized
from .nn import sites as sites
from .spec import Predicate as Predicate
from .spec import Rules as Rules
from .spec import diff as diff
from .spec import document as document
from .spec import explain as explain
from .spec import explain_lines as explain_lines
from .spec import json_schema as json_schema
from .spec import named as named
from .spec import of_type as of_type
from .spec import override as override
from .spec import presets as presets
from .spec import to_yaml as to_yaml
from .studies import Csnr as Csnr
from .studies import Linearity as Linearity
from .studies import OptimizedMapping as OptimizedMapping
from .studies import Robustness as Robustness
from .studies import Sensitivity as Sensitivity
from .studies import best_thresholds as best_thresholds
from .studies import csnr as csnr
from .studies import linearity as linearity
from .studies import optimize_mapping as optimize_mapping
from .studies import robustness as robustness
from .studies import sensitivity as sensitivity
from .studies import sharpness as sharpness
from .tiles import Backward as Backward
from .tiles import Hardware as Hardware
from .tiles import Pulses as Pulses
from .training import Agad as Agad
from .training import Attached as Attached
from .training import ChoppedTikiTaka as ChoppedTikiTaka
from .training import Exact as Exact
from .training import MixedPrecision as MixedPrecision
from .training import PulsedSGD as PulsedSGD
from .training import ReadOut as ReadOut
from .training import ResidualLearning as ResidualLearning
from .training import ResidualLearningV2 as ResidualLearningV2
from .training import TikiTaka as TikiTaka
from .training import TikiTakaV2 as TikiTakaV2
from .training import attach as attach

linear = of_type(_torch_nn.Linear)
"""Predicate: linear layers."""
conv = of_type(
    _torch_nn.Conv1d, _torch_nn.Conv2d, _torch_nn.Conv3d,
    _torch_nn.ConvTranspose1d, _torch_nn.ConvTranspose2d, _torch_nn.ConvTranspose3d,
)  # fmt: skip
"""Predicate: convolutions and their transposes."""
recurrent = of_type(_torch_nn.RNNBase, _torch_nn.RNNCellBase)
"""Predicate: recurrent layers and cells."""
attention = of_type(_torch_nn.MultiheadAttention)
"""Predicate: multi-head attention."""

__version__ = "0.1.0"
