"""The crossbar: the hardware value, and pure functions that program, age and multiply."""

from ._chip import Present as Present
from ._chip import Programmed as Programmed
from ._chip import column_scale as column_scale
from ._chip import hold as hold
from ._chip import nominal as nominal
from ._chip import present as present
from ._chip import program as program
from ._chip import relative_weight as relative_weight
from ._chip import sites as sites
from ._chip import spread_over_rows as spread_over_rows
from ._chip import times_per_slice as times_per_slice
from ._convolution import Convolution as Convolution
from ._device_array import DeviceArray as DeviceArray
from ._geometry import Dense as Dense
from ._geometry import Geometry as Geometry
from ._hardware import Hardware as Hardware
from ._hardware import load as load
from ._mvm import mvm as mvm
from ._operand import Columns as Columns
from ._operand import Operand as Operand
from ._pulsed_array import PulsedArray as PulsedArray
from ._pulsed_update import SWING as SWING
from ._pulses import Pulses as Pulses
from ._samples import Samples as Samples
from ._weight_read import ReadOut as ReadOut
