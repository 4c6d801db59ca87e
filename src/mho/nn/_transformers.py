"""The door to Hugging Face Transformers, which is imported only where it is used already."""

import copy
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import ConversionError
from ..spec import Rules
from ..tiles import Hardware

if TYPE_CHECKING:
    from ._convert import Where


def analog_config(
    hardware: Hardware | Rules[Hardware] | str | Path,
    *,
    where: "Where | None" = None,
    strict: bool = False,
) -> Any:
    """Return what makes Transformers convert a model while it is loaded, before its weights arrive.

        config = mho.analog_config("standard-hwa-2023", where=~mho.named("lm_head"))
        model = AutoModelForCausalLM.from_pretrained(name, quantization_config=config)

    The model is the one that `mho.convert` makes of a loaded one. It is converted on the meta
    device, so that nothing is ever in memory twice.

    Args:
        hardware: as for `mho.convert`.
        where: as for `mho.convert`.
        strict: as for `mho.convert`.

    Raises:
        ConversionError: Transformers is not installed.
    """
    register_transformers()
    from ._transformers_config import AnalogConfig, Plan

    return AnalogConfig.planned(Plan(hardware, where, strict))


def register_transformers() -> None:
    """Teach Transformers to load models that were converted when they were saved.

    `mho.convert` of a Transformers model does it too, so this is for a process that only loads.

        mho.register_transformers()
        model = AutoModelForCausalLM.from_pretrained(folder)

    Raises:
        ConversionError: Transformers is not installed.
    """
    try:
        from . import _transformers_loader as _transformers_loader  # registers itself
    except ImportError as error:
        raise ConversionError(
            f"this needs Hugging Face Transformers 5 or newer ({error}): pip install transformers."
        ) from None


def refuse_quantized(model: nn.Module) -> None:
    """Refuse a model whose weights Transformers keeps as codes of some other method.

    Raises:
        ConversionError: it is such a model.
    """
    for found in _pretrained(model):
        if getattr(found, "is_quantized", False) and not isinstance(_config(found), _kind()):
            raise ConversionError(
                f"{type(found).__name__} was quantized by Transformers: arrays hold weights, not "
                "codes. Load it without quantization_config, or dequantize it."
            )


def note(model: nn.Module) -> None:
    """Let the configs of Transformers models say what is analog, so that they are saved with it."""
    for found in _pretrained(model):
        followed = _config(found).model() if isinstance(_config(found), _kind()) else None
        if followed is not None and any(found is module for module in followed.modules()):
            continue
        with suppress(ConversionError):  # an older release saves it, for a newer one to load
            register_transformers()
        _own_config(found)
        found.config.quantization_config = _kind().of_model(found)


def forget(model: nn.Module) -> None:
    """Undo `note`, where nothing analog is left."""
    for found in _pretrained(model):
        if isinstance(_config(found), _kind()) and not _config(found).layers:
            del found.config.quantization_config


def _kind() -> Any:
    from ._transformers_config import AnalogConfig

    return AnalogConfig


def _config(model: Any) -> Any:
    return getattr(model.config, "quantization_config", None)


def _own_config(model: Any) -> None:
    """Give a model a config that no other model shares, as two that were made from one do.

    Not a base, whose config is that of the model with a head which it may be a part of.
    """
    if model.base_model is model:
        return
    memo: dict[int, Any] = {}
    copy.deepcopy(model.config, memo)
    for module in model.modules():
        config = vars(module).get("config")
        if id(config) in memo:
            module.config = memo[id(config)]


def _pretrained(model: nn.Module) -> Iterator[Any]:
    """Yield the Transformers models in a model, but for those inside of another."""
    modeling = sys.modules.get("transformers.modeling_utils")
    if modeling is None:
        return
    inside: set[int] = set()
    for module in model.modules():
        if isinstance(module, modeling.PreTrainedModel) and id(module) not in inside:
            inside |= {id(inner) for inner in module.modules()}
            yield module
