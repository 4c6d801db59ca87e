"""Cores, latency, energy, area: what a model costs on a chip of the same hardware value."""

from ._chip import Chip as Chip
from ._chip import as_chip as as_chip
from ._chip import chips as chips
from ._chip import load as load
from ._constant import Constant as Constant
from ._cost import cost as cost
from ._cost_result import Cost as Cost
from ._place import place as place
from ._placement import Placement as Placement
from ._sweep import sweep as sweep
from ._sweep_result import Point as Point
from ._sweep_result import Sweep as Sweep
