"""Circuits around the cells: DAC, ADC, noise per product, wires, digital unit."""

from ._adc import ADC as ADC
from ._array import Array as Array
from ._dac import DAC as DAC
from ._dac import half_steps as half_steps
from ._digital import Digital as Digital
from ._digital import Float as Float
from ._front_end import FrontEnd as FrontEnd
from ._noise import Additive as Additive
from ._noise import Noise as Noise
from ._noise import PcmRead as PcmRead
from ._noise import ReadNoise as ReadNoise
from ._range import Calibrated as Calibrated
from ._range import Fixed as Fixed
from ._range import Learned as Learned
from ._range import PerToken as PerToken
from ._range import Range as Range
from ._scheme import BitSerial as BitSerial
from ._scheme import OnePass as OnePass
from ._scheme import Phase as Phase
from ._scheme import PositiveNegative as PositiveNegative
from ._scheme import Scheme as Scheme
from ._transfer import Compressive as Compressive
from ._transfer import Transfer as Transfer
from ._wires import FirstOrder as FirstOrder
from ._wires import Wires as Wires
