"""Put a model on analog hardware, in place, and take it back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from ..errors import ConversionError, DataError, SpecError
from ..ops import all_finite
from ..spec import Rules
from ..tiles import Geometry, Hardware, load
from ._bypass import switch_off, switch_on
from ._crossbar import Crossbar
from ._frozen import refuse_changed
from ._guard import guard, unguard
from ._huggingface import find_layer
from ._layer import Analog, Crossbars, sites
from ._peft import adapter_parts, plain_name, tuner_layers
from ._receipt import Entry, Receipt
from ._transformers import forget, note, refuse_quantized

Where = Callable[[str, nn.Module], bool]
LOOKUPS = (nn.Embedding, nn.EmbeddingBag)


@dataclass
class _Job:
    """One module and what is to become of it."""

    name: str
    module: nn.Module
    layer: type[Analog] | None = None
    hardware: Hardware | None = None
    layouts: dict[str, Geometry] = field(default_factory=dict)
    reason: str = ""
    refused: bool = False


def convert(
    model: nn.Module,
    hardware: Hardware | Rules[Hardware] | str | Path,
    *,
    where: Where | None = None,
    strict: bool = False,
) -> Receipt:
    """Put the layers of a model on analog hardware, in place.

    Modules keep their identity, Parameters, names and state-dict keys; the root may itself be a
    layer. Modules and weights that are shared stay shared, also on the arrays. Nothing is changed
    if anything is wrong.

    Args:
        model: any model.
        hardware: one value for all layers, `mho.Rules` for several, or a preset's name or path.
        where: which modules may become analog, such as `mho.linear & ~mho.named("lm_head")`.
        strict: refuse a model in which a weight matrix that is asked for cannot be put on arrays.

    Returns:
        A receipt that lists every module with parameters.

    Raises:
        ConversionError: under `strict`, a matrix cannot be converted; or the model is already on
            other hardware; or Transformers holds codes instead of weights; or nothing at all would
            be analog.
        DataError: a weight is not finite.
    """
    if where is not None and not callable(where):
        raise ConversionError(
            f"`where` is a predicate such as mho.linear & ~mho.named('lm_head'), got {where!r}; "
            f"a name is written mho.named({str(where)!r})."
        )
    if isinstance(hardware, str | Path):
        hardware = load(hardware)
    rules = hardware if isinstance(hardware, Rules) else Rules([("*", hardware)])
    refuse_quantized(model)
    jobs = list(_plan(model, rules, where))
    refused = [f"{job.name}: {job.reason}" for job in jobs if job.refused]
    if strict and refused:
        raise ConversionError("cannot be put on arrays (strict=True):\n  " + "\n  ".join(refused))
    if not any(job.layer for job in jobs):
        why = "; ".join(f"{job.name}: {job.reason}" for job in jobs) or "it has no parameters"
        raise ConversionError(f"no layer of the model becomes analog ({why}).")
    shared = {
        (id(site.weight), site.crossbar.hardware, site.crossbar.geometry): site.crossbar
        for site in sites(model)
    }
    tuners = tuner_layers(model)
    entries = [entry for job in jobs for entry in _apply(job, shared, tuners)]
    guard(model)
    note(model)
    used = tuple(dict.fromkeys(job.hardware for job in jobs if job.hardware is not None))
    return Receipt(tuple(entries), tuple(switch_off(model)), used)


def _plan(model: nn.Module, rules: Rules[Hardware], where: Where | None) -> Iterator[_Job]:
    """Decide about every module with parameters, without touching any."""
    inside: list[nn.Module] = []
    adapters = adapter_parts(model)
    for name, module in model.named_modules():
        label = name or "(root)"
        if any(module is m for m in inside):
            continue
        if id(module) in adapters:
            if any(True for _ in module.parameters(recurse=False)):
                yield _Job(label, module, reason="belongs to an adapter, which is digital")
            continue
        if isinstance(module, Analog):
            inside += list(module.modules())
            yield _already(label, name, module, rules)
            continue
        layer = find_layer(module) or Analog.registry.get(type(module))
        if layer is not None or _is_parametrized_twin(module):
            inside += list(module.modules())
        elif not any(True for _ in module.parameters(recurse=False)):
            continue
        job = _Job(label, module)
        _decide(job, layer, rules, where, name)
        yield job


def _already(label: str, name: str, module: nn.Module, rules: Rules[Hardware]) -> _Job:
    """A module that is analog already stays as it is, if it is on the same hardware."""
    _, wanted = rules.match(name, module)
    here = next(iter(module.analog.values())).hardware  # pyright: ignore
    if wanted is not None and wanted != here:
        raise ConversionError(
            f"{label} is already analog, on other hardware: call mho.restore(model) before "
            "converting anew."
        )
    return _Job(label, module, type(module), here, {}, "already analog")  # pyright: ignore


def _decide(
    job: _Job, layer: type[Analog] | None, rules: Rules[Hardware], where: Where | None, name: str
) -> None:
    """Fill in a job: the layer, hardware and layouts, or the reason why not."""
    module = job.module
    matched, hardware = rules.match(name, module)
    if where is not None and not where(name, module):
        job.reason = "excluded by `where`"
    elif hardware is None:
        job.reason = "left digital by a rule" if matched else "no rule matches"
    elif not isinstance(hardware, Hardware):
        raise SpecError(
            f"{job.name} is given {hardware!r}, which is not a Hardware: use mho.Hardware(...) or "
            "mho.load(name or path)."
        )
    elif layer is None:
        job.reason, job.refused = _no_layer(module)
    else:
        obstacle = (
            layer.obstacle(module)
            or _replaced_forward(module)
            or _foreign_weight(layer, module, hardware)
        )
        if obstacle:
            job.reason, job.refused = obstacle, True
        else:
            job.layer, job.hardware = layer, hardware
            job.layouts = layer.layouts(module, hardware)
            _check_finite(job)


def _no_layer(module: nn.Module) -> tuple[str, bool]:
    """Say why a module without an analog twin stays digital, and whether that is a refusal."""
    kind = type(module).__name__
    if isinstance(module, LOOKUPS):
        return f"{kind} is a look-up, not a product", False
    if any(is_lazy(p) for p in module.parameters()):
        return f"{kind} has no weights yet: run the model once on data", True
    if _is_parametrized_twin(module):
        return "its weights are re-parametrized: remove the parametrizations first", True
    if all(p.dim() < 2 for p in module.parameters(recurse=False)):
        return f"{kind} has no weight matrix", False
    twin = _twin(module)
    if twin is not None:
        return f"{kind} is a subclass of {twin.__name__} and may compute differently", True
    return f"no analog layer for {kind}", True


def _twin(module: nn.Module) -> type[nn.Module] | None:
    """Return the convertible class that a module's class is derived from."""
    return next((base for base in type(module).__mro__[1:] if base in Analog.registry), None)


