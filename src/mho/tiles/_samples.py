"""The inputs and errors of one update of a weight matrix."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..ops import UnbuiltRows


class Vectors(Protocol):
    """Something that becomes pairs of vectors, in pieces of bounded size."""

    def __len__(self) -> int:
        """Return the number of vectors."""
        ...

    def pieces(self, *, unbuilt: bool = True) -> Iterable[tuple[Tensor | UnbuiltRows, Tensor]]:
        """Yield inputs x (n, rows), not built if they may and can be, and errors d (n, out)."""
        ...

    def largest(self) -> tuple[Tensor, Tensor]:
        """Return max|x| and max|d|."""
        ...


class Pair:
    """Inputs (n, rows) and errors (n, out) that are at hand."""

    def __init__(self, x: Tensor, d: Tensor) -> None:
        self.x, self.d = x, d

    def __len__(self) -> int:
        return len(self.x)

    def pieces(self, *, unbuilt: bool = True) -> Iterable[tuple[Tensor, Tensor]]:
        """Yield all of it."""
        yield self.x, self.d

    def largest(self) -> tuple[Tensor, Tensor]:
        """Return max|x| and max|d|."""
        return self.x.abs().max(), self.d.abs().max()


class Samples:
    """All vectors of an update: x (n, rows), and d (n, out), the gradient with respect to W x.

    The gradient of the weight is the sum of d x^T over them; it is not computed unless asked for.
    Signs, +1 or -1 for each row and each output, multiply what `chunks` yields.
    """

    def __init__(
        self,
        parts: Sequence[Vectors],
        inputs: Tensor | None = None,
        outputs: Tensor | None = None,
    ) -> None:
        self.parts, self.inputs, self.outputs = list(parts), inputs, outputs

    @classmethod
    def of(cls, x: Tensor, d: Tensor) -> "Samples":
        """Take vectors that are at hand."""
        return cls([Pair(x, d)])

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield float32 x and d, piece by piece, in their order."""
        for x, d in self.pieces(unbuilt=False):
            assert isinstance(x, Tensor)
            yield x, d

    def pieces(self, *, unbuilt: bool = True) -> Iterator[tuple[Tensor | UnbuiltRows, Tensor]]:
        """Yield the same; x comes without being built where that is possible."""
        unbuilt = unbuilt and self.inputs is None
        for part in self.parts:
            for x, d in part.pieces(unbuilt=unbuilt):
                d = d.float()
                if isinstance(x, Tensor):
                    x = x.float() if self.inputs is None else x.float() * self.inputs
                yield x, d if self.outputs is None else d * self.outputs

    def signed(self, inputs: Tensor | None = None, outputs: Tensor | None = None) -> "Samples":
        """Return the same samples with the signs of rows (rows,) and outputs (out,) changed."""
        return Samples(self.parts, _both(self.inputs, inputs), _both(self.outputs, outputs))

    def largest(self) -> tuple[float, float]:
        """Return max|x| and max|d| over all samples; 0 if there are none."""
        most = [part.largest() for part in self.parts if len(part)]
        if not most:
            return 0.0, 0.0
        x, d = (float(torch.stack(values).max()) for values in zip(*most, strict=True))
        return x, d

    def gradient(self) -> Tensor | None:
        """Return the sum of d x^T over all samples, (out, rows); None if there are none."""
        total = None
        for x, d in self.chunks():
            total = d.T @ x if total is None else total.addmm_(d.T, x)
        return total


def _both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a * b
