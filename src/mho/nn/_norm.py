"""Batch norm that divides by a mean absolute deviation, or by the largest deviations."""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import DataError, RangeError


class _ScaledBatchNorm(_BatchNorm):
    """y = gamma (x - mu) / sqrt(s^2 + eps) + beta with a scale s that a subclass defines.

    In training, mu and s are those of the batch, per channel (dimension 1). `running_mean` and
    `running_var` average mu and n/(n - 1) s^2, with momentum as in torch (running = (1 - momentum)
    running + momentum new, and the plain average for None), where n is the number of values per
    channel. In eval mode the layer is therefore torch's batch norm with the same state dict, and
    whatever folds or exports that one does the same here.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise DataError(
                f"{type(self).__name__}: expected (batch, {self.num_features}, ...), got "
                f"{tuple(input.shape)}."
            )

    @abstractmethod
    def squared_scale(self, deviation: Tensor) -> Tensor:
        """Return s^2 of each channel, (channels,), from x - mu as (channels, n)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (batch, channels, ...)."""
        tracked = self.running_mean is not None and self.running_var is not None
        if not self.training and tracked:
            return super().forward(input)
        self._check_input_dim(input)
        n = input.numel() // max(input.shape[1], 1)
        if n < 2:
            raise DataError(
                f"{type(self).__name__}: {n} value per channel in training, at least 2 are needed: "
                "use larger batches, or model.eval()."
            )
        x = input if input.dtype == torch.float64 else input.float()
        shape = (1, -1, *[1] * (x.dim() - 2))
        mean = x.transpose(0, 1).flatten(1).mean(1)
        centered = x - mean.reshape(shape)
        squared = self.squared_scale(centered.transpose(0, 1).flatten(1))
        if self.training and tracked:
            self._track(mean.detach(), squared.detach() * (n / (n - 1)))
        factor = torch.rsqrt(squared + self.eps)
        y = centered * (factor if self.weight is None else factor * self.weight).reshape(shape)
        y = y if self.bias is None else y + self.bias.reshape(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, squared_scale: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        share = 1 / self.num_batches_tracked if momentum is None else momentum
        for running, new in ((self.running_mean, mean), (self.running_var, squared_scale)):
            running.add_((new.to(running.dtype) - running) * share)


class L1BatchNorm(_ScaledBatchNorm):
    """Batch norm by the mean absolute deviation, s = sqrt(pi/2) mean|x - mu|.

    With sqrt(pi/2), s is the standard deviation where x is Gaussian. There are no squares over the
    batch, so that a fixed-point unit beside the array can find the statistics. A drop-in for
    `torch.nn.BatchNorm1d` and `BatchNorm2d`: same arguments and state-dict keys. The running
    statistics average mu and n/(n - 1) s^2 in torch's convention, with n values per channel; in
    eval mode the layer is torch's batch norm. Sources: Hoffer et al., arXiv 1803.01814 (2018); Wu
    et al., arXiv 1802.09769 (2018); there eps is added to s.

    Args:
        num_features: channels.
        p: exponent of the general form s = c_p (mean|x - mu|^p)^(1/p), with c_p such that s is the
            standard deviation of a Gaussian; 2 is torch's batch norm.
        eps: added to s^2.
        momentum: of the running statistics, in torch's convention.
        affine: whether there are gamma and beta.
        track_running_stats: whether there are running statistics.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        RangeError: p is below 1.
        DataError: an input of another shape, or fewer than 2 values per channel in training.
    """

    def __init__(self, num_features: int, *args: Any, p: float = 1.0, **kwargs: Any) -> None:
        super().__init__(num_features, *args, **kwargs)
        if not 1 <= p < math.inf:
            raise RangeError(f"p must be a finite number of at least 1, got {p!r}.")
        self.p = p
        # E|xi|^p = 2^(p/2) Gamma((p + 1)/2) / sqrt(pi) for standard normal xi.
        moment = 2 ** (p / 2) * math.gamma((p + 1) / 2) / math.sqrt(math.pi)
        self.constant = moment ** (-1 / p)

    def squared_scale(self, deviation: Tensor) -> Tensor:
        """Return s^2 of each channel."""
        moment = deviation.abs().pow(self.p).mean(1)
        if self.p > 2:  # the root of a channel of zeros has no finite gradient
            moment = moment.clamp(min=torch.finfo(moment.dtype).tiny)
        return self.constant**2 * moment.pow(2 / self.p)


class TopKBatchNorm(_ScaledBatchNorm):
    """Batch norm by the mean of the k largest deviations, s = c_n mean(top-k of |x - mu|).

    c_n = (1 + sqrt(pi ln 4)) / (2 sqrt(2 ln n)) with n values per channel. For a Gaussian x, s is
    not the standard deviation but 1.2 to 1.5 of it, depending on k and n: gamma takes that up.
    A drop-in for `torch.nn.BatchNorm1d` and `BatchNorm2d`: same arguments and state-dict keys. The
    running statistics average mu and n/(n - 1) s^2 in torch's convention; in eval mode the layer is
    torch's batch norm. Source: Hoffer et al., arXiv 1803.01814 (2018), and their published code,
    which adds eps to s and averages 1/s.

    Args:
        num_features: channels.
        k: deviations that are averaged; 1 is the largest one alone.
        eps: added to s^2.
        momentum: of the running statistics, in torch's convention.
        affine: whether there are gamma and beta.
        track_running_stats: whether there are running statistics.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        RangeError: k is not a whole number of at least 1.
        DataError: an input of another shape, or fewer than max(2, k) values per channel.
    """

    def __init__(self, num_features: int, *args: Any, k: int = 10, **kwargs: Any) -> None:
        super().__init__(num_features, *args, **kwargs)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise RangeError(f"k must be a whole number of at least 1, got {k!r}.")
        self.k = k

    def squared_scale(self, deviation: Tensor) -> Tensor:
        """Return s^2 of each channel."""
        n = deviation.shape[1]
        if n < self.k:
            raise DataError(
                f"TopKBatchNorm: {n} values per channel are fewer than k = {self.k}: use larger "
                "batches or a smaller k."
            )
        constant = (1 + math.sqrt(math.pi * math.log(4))) / (2 * math.sqrt(2 * math.log(n)))
        return (constant * deviation.abs().topk(self.k, dim=1).values.mean(1)).square()
