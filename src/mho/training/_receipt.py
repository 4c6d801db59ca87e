"""What an attachment did: which matrices are on which arrays."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..spec import render_table

if TYPE_CHECKING:
    from ._layers import Layer


@dataclass(frozen=True)
class AttachedLayer:
    """One weight matrix.

    Attributes:
        name: of the weight.
        shape: (out, rows).
        arrays: arrays of that shape.
        scale: weight that a relative weight of 1 stands for.
        granularity: mean step of the weight per pulse, in the model's units; 0 if there is none.
        cut: cells that could not take the weight they began with.
        frozen: whether it gets no pulses for now.
    """

    name: str
    shape: tuple[int, int]
    arrays: int
    scale: float
    granularity: float
    cut: int
    frozen: bool

    @classmethod
    def of(cls, layer: "Layer") -> "AttachedLayer":
        """Describe a layer."""
        state, matrix = layer.state, layer.state.matrix
        last = list(state.arrays.values())[-1:]
        return cls(
            layer.site.name,
            matrix.shape,
            len(state.arrays),
            matrix.scale,
            last[0].granularity * matrix.scale if last else 0.0,
            round(state.cut * matrix.shape[0] * matrix.shape[1]),
            not layer.site.weight.requires_grad,
        )


@dataclass(frozen=True)
class AttachReceipt:
    """What `mho.attach` did; prints as a table."""

    algorithm: str
    layers: tuple[AttachedLayer, ...]

    @property
    def cut(self) -> int:
        """Cells in all that could not take the weight they began with."""
        return sum(layer.cut for layer in self.layers)

    def __str__(self) -> str:
        rows = [
            (
                layer.name,
                "x".join(map(str, layer.shape)),
                str(layer.arrays),
                f"{layer.scale:.3g}",
                f"{layer.granularity:.2g}" if layer.granularity else "exact",
                str(layer.cut),
                "frozen" if layer.frozen else "trained",
            )
            for layer in self.layers
        ]
        header = ("matrix", "out x rows", "arrays", "scale", "step", "clipped cells", "weight")
        return render_table(f"attached: {self.algorithm}", header, rows)
