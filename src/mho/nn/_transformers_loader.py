"""How Transformers loads a converted model, or converts one while it loads it."""

from collections.abc import Iterator
from typing import Any

from transformers.quantizers.auto import register_quantizer  # pyright: ignore[reportMissingImports]
from transformers.quantizers.base import HfQuantizer  # pyright: ignore[reportMissingImports]

from ..errors import ConversionError, DataError
from ..ops import all_finite
from ..spec import Predicate, Rules
from ..tiles import Hardware
from ._convert import convert
from ._layer import sites
from ._transformers import note
from ._transformers_config import METHOD, AnalogConfig
from ._transformers_files import load_arrays


@register_quantizer(METHOD)
class AnalogLoader(HfQuantizer):
    """Converts the empty model, lets Transformers fill in the weights, then loads the arrays."""

    quantization_config: AnalogConfig

    def _process_model_before_weight_loading(
        self, model: Any, checkpoint_files: list[str] | None = None, **_: Any
    ) -> Any:
        config = self.quantization_config
        self.files, self.layers = list(checkpoint_files or ()), dict(config.layers)
        if config.plan is not None and not self.pre_quantized:
            plan = config.plan
            convert(model, plan.hardware, where=plan.where, strict=plan.strict)
        elif here := dict(_present(self.layers, model)):
            convert(model, _exactly(here), strict=True)
        if self.files:  # else Transformers reports what it cannot place
            model._keys_to_ignore_on_load_unexpected.add(r"\.analog\.\w+\.")
        return model

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        for site in sites(model):
            if site.weight.is_meta:
                raise ConversionError(
                    f"{site.name} was left on disk or in another memory by the device_map: a "
                    "converted model needs all of its weights where it computes."
                )
            if not all_finite(site.weight):
                raise DataError(f"{site.name} has values that are not finite.")
        load_arrays(model, self.files, self.layers)
        # From here on the model is what mho.convert makes: trainable, castable, with no loader.
        self.remove_quantization_config(model)
        for module in model.modules():
            if hasattr(getattr(module, "config", None), "_is_quantized"):
                del module.config._is_quantized
        note(model)
        return model

    def is_serializable(self) -> bool:
        """Tell whether the model can be saved."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Whether the model can be trained."""
        return True


def _present(layers: dict[str, Hardware], model: Any) -> Iterator[tuple[str, Hardware]]:
    """Yield those of the saved layers that this model has, a model with or without a head."""
    names = {name for name, _ in model.named_modules()}
    prefix = f"{model.base_model_prefix}."
    for name, hardware in layers.items():
        for here in (name, name.removeprefix(prefix), prefix + name):
            if here in names:
                yield here, hardware
                break


def _exactly(layers: dict[str, Hardware]) -> Rules[Hardware]:
    def one(wanted: Hardware) -> Predicate:
        names = {name for name, hardware in layers.items() if hardware == wanted}
        return Predicate(lambda name, _: name in names, f"{len(names)} saved layers")

    return Rules([(one(hardware), hardware) for hardware in dict.fromkeys(layers.values())])
