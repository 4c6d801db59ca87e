"""A digital weight that drives a C-2C capacitor ladder: a charge-domain cell."""

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..ops import Stream
from ..spec import Siemens
from ._cell import Cell, CellState
from ._faults import Sites


def ladder_weights(
    bit: Tensor, coupling: Tensor, termination: Tensor, parasitic: float
) -> tuple[Tensor, Tensor]:
    """Return what each bit of C-2C ladders adds to their output, and their output capacitance.

    Bit k drives node k through `bit[k]`, neighbors are joined by `coupling`, the node of the least
    significant bit has the termination to ground, and every node a parasitic to ground. Seen from
    node k downwards, the ladder is a source behind the capacitance T_k,

        L_0 = termination,  L_k = coupling_k T_{k-1} / (coupling_k + T_{k-1}),
        T_k = bit_k + parasitic + L_k,  w_k = (bit_k / T_k) prod_{m > k} L_m / T_m

    With bit = termination = 1, coupling = 2 and no parasitic, w_k = 2^k / 2^n exactly and T = 2.

    Args:
        bit: capacitances (n, ...), the least significant first, in units of C.
        coupling: capacitances (n - 1, ...).
        termination: capacitance (...).
        parasitic: capacitance of each node to ground.

    Returns:
        w (n, ...) and T_{n-1} (...), of the last node while it is open.
    """
    below, total, weights = termination, termination, []
    for k, own in enumerate(bit):
        if k:
            below = coupling[k - 1] * total / (coupling[k - 1] + total)
        total = own + parasitic + below
        weights = [w * (below / total) for w in weights] + [own / total]
    return torch.stack(weights), total


def ladder_ratio(parasitic: float) -> float:
    """Return the ratio of neighboring bits' weights far from the termination.

    It is 1 + c / 2, where c = (1 + p + sqrt((1 + p)^2 + 8 (1 + p))) / 2 solves
    c = 1 + p + 2 c / (2 + c): a long ladder looks the same from every node. Without parasitic, 2.
    """
    one = 1 + parasitic
    return 1 + (one + (one**2 + 8 * one) ** 0.5) / 4


class CapacitorLadder(Cell):
    """An n-bit code in SRAM that drives a C-2C ladder; charges take the place of currents.

    A conductance of g_max stands for a ladder that passes on the whole input, so that code c is
    g_max c / 2^n. The code is held exactly, for ever. What a chip's ladders make of it follows from
    its own capacitors (`ladder_weights`): each is a standard deviation `mismatch` off for a unit
    capacitor, and 1 / sqrt(2) of that for the two units in parallel that make 2 C, as areas do. It
    is relative to the ladder that has the parasitics and no mismatch, in output capacitance.

    Source: H. Wang et al., VLSI Technology and Circuits 2022,
    doi:10.1109/VLSITechnologyandCir46769.2022.9830322; area law of mismatch: M. J. M. Pelgrom et
    al., IEEE JSSC 24:1433-1439 (1989).
    """

    mappings: ClassVar[tuple[str, ...] | None] = ("offset",)

    kind: Literal["capacitor_ladder"] = "capacitor_ladder"
    g_max: Siemens = Field(
        default=1.0, gt=0, description="Stands for a ladder that passes on its whole input."
    )
    bits: int = Field(default=8, ge=2, le=12, strict=True, description="Bits of the code, n.")
    mismatch: float = Field(
        default=0.0, ge=0, lt=0.2, description="Relative spread of the unit capacitors."
    )
    parasitic: float = Field(
        default=0.0, ge=0, description="Capacitance of each node to ground, in unit capacitors."
    )

    @model_validator(mode="after")
    def _digital(self) -> "CapacitorLadder":
        for law in ("programming", "drift", "read", "device"):
            if getattr(self, law) is not None:
                raise ValueError(f"the code of a ladder is digital: leave out {law}")
        if self.signed or self.g_min:
            raise ValueError("codes start at 0 and have no sign: leave out g_min and signed")
        return self

    def program(self, target: Tensor, stream: Stream) -> CellState:
        """Store the nearest codes; the largest is one step below g_max. See `Cell.program`."""
        codes = self._codes(super().program(target, stream).programmed)
        return CellState(codes * (self.g_max / 2**self.bits), None)

    def found(self, conductance: Tensor, stream: Stream, sites: Sites | None = None) -> Tensor:
        """Return what the ladders of an array pass on; see `Cell.found`."""
        codes = self._codes(conductance)
        shape, n = tuple(codes.shape), self.bits
        bit, coupling, termination = torch.ones(n), torch.full((n - 1,), 2.0), torch.ones(())
        if self.mismatch:
            xi = self.mismatch * stream.normal("capacitors", (2 * n, *shape))
            bit = 1 + xi[:n]
            coupling = 2 + 2**0.5 * xi[n : 2 * n - 1]
            termination = 1 + xi[-1]
        weights, total = ladder_weights(bit, coupling, termination, self.parasitic)
        nominal = ladder_weights(
            torch.ones(n), torch.full((n - 1,), 2.0), torch.ones(()), self.parasitic
        )[1]
        passed = torch.zeros(shape)
        for k in range(n):
            passed += (codes.int() >> k & 1) * weights[k]
        g = self.g_max * passed * (total / nominal)
        return super().found(g, stream, sites)

    def _codes(self, conductance: Tensor) -> Tensor:
        return (conductance * (2**self.bits / self.g_max)).round().clamp(0, 2**self.bits - 1)
