"""How weights come onto the cells of a chip instance."""

from abc import abstractmethod
from typing import Any

from pydantic import Field
from torch import Tensor

from ..nn import Crossbar
from ..ops import Stream
from ..spec import Spec, Variant
from ..tiles import Programmed


class ProgrammingMethod(Variant):
    """A way to bring a weight matrix onto the cells of its arrays. One file each."""

    @abstractmethod
    def write(self, weight: Tensor, crossbar: Crossbar, stream: Stream) -> tuple[Programmed, Any]:
        """Return cells that were written, and a report on it or None.

        Args:
            weight: targets (out, rows).
            crossbar: where they go; nothing of it is changed.
            stream: draws of this chip instance.

        Raises:
            DataError: a weight is not finite.
            RangeError: a weight exceeds the mapping's fixed scale.
            SpecError: the hardware does not say what the method needs to know.
        """


class _Chosen(Spec):
    method: ProgrammingMethod = Field(description="How cells get their weights.")


def chosen(method: Any) -> ProgrammingMethod:
    """Return the method that a value, a mapping with `kind`, or a kind stands for.

    Raises:
        SpecError: there is no such method, or a field of it is wrong.
    """
    return _Chosen(method=method).method
