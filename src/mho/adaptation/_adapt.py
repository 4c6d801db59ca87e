"""The verb that makes a training aware of its hardware."""

from collections import Counter

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import LBFGS, Optimizer

from ..circuits import Learned
from ..errors import ConversionError, DataError, LifecycleError, SpecError
from ..nn import Crossbar, Site, converted
from ._adaptation import Adaptation
from ._adapted import Adapted, Teacher
from ._clip import FixedClip
from ._converters import chip_columns
from ._noise import AdditiveNoise, ProgrammingNoise
from ._weights import remap_target


def adapt(
    model: nn.Module,
    adaptation: Adaptation,
    optimizer: Optimizer,
    *,
    teacher: Teacher | None = None,
) -> Adapted:
    """Make the training of a converted model aware of its hardware. The loop stays as it is.

    Weight effects act in the layers' forward while the model is in training mode; clipping and
    remapping follow each step of the optimizer, for weights that it holds. What is learned besides
    (clips, output scales, and input ranges that the optimizer lacks) joins it as a group without
    weight decay, so call this before making a learning-rate scheduler, and before DDP or FSDP wrap
    the model if there is any such.

    Args:
        model: a converted model, with its learned ranges calibrated.
        adaptation: what to do.
        optimizer: any torch optimizer, or Accelerate's wrapper of one.
        teacher: for distillation: a digital model, or anything that is called as the model is and
            returns logits. A module is put into eval mode.

    Raises:
        LifecycleError: the model is not converted, is adapted already, or a range saw no data.
        SpecError: the adaptation contradicts the hardware.
        DataError: distillation without a teacher, or a teacher without distillation.
        ConversionError: a layer cannot do what is asked.
    """
    if not isinstance(adaptation, Adaptation):
        raise SpecError(f"adaptation must be a mho.Adaptation, got {adaptation!r}.")
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner  # Accelerate's and others' wrappers
    if not isinstance(optimizer, Optimizer):
        raise SpecError(
            f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}."
        )
    found = converted(model)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trained = [site for site in found if id(site.weight) in held and site.weight.requires_grad]
    _check_model(model, found, trained, adaptation)
    _check_hardware(found, adaptation)
    if (teacher is None) != (adaptation.distillation is None):
        raise DataError(
            "a teacher goes with Adaptation(distillation=...), and only with it: give both or none."
        )
    if isinstance(teacher, nn.Module):
        if any(p is q for p, q in zip(teacher.parameters(), model.parameters(), strict=False)):
            raise DataError(
                "the teacher shares its weights with the model, so it would change with it: use "
                "copy.deepcopy(model) from before mho.convert."
            )
        teacher.eval()
    _add_parameters(model, found, trained, adaptation, optimizer)
    return Adapted(model, found, trained, adaptation, optimizer, teacher)


def _check_model(
    model: nn.Module, found: list[Site], trained: list[Site], adaptation: Adaptation
) -> None:
    for site in found:
        crossbar = site.crossbar
        if crossbar.modifier is not None:
            raise LifecycleError(
                "the model is adapted already: call `remove()` of what mho.adapt returned first."
            )
        if isinstance(crossbar.hardware.dac.range, Learned) and crossbar.input_range is None:
            raise LifecycleError(
                f"{site.name}: its input range is to be learned, but saw no data: call "
                "mho.calibrate(model, batches, method='moving_std') first, and make the optimizer "
                "after it."
            )
        if adaptation.per == "sample" and isinstance(
            site.module, nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention
        ):
            raise ConversionError(
                f"{site.name}: a {type(site.module).__name__} shares one draw over its products; "
                "use per='batch', or leave the layer digital."
            )
    writes = adaptation.clip is not None or adaptation.remap or adaptation.output_scale
    if writes and not trained:
        raise LifecycleError(
            "clip, remap and output scales act on weights that the optimizer trains, but it holds "
            "none of the model's analog weights; leave them out to train around a frozen base."
        )
    decays = adaptation.range_decay is not None
    if decays and not any(isinstance(s.crossbar.input_range, nn.Parameter) for s in found):
        raise SpecError(
            "range_decay lets learned input ranges shrink, but the hardware has none: set "
            "`dac.range: learned`, or leave it out."
        )
    _check_tied(model, trained, adaptation)


def _check_tied(model: nn.Module, trained: list[Site], adaptation: Adaptation) -> None:
    rescales = adaptation.remap is not None or adaptation.output_scale
    learned = adaptation.clip is not None and not adaptation.clip.writes
    if not rescales and not learned:
        return
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for site in trained:
        if uses[id(site.weight)] > 1:
            raise ConversionError(
                f"{site.name} is tied to another layer, so it cannot have a learned clip or an "
                "output scale of its own; untie it, or use a clip by sigma and no remapping."
            )


