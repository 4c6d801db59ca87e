"""Layers of Hugging Face Transformers that are not torch layers."""

from functools import cache
from typing import Any

from torch import Tensor, nn

from ..tiles import Geometry, Hardware
from ._layer import Analog, biased, dense


def find_layer(module: nn.Module) -> type[Analog] | None:
    """Return the analog class of a Transformers layer; imports Transformers only for those."""
    kind = type(module)
    if kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils":
        return _conv1d()
    return None


@cache
def _conv1d() -> type[Analog]:
    from transformers.pytorch_utils import Conv1D  # pyright: ignore[reportMissingImports]

    class AnalogTransformersConv1D(Analog, Conv1D):
        """Transformers' `Conv1D`: a linear layer whose weight is (in, out)."""

        digital = Conv1D

        @staticmethod
        def layouts(module: Any, hardware: Hardware) -> dict[str, Geometry]:
            """See `Analog.layouts`."""
            rows, out = module.weight.shape
            return {"weight": dense(out, rows, hardware)}

        @staticmethod
        def to_matrix(weight: Tensor, geometry: Geometry) -> Tensor:
            """(in, out) -> (out, in)."""
            return weight.t()

        @staticmethod
        def from_matrix(matrix: Tensor, like: Tensor, geometry: Geometry) -> Tensor:
            """(out, in) -> (in, out)."""
            return matrix.t()

        def forward(self, x: Tensor) -> Tensor:
            """Map (..., in) to (..., out)."""
            crossbar = self.analog["weight"]
            if crossbar.transparent:
                return Conv1D.forward(self, x)
            return biased(crossbar, x, self.weight.t(), self.bias)

    AnalogTransformersConv1D.__qualname__ = "AnalogTransformersConv1D"
    return AnalogTransformersConv1D


def __getattr__(name: str) -> Any:
    # Pickle finds the class by its module and name.
    if name == "AnalogTransformersConv1D":
        return _conv1d()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
