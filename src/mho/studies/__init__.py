"""Studies that guide people: how robust a model is, and what hurts it most."""

from ._csnr import Csnr as Csnr
from ._csnr import best_thresholds as best_thresholds
from ._csnr import csnr as csnr
from ._linearity import linearity as linearity
from ._linearity_result import Linearity as Linearity
from ._mapping_result import OptimizedMapping as OptimizedMapping
from ._mapping_search import optimize_mapping as optimize_mapping
from ._robustness import robustness as robustness
from ._robustness_result import Robustness as Robustness
from ._robustness_result import decibels as decibels
from ._robustness_result import plot_robustness as plot_robustness
from ._sensitivity import sensitivity as sensitivity
from ._sensitivity_result import Sensitivity as Sensitivity
from ._sharpness import Sharpness as Sharpness
from ._sharpness import sharpness as sharpness
