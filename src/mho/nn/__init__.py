"""Analog layers, and the verbs that put them into a model and take them out."""

from ._attention import AnalogMultiheadAttention as AnalogMultiheadAttention
from ._checkpoint import digital_state_dict as digital_state_dict
from ._conv import AnalogConv1d as AnalogConv1d
from ._conv import AnalogConv2d as AnalogConv2d
from ._conv import AnalogConv3d as AnalogConv3d
from ._conv import AnalogConvTranspose1d as AnalogConvTranspose1d
from ._conv import AnalogConvTranspose2d as AnalogConvTranspose2d
from ._conv import AnalogConvTranspose3d as AnalogConvTranspose3d
from ._convert import convert as convert
from ._convert import restore as restore
from ._crossbar import Crossbar as Crossbar
from ._crossbar import Modifier as Modifier
from ._crossbar import gathered as gathered
from ._layer import Analog as Analog
from ._layer import Site as Site
from ._layer import converted as converted
from ._layer import sites as sites
from ._linear import AnalogLinear as AnalogLinear
from ._receipt import Receipt as Receipt
from ._rnn import AnalogGRU as AnalogGRU
from ._rnn import AnalogLSTM as AnalogLSTM
from ._rnn import AnalogRNN as AnalogRNN
from ._rnn_cells import AnalogGRUCell as AnalogGRUCell
from ._rnn_cells import AnalogLSTMCell as AnalogLSTMCell
from ._rnn_cells import AnalogRNNCell as AnalogRNNCell
