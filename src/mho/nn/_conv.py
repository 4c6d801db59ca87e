"""The analog convolutions, in 1 to 3 dimensions, and their transposes."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from ..tiles import Convolution, Geometry, Hardware
from ._layer import Analog, biased, partition_of


def _geometry(module: Any, hardware: Hardware, transposed: bool) -> Convolution:
    channels, groups, kernel = module.in_channels, module.groups, module.kernel_size
    positions = 1
    for size in kernel:
        positions *= size
    if transposed:
        padding = tuple((p, p) for p in module.padding)
    else:  # torch keeps the resolved padding ('same' included) last dimension first
        flat = module._reversed_padding_repeated_twice
        padding = tuple((flat[i], flat[i + 1]) for i in range(len(flat) - 2, -1, -2))
    rows = channels // groups * positions
    return Convolution(
        out=module.out_channels,
        partition=partition_of(module.out_channels, rows, hardware, positions),
        slices=len(hardware.mapping.significance),
        kernel=tuple(kernel),
        stride=tuple(module.stride),
        padding=padding,
        dilation=tuple(module.dilation),
        groups=groups,
        mode=module.padding_mode,
        transposed=transposed,
        output_padding=tuple(module.output_padding),
    )


class _Conv(Analog):
    """A convolution: the rows of its matrix are (input channel of the group, kernel position)."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make a digital layer: PEFT makes adapters of a convolution by calling its class.

        A copy, which is made without arguments, is analog.
        """
        return cls.digital(*args, **kwargs) if args or kwargs else super().__new__(cls)

    @staticmethod
    def layouts(module: nn.Module, hardware: Hardware) -> dict[str, Geometry]:
        """See `Analog.layouts`."""
        return {"weight": _geometry(module, hardware, transposed=False)}

    @staticmethod
    def to_matrix(weight: Tensor, geometry: Geometry) -> Tensor:
        """(out, in / groups, *kernel) -> (out, rows)."""
        return weight.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, ...) or (in_channels, ...) to the same with out_channels."""
        crossbar, layer = self.analog["weight"], _as_any(self)
        if crossbar.transparent:
            return layer.digital.forward(layer, x)
        batched = x.dim() == len(layer.kernel_size) + 2
        given = x if batched else x.unsqueeze(0)
        y = biased(crossbar, given, layer.weight.flatten(1), layer.bias)
        return y if batched else y.squeeze(0)


class _ConvTranspose(Analog):
    """A transposed convolution; its weight has the input channels first."""

    @staticmethod
    def layouts(module: nn.Module, hardware: Hardware) -> dict[str, Geometry]:
        """See `Analog.layouts`."""
        return {"weight": _geometry(module, hardware, transposed=True)}

    @staticmethod
    def to_matrix(weight: Tensor, geometry: Geometry) -> Tensor:
        """(in, out / groups, *kernel) -> (out, rows)."""
        groups = _as_any(geometry).groups
        return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flatten(1)

    @staticmethod
    def from_matrix(matrix: Tensor, like: Tensor, geometry: Geometry) -> Tensor:
        """(out, rows) -> (in, out / groups, *kernel)."""
        groups = _as_any(geometry).groups
        per_group = matrix.reshape(groups, like.shape[1], like.shape[0] // groups, *like.shape[2:])
        return per_group.transpose(1, 2).reshape(like.shape)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (batch, in_channels, ...) or (in_channels, ...) to the same with out_channels."""
        crossbar, layer = self.analog["weight"], _as_any(self)
        if crossbar.transparent:
            return layer.digital.forward(layer, x, output_size)
        geometry, kernel = crossbar.geometry, layer.kernel_size
        if output_size is not None:
            shape = (layer.stride, layer.padding, kernel, len(kernel), layer.dilation)
            extra = layer._output_padding(x, output_size, *shape)
            geometry = replace(_as_any(geometry), output_padding=tuple(extra))
        batched = x.dim() == len(kernel) + 2
        weight = self.to_matrix(layer.weight, geometry)
        given = x if batched else x.unsqueeze(0)
        y = biased(crossbar, given, weight, layer.bias, geometry)
        return y if batched else y.squeeze(0)


def _as_any(value: Any) -> Any:
    """The mixins below do not name the torch class that they are mixed into."""
    return value


class AnalogConv1d(_Conv, nn.Conv1d):
    """`torch.nn.Conv1d` on arrays."""

    digital = nn.Conv1d


class AnalogConv2d(_Conv, nn.Conv2d):
    """`torch.nn.Conv2d` on arrays."""

    digital = nn.Conv2d


class AnalogConv3d(_Conv, nn.Conv3d):
    """`torch.nn.Conv3d` on arrays."""

    digital = nn.Conv3d


class AnalogConvTranspose1d(_ConvTranspose, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` on arrays."""

    digital = nn.ConvTranspose1d


class AnalogConvTranspose2d(_ConvTranspose, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` on arrays."""

    digital = nn.ConvTranspose2d


class AnalogConvTranspose3d(_ConvTranspose, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` on arrays."""

    digital = nn.ConvTranspose3d