def _is_parametrized_twin(module: nn.Module) -> bool:
    return is_parametrized(module) and _twin(module) is not None


def _replaced_forward(module: nn.Module) -> str | None:
    if "forward" not in vars(module):
        return None
    return "its `forward` was replaced on the instance, which would bypass the arrays"


def _foreign_weight(layer: type[Analog], module: nn.Module, hardware: Hardware) -> str | None:
    for path in layer.layouts(module, hardware):
        if not isinstance(attrgetter(path)(module), nn.Parameter):
            return f"`{path}` is not a Parameter (is it re-parametrized?): nothing to put on arrays"
    return None


def _check_finite(job: _Job) -> None:
    for path in job.layouts:
        weight = attrgetter(path)(job.module)
        if not weight.is_meta and not all_finite(weight):
            raise DataError(
                f"{job.name}.{path} has values that are not finite; nothing was converted."
            )


def _apply(
    job: _Job,
    shared: dict[tuple[int, Hardware, Geometry], Crossbar],
    tuners: dict[str, nn.Module],
) -> Iterator[Entry]:
    """Carry out one job and describe it."""
    module = job.module
    if job.layer is None or job.hardware is None:
        yield Entry(job.name, type(module).__name__, False, reason=job.reason)
        return
    kind = job.layer.digital.__name__
    if not job.layouts:
        yield Entry(job.name, kind, True, reason=job.reason)
        return
    crossbars: dict[str, Crossbar] = {}
    for path, geometry in job.layouts.items():
        key = (id(attrgetter(path)(module)), job.hardware, geometry)
        tied = key in shared
        name = f"{job.name}.{path}"
        tile = plain_name(name, tuners)  # a chip is the same with and without adapters
        if not tied:
            shared[key] = Crossbar(job.hardware, geometry, tile)
            shared[key].register_forward_pre_hook(refuse_changed)
        crossbars[path] = shared[key]
        partition = geometry.partition
        yield Entry(
            name if len(job.layouts) > 1 else job.name,
            kind,
            True,
            (geometry.out, geometry.rows),
            0 if tied else partition.arrays * geometry.slices,
            partition.utilization,
            f"shares the arrays of {shared[key].name}" if tied else "",
        )
    module.__class__ = job.layer
    module.analog = Crossbars(crossbars).train(module.training)


@torch.no_grad()
def fold_adaptation(model: nn.Module) -> None:
    """Write learned clips and output scales into the weights, and forget them."""
    for site in sites(model):
        crossbar = site.crossbar
        if crossbar.clip_bound is not None or crossbar.output_scale is not None:
            site.weight.copy_(site.shaped(crossbar.digital(site.matrix)))
            crossbar.clip_bound = crossbar.output_scale = None


def to_digital(module: nn.Module) -> None:
    """Give one analog module its digital class back."""
    del module._modules["analog"]
    module.__class__ = module.digital  # pyright: ignore[reportAttributeAccessIssue]


def restore(model: nn.Module, *, read_out: bool = False, oversampling: int = 10) -> nn.Module:
    """Give back the digital model, in place.

    Args:
        model: a converted model.
        read_out: write the weights that the programmed arrays show, estimated by least squares from
            their noisy products with random inputs, instead of keeping the digital targets.
        oversampling: random inputs per row of a matrix for the read-out.

    Returns:
        The same model.

    Raises:
        ConversionError: the model is not converted, or a layer's class was changed since.
        LifecycleError: a read-out of a matrix that is not programmed.
    """
    from ._read_out import read_weights

    layers = [module for module in model.modules() if isinstance(module, Analog)]
    if not layers:
        raise ConversionError("the model has no analog layer to restore.")
    for module in layers:
        if type(module) not in Analog.registry.values():
            raise ConversionError(
                f"{type(module).__name__} was derived from an analog layer after conversion (by "
                "FSDP or a parametrization): undo that before mho.restore."
            )
    if read_out:
        read_weights(model, oversampling)
    fold_adaptation(model)
    for module in layers:
        to_digital(module)
    switch_on(model)
    unguard(model)
    forget(model)
    return model
