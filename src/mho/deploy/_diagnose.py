"""Why did my accuracy drop? The effects of each layer, one by one."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..circuits import Fixed
from ..errors import DataError
from ..nn import Crossbar, Site, converted
from ..ops import Stream, all_finite
from ..spec import format_seconds
from ..tiles import Dense
from ._batches import Forward, run
from ._bench import Bench
from ._diagnosis import Diagnosis, LayerDiagnosis
from ._effects import CLIPPING, DAC_LEVELS, WEIGHT_LEVELS, driven_inputs, effects, only
from ._model import evaluating
from ._progress import progress

VECTORS = 1024
VALUES = 1_000_000


def diagnose(
    model: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None
) -> Diagnosis:
    """Tell for every weight matrix how inexact it is, and which effect makes it so.

    Each layer gets the inputs that it has in the digital model, so that errors of earlier layers
    are not counted again. Its analog product y of what the DACs make of x is compared with the
    exact one, and the error is taken apart, with c = clip(x), q the DAC's levels of c, and W' the
    weights as the mapping encodes them:

        y(x) - W x = [y(x) - W' q] + [W' q - W q] + [W q - W c] + [W c - W x]

    The brackets are the arrays and all that is around them, the mapping's levels, the DAC's levels,
    and clipping. Inside the first, an effect *alone* is y with all other effects off; *all but* it
    is the whole error with that effect off; both on the same chip at the same time. Levels of an
    ADC without saturation go on beyond the bound. An effect whose removal changes nothing, because
    another one hides it, has no share. Digital corrections (`mho.compensate`) undo drift: they are
    switched off together with it, and without a law of drift they act in the whole error and in
    every *all but*.

    A uniform sample of the inputs is kept, per matrix at most 1024 vectors and a million values
    (for a convolution whole images, at least one). The model and the random state stay as they are.

    Args:
        model: a converted model, calibrated if its ranges ask for it, and programmed or not.
        batches: tensors, mappings of keyword arguments, or tuples of arguments.
        forward: how to run a batch, `forward(model, batch)`, if none of the above fits.

    Raises:
        LifecycleError: the model is not converted or not calibrated.
        DataError: no batch, inputs that are not finite, or no layer that has an output.
    """
    found = converted(model)
    samples = _observe(model, found, batches, forward)
    for site in found:
        if len(samples[site.name].inputs):
            site.crossbar.full_scale()  # raises if a range is missing, before any measurement
    layers, unreached = [], []
    for site in progress(found, "diagnosing", len(found)):
        layer = _diagnose_site(site, samples[site.name].inputs)
        layers += [layer] if layer else []
        unreached += [] if layer else [site.name]
    if not layers:
        raise DataError("no analog layer has an output other than zero on these batches.")
    return Diagnosis(tuple(layers), _stage(found), _notes(found), tuple(unreached))


class _Sample:
    """A uniform sample of the inputs of one weight matrix: those with the smallest random keys."""

    def __init__(self, name: str) -> None:
        self.stream, self.calls = Stream(0, name), 0
        self.inputs, self.keys = torch.empty(0), torch.empty(0)

    def __call__(self, crossbar: Crossbar, x: Tensor, weight: Tensor) -> None:
        """Take in the inputs of one product."""
        if x.numel() == 0:
            return
        if not all_finite(x):
            raise DataError(f"{crossbar.name}: the input has values that are not finite.")
        geometry = crossbar.geometry
        flat = x.reshape(-1, x.shape[-1]) if isinstance(geometry, Dense) else x
        outputs = crossbar.exact(flat[:1], weight).numel() * geometry.parts * geometry.slices
        room = max(1, min(VECTORS, VALUES // max(flat[0].numel(), outputs)))
        keys = self.stream.uniform("diagnosed", (len(flat),), self.calls)
        self.calls += 1
        new = keys.topk(min(room, len(flat)), largest=False).indices
        keys = torch.cat((self.keys, keys[new]))
        kept = keys.topk(min(room, len(keys)), largest=False).indices
        pool = flat[new.to(flat.device)].cpu()
        self.inputs = torch.cat((self.inputs, pool))[kept] if len(self.keys) else pool[kept]
        self.keys = keys[kept]


def _observe(
    model: nn.Module, found: list[Site], batches: Iterable[Any], forward: Forward | None
) -> dict[str, _Sample]:
    """Run the model with exact products and keep a sample of every matrix's inputs."""
    samples = {site.name: _Sample(site.name) for site in found}
    try:
        for site in found:
            site.crossbar.observer = samples[site.name]
        with evaluating(model):
            run(model, batches, forward, "collecting inputs")
    finally:
        for site in found:
            site.crossbar.observer = None
    return samples


