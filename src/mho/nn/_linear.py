"""The analog linear layer."""

from torch import Tensor, nn

from ._layer import Analog, biased


class AnalogLinear(Analog, nn.Linear):
    """`torch.nn.Linear` on arrays: y = analog(W, x) + b, with the bias added digitally."""

    digital = nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        crossbar = self.analog["weight"]
        if crossbar.transparent:
            return nn.Linear.forward(self, x)
        return biased(crossbar, x, self.weight, self.bias)