def _check_converters(found: list[Site]) -> None:
    if any(v is not None for site in found for v in chip_columns(site.crossbar, 0)):
        return
    raise SpecError(
        "converters: no converter of this hardware differs from another: give it a spread, such as "
        "adc.gain_spread, adc.transfer or adc.converter, or leave out `converters`."
    )


def _check_hardware(found: list[Site], adaptation: Adaptation) -> None:
    if adaptation.converters is not None:
        _check_converters(found)
    for site in found:
        hardware = site.crossbar.hardware
        noise, clip = adaptation.noise, adaptation.clip
        if isinstance(noise, ProgrammingNoise):
            cell = noise.cell or hardware.cell
            if cell.programming is None:
                raise SpecError(
                    f"{site.name}: ProgrammingNoise needs a cell with a programming error, and "
                    f"this one has none ({cell!r}); give `cell=`, such as "
                    "mho.load('pcm-joshi-2020').cell, or use AdditiveNoise."
                )
            if cell.signed != hardware.cell.signed:
                raise SpecError(
                    f"{site.name}: a cell of {'signed' if cell.signed else 'unsigned'} conductance "
                    f"does not fit the mapping {hardware.mapping.kind!r}."  # pyright: ignore
                )
        if isinstance(noise, AdditiveNoise) and hardware.array.combine.analog_sum:
            raise SpecError(
                f"{site.name}: AdditiveNoise is relative to weights, and amplifiers of some gain "
                "make signals of another size; use MultiplicativeNoise or ProgrammingNoise."
            )
        if adaptation.remap and isinstance(clip, FixedClip) and clip.value < remap_target(site):
            raise SpecError(
                f"{site.name}: clip at {clip.value:g} and remap contradict each other: remap moves "
                f"the largest weight to {remap_target(site):g} after each step."
            )


def _add_parameters(
    model: nn.Module,
    found: list[Site],
    trained: list[Site],
    adaptation: Adaptation,
    optimizer: Optimizer,
) -> None:
    """Make the Parameters that an adaptation learns, and give them to the optimizer."""
    scaled = trained if adaptation.output_scale or adaptation.remap else []
    clipped = trained if adaptation.clip is not None and not adaptation.clip.writes else []
    new = [s for s in scaled if s.crossbar.output_scale is None]
    new += [s for s in clipped if s.crossbar.clip_bound is None]
    wrapped = isinstance(model, DistributedDataParallel)
    if new and (wrapped or any(hasattr(site.weight, "full_tensor") for site in new)):
        raise LifecycleError(
            "learned clips and output scales are new Parameters, which the parallel wrapper would "
            "not know: call mho.adapt before DDP or FSDP wrap the model."
        )
    for site in scaled:
        _scale(site.crossbar, site, adaptation.output_scale)
    for site in clipped:
        _bound(site.crossbar, site, adaptation)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    keys = ("input_range", "clip_bound", "output_scale")
    values = [getattr(site.crossbar, key) for site in found for key in keys]
    missing = [
        p for p in values
        if isinstance(p, nn.Parameter) and p.requires_grad and id(p) not in held
    ]  # fmt: skip
    if missing and isinstance(optimizer, LBFGS):
        raise LifecycleError(
            "LBFGS takes no further Parameters: make it after the ranges are calibrated, and learn "
            "no clips or scales."
        )
    if missing:
        optimizer.add_param_group({"params": missing, "weight_decay": 0.0})


@torch.no_grad()
def _scale(crossbar: Crossbar, site: Site, learns: bool) -> None:
    if crossbar.output_scale is None:
        ones = torch.ones(crossbar.geometry.out, dtype=site.weight.dtype)
        crossbar.output_scale = nn.Parameter(ones.to(site.weight.device), requires_grad=learns)
        crossbar.keep_record()


@torch.no_grad()
def _bound(crossbar: Crossbar, site: Site, adaptation: Adaptation) -> None:
    if crossbar.clip_bound is not None or adaptation.clip is None:
        return
    geometry, matrix = crossbar.geometry, site.matrix
    bound = adaptation.clip.bound(matrix, geometry).expand_as(matrix)
    first, values = 0, []
    for size in geometry.partition.rows:
        rows = slice(first, first + size)
        # Where a column has no spread to speak of, nothing is clipped to begin with.
        values.append(torch.minimum(bound[:, first], matrix[:, rows].abs().amax(1)))
        first += size
    crossbar.clip_bound = nn.Parameter(torch.stack(values))
    crossbar.keep_record()