@torch.no_grad()
def _diagnose_site(site: Site, inputs: Tensor) -> LayerDiagnosis | None:
    if not len(inputs):
        return None
    bench = Bench(site, inputs)
    exact = site.crossbar.exact(bench.x, bench.weight)
    signal = _power(exact)
    if not signal:
        return None
    total, parts = _parts(bench, exact)
    geometry = site.crossbar.geometry
    return LayerDiagnosis(
        name=site.name,
        shape=(geometry.out, geometry.rows),
        arrays=geometry.partition.arrays * geometry.slices,
        utilization=geometry.partition.utilization,
        vectors=len(inputs),
        signal=signal,
        error=total / signal,
        alone={name: alone / signal for name, (alone, _) in parts.items()},
        without={name: without / signal for name, (_, without) in parts.items()},
        clipped=_clipped(site.crossbar, bench.x),
        saturated=bench.saturated(),
    )


def _parts(bench: Bench, exact: Tensor) -> tuple[float, dict[str, tuple[float, float]]]:
    """Return the power of the whole error, and that of each effect alone and of all but it."""
    hardware = bench.hardware
    # The DAC's levels are told apart with nearest rounding, which is the same in every product.
    steady = hardware.with_fields(dac=hardware.dac.with_fields(rounding="nearest"))
    clipped = bench.ideal(driven_inputs(hardware, levels=False))
    leveled = bench.ideal(driven_inputs(hardware, levels=True))
    encoded = leveled if hardware.mapping.exact else bench.ideal(only(steady))
    error = bench.analog(hardware) - exact
    total, parts = _power(error), {}
    for name, effect in effects(hardware, programmed=bench.kept.is_programmed).items():
        if name == CLIPPING:
            part = clipped - exact
            rest = error - part
        elif name == WEIGHT_LEVELS:
            part = encoded - leveled
            rest = error - part
        elif name == DAC_LEVELS:
            rounding = hardware.dac.rounding
            part = bench.ideal(driven_inputs(hardware, levels=True, rounding=rounding)) - clipped
            rest = bench.analog(steady) - exact - (leveled - clipped)
        else:
            part = bench.analog(only(steady, name), alone=True) - encoded
            rest = bench.analog(effect.without(hardware)) - exact
        without = _power(rest)
        parts[name] = (_power(part) if without != total else 0.0, without)
    return total, parts


def _power(error: Tensor) -> float:
    return float(error.double().square().mean())


def _clipped(crossbar: Crossbar, x: Tensor) -> float:
    """Return the share of the inputs beyond the range of their row-slice."""
    rule, geometry = crossbar.hardware.dac.range, crossbar.geometry
    pieces = geometry.inputs_of(x)
    if isinstance(rule, Fixed):
        ranges = [rule.value] * len(pieces)
    elif rule is None or crossbar.input_range is None:
        return 0.0
    else:
        ranges = crossbar.input_range.tolist()
    beyond = sum(int((p.abs() > r).sum()) for p, r in zip(pieces, ranges, strict=True))
    return beyond / sum(piece.numel() for piece in pieces)


def _stage(found: list[Site]) -> str:
    crossbar = found[0].crossbar
    if crossbar.seed is None or crossbar.seconds is None:
        return "nothing is programmed"
    return f"chip of seed {int(crossbar.seed)}, {format_seconds(float(crossbar.seconds))} old"


def _notes(found: list[Site]) -> tuple[str, ...]:
    notes = []
    crossbars = [site.crossbar for site in found]
    if not all(crossbar.is_programmed for crossbar in crossbars):
        notes.append("Without mho.program there is no error of cells and no spread of converters.")
    if any(crossbar.gain is not None for crossbar in crossbars):
        notes.append("Digital corrections are on; drift alone is what is left of it with them.")
    return tuple(notes)
