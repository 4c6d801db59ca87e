"""Own devices: responses fitted to measured pulse trains, measured tables, plots of cells."""

from ._cell_plots import plot_drift as plot_drift
from ._cell_plots import plot_programming as plot_programming
from ._cell_plots import plot_symmetry as plot_symmetry
from ._fit_response import fit_response as fit_response
from ._fitted_response import FittedParameter as FittedParameter
from ._fitted_response import FittedResponse as FittedResponse
from ._measured_response import MeasuredResponse as MeasuredResponse
from ._measured_response import measured_response as measured_response
from ._trace import Trace as Trace
from ._trace import Train as Train
from ._trace import trace_of as trace_of
from ._trace_file import read_trace as read_trace
