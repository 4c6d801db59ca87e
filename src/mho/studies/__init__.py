"""Studies that guide people: how robust a model is, and what hurts it most."""

from ._robustness import robustness as robustness
from ._robustness_result import Robustness as Robustness
from ._robustness_result import decibels as decibels
from ._robustness_result import plot_robustness as plot_robustness
from ._sensitivity import sensitivity as sensitivity
from ._sensitivity_result import Sensitivity as Sensitivity
from ._sharpness import Sharpness as Sharpness
from ._sharpness import sharpness as sharpness
