"""A measuring bench for one weight matrix: its product with some effects of the hardware off."""

import copy
from dataclasses import replace

import torch
from torch import Tensor

from ..nn import Site
from ..tiles import Hardware, Present, mvm, relative_weight
from ._effects import effects
from ._model import own_noise


class Bench:
    """Copies of one crossbar whose effects can be switched, and the inputs that they are shown."""

    def __init__(self, site: Site, inputs: Tensor) -> None:
        self.kept = site.crossbar
        self.hardware, self.geometry = site.crossbar.hardware, site.crossbar.geometry
        self.chip, self.blank = copy.deepcopy(site.crossbar), copy.deepcopy(site.crossbar)
        self.blank.erase()
        weight = site.matrix.detach()
        # Rounding to half precision is the model's own error, not one of the arrays.
        self.weight = weight if weight.dtype == torch.float64 else weight.float()
        self.x = inputs.to(weight.device, self.weight.dtype)
        self.targets = torch.empty(0)
        self.present: dict[frozenset[str], Present] = {}
        if self.kept.is_programmed:
            cell, mapping = self.hardware.cell, self.hardware.mapping
            target = self.kept.target(weight)
            relative, _ = relative_weight(target, self.hardware, self.geometry, site.name)
            self.targets = mapping.encode(relative, cell.g_min, cell.g_max).to(weight.device)

    def analog(self, hardware: Hardware, *, alone: bool = False) -> Tensor:
        """Return the product of this chip instance, at its time, on other hardware."""
        chip, kept = self.chip, self.kept
        chip.hardware = hardware
        if kept.seconds is not None:
            seconds = float(kept.seconds)
            chip.set_clock(seconds, self._present(hardware, seconds))
        drifts = self.hardware.cell.drift is not None
        corrected = hardware.cell.drift is not None if drifts else not alone
        chip.gain, chip.offset = (kept.gain, kept.offset) if corrected else (None, None)
        spreads = [(h.adc.gain_spread, h.adc.offset_spread) for h in (hardware, self.hardware)]
        known = spreads[0] == spreads[1] and not alone  # what each column was corrected for
        chip.column_gain = kept.column_gain if known else None
        chip.column_offset = kept.column_offset if known else None
        with own_noise("diagnose", kept.name):
            return chip(self.x, self.weight)

    def _present(self, hardware: Hardware, seconds: float) -> Present:
        """Return the arrays with those effects of the chip that other hardware has.

        What else differs in other hardware plays no part in them, so most products share the arrays
        with all effects of the chip or with none.
        """
        of_chip = {name: e for name, e in effects(self.hardware).items() if e.of_chip}
        on = frozenset(effects(hardware)).intersection(of_chip)
        if on not in self.present:
            laws = self.hardware
            for name in of_chip.keys() - on:
                laws = of_chip[name].without(laws)
            as_targets = hardware.cell.programming is None
            self.chip.programmed = self.targets if as_targets else self.kept.programmed
            self.present[on] = self.chip.present_at(seconds, laws)
        return self.present[on] if len(on) in (0, len(of_chip)) else self.present.pop(on)

    def ideal(self, hardware: Hardware) -> Tensor:
        """Return the product of the weights as targets, on other hardware."""
        self.blank.hardware = hardware
        geometry = replace(self.geometry, slices=len(hardware.mapping.significance))
        with own_noise("diagnose", self.kept.name):
            return self.blank(self.x, self.weight, geometry)

    def saturated(self) -> float:
        """Return the share of the ADC's readings that are at its bound."""
        hits: list[Tensor] = []
        with own_noise("diagnose", self.kept.name):
            mvm(self.x, self.kept.operand(self.weight), self.hardware, self.geometry, hits)
        total = sum(hit.numel() for hit in hits)
        return sum(int(hit.sum()) for hit in hits) / total if total else 0.0
