"""Fused paths of torch that read weights past a layer's forward: switched off, and on again."""

from torch import nn

from ._layer import Analog

MARK = "_mho_fast_path"


def switch_off(model: nn.Module) -> list[str]:
    """Switch off the fused encoder paths of transformers that contain analog layers.

    In eval mode torch runs an encoder layer as one kernel that takes the raw weights. The kernel is
    skipped when the layer does not name ReLU or GELU as its activation; its result is unchanged.
    """
    notes = []
    for name, module in model.named_modules():
        if hasattr(module, MARK) or not any(isinstance(m, Analog) for m in module.modules()):
            continue
        if isinstance(module, nn.TransformerEncoderLayer):
            setattr(module, MARK, module.activation_relu_or_gelu)
            module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            setattr(module, MARK, module.use_nested_tensor)
            module.use_nested_tensor = False
        else:
            continue
        notes.append(
            f"{name or '(root)'}: the fused path of {type(module).__name__} is switched off."
        )
    return notes


def switch_on(model: nn.Module) -> None:
    """Undo `switch_off`."""
    for module in model.modules():
        if not hasattr(module, MARK):
            continue
        kept = getattr(module, MARK)
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = kept
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = kept
        delattr(module, MARK)
