"""The part of a Transformers model's config that says which layers are on which hardware."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.quantizers.auto import (  # pyright: ignore[reportMissingImports]
    register_quantization_config,
)
from transformers.utils.quantization_config import (  # pyright: ignore[reportMissingImports]
    QuantizationConfigMixin,
)

from ..errors import CheckpointError
from ..spec import Rules, to_dict
from ..tiles import Hardware
from ._layer import Analog
from ._peft import plain_name, tuner_layers

if TYPE_CHECKING:
    from ._convert import Where

METHOD = "mho"


@dataclass(frozen=True)
class Plan:
    """What `mho.convert` is to be called with once there is a model."""

    hardware: Hardware | Rules[Hardware] | str | Path
    where: "Where | None" = None
    strict: bool = False


class AnalogConfig(QuantizationConfigMixin):
    """Layers of a model and their hardware, saved in its `config.json`.

    While the model lives, they are read off the model, so that what is saved is what is there;
    predicates and rules are thereby saved as the layers that they chose.

    Args:
        hardware: values, as plain data.
        layers: for each analog layer, by name, which of these it is on.
    """

    def __init__(
        self,
        hardware: list[dict[str, Any]] | None = None,
        layers: dict[str, int] | None = None,
        quant_method: str = METHOD,
        **unknown: Any,
    ) -> None:
        if unknown or quant_method != METHOD:
            what = ", ".join(unknown) or quant_method
            raise CheckpointError(
                f"the quantization_config of the model has {what}, which this version of mho does "
                "not know: it knows hardware and layers."
            )
        values = [Hardware(**fields) for fields in hardware or ()]
        self.quant_method: Any = METHOD
        self.plan: Plan | None = None
        self.stored = {name: values[index] for name, index in (layers or {}).items()}
        self.model: Callable[[], nn.Module | None] = _nothing

    @classmethod
    def planned(cls, plan: Plan) -> "AnalogConfig":
        """Return the config of a model that is yet to be loaded and converted."""
        config = cls()
        config.plan = plan
        return config

    @classmethod
    def of_model(cls, model: nn.Module) -> "AnalogConfig":
        """Return the config of a converted model; it follows the model."""
        config = cls()
        config.model = weakref.ref(model)
        config.stored = dict(config.layers)  # what is known of it when it is gone
        return config

    @property
    def layers(self) -> dict[str, Hardware]:
        """Hardware of each analog layer, by name."""
        model = self.model()
        if model is None:
            return self.stored
        tuners = tuner_layers(model)
        return {
            plain_name(name, tuners): next(crossbar.hardware for _, crossbar in m.analog.by_path())
            for name, m in model.named_modules()
            if isinstance(m, Analog)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for `config.json`."""
        layers = self.layers
        values = list(dict.fromkeys(layers.values()))
        data = {
            "quant_method": METHOD,
            "hardware": [to_dict(value) for value in values],
            "layers": {name: values.index(value) for name, value in layers.items()},
        }
        return data if self.plan is None else {**data, "plan": repr(self.plan)}

    def get(self, key: str, default: Any = None) -> Any:
        """Return an item of `to_dict`: Transformers asks so, if given the config of a model."""
        return self.to_dict().get(key, default)

    def __iter__(self) -> Any:
        yield from self.to_dict().items()

    def __deepcopy__(self, memo: dict[int, Any]) -> "AnalogConfig":
        """Follow the copy of the model if that is being copied, else keep what is there now."""
        copied = type(self)()
        copied.plan = self.plan
        model = memo.get(id(self.model()))
        if isinstance(model, nn.Module):
            copied.model = weakref.ref(model)
        else:
            copied.stored = dict(self.layers)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "stored": dict(self.layers), "model": _nothing, "plan": None}


def _nothing() -> None:
    """There is no model to follow."""


register_quantization_config(METHOD)(AnalogConfig)
