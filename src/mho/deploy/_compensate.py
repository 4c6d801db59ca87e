"""Digital corrections of a chip that has drifted."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import DataError, RangeError
from ..nn import Crossbar, Site
from ..tiles import Dense, Present, mvm
from ._batches import Forward, run
from ._model import evaluating, programmed

Method = Literal["none", "global", "global_exact", "column", "affine"]
METHODS = ("none", "global", "global_exact", "column", "affine")


def compensate(
    model: nn.Module,
    method: Method = "global",
    batches: Iterable[Any] | None = None,
    *,
    forward: Forward | None = None,
) -> nn.Module:
    """Set digital gains (and offsets) that undo what drift did to a programmed model, in place.

    For every weight matrix, with |.| averaged over one-hot inputs at full scale read through the
    noisy arrays (Joshi et al., Nat. Commun. 11:2473, 2020, Methods):

    - `global`: one gain, <|y(just programmed)|> / <|y(now)|>.
    - `global_exact`: the same against the exact products of the digital weights.
    - `column`: a gain for each output.
    - `affine`: a gain and an offset for each output, the least-squares fit of the exact outputs to
      the arrays' outputs on `batches`; every layer sees the inputs of the digital model.
    - `none`: no correction.

    The correction is that of the present time; set the clock first, and call again after. Outputs
    that are read as exactly zero keep the gain 1, and so do layers that do not run on `batches`.

    Raises:
        LifecycleError: the model is not programmed.
        RangeError: an unknown method.
        DataError: `affine` without data, or data for another method.
    """
    if method not in METHODS:
        raise RangeError(f"unknown method {method!r}: use {', '.join(METHODS)}.")
    if (method == "affine") != (batches is not None):
        raise DataError(
            "compensate(model, 'affine', batches) needs data; the other methods take none."
        )
    found = programmed(model, "compensate")
    before = [(site.crossbar.gain, site.crossbar.offset) for site in found]
    for site in found:
        site.crossbar.gain = site.crossbar.offset = None
    try:
        if method == "affine":
            _affine(model, found, batches, forward)  # pyright: ignore[reportArgumentType]
        elif method != "none":
            _by_read_out(found, method)
    except BaseException:
        for site, (gain, offset) in zip(found, before, strict=True):
            site.crossbar.gain, site.crossbar.offset = gain, offset
        raise
    return model


@torch.no_grad()
def _by_read_out(found: list[Site], method: str) -> None:
    for site in found:
        crossbar = site.crossbar
        now = _read_out(crossbar, site.matrix)
        if method == "global_exact":
            digital = crossbar.digital(site.matrix)
            reference = _probe(crossbar, lambda x, w=digital: x @ w.to(x.dtype).T)
        else:
            reference = _read_out(crossbar, site.matrix, crossbar.present_at(0.0))
        if method != "column":
            reference, now = (y.mean().expand(y.shape) for y in (reference, now))
        # An output that is read as exactly zero tells nothing about its drift.
        crossbar.gain = torch.where((reference > 0) & (now > 0), reference / now, 1.0)


def _read_out(crossbar: Crossbar, weight: Tensor, present: Present | None = None) -> Tensor:
    """Mean |y| of each output over one-hot inputs at full scale, through the arrays."""
    geometry = crossbar.geometry
    flat = Dense(geometry.out, geometry.partition, geometry.slices)
    operand = crossbar.operand(weight.float(), present)
    return _probe(crossbar, lambda x: mvm(x, operand, crossbar.hardware, flat))


def _probe(crossbar: Crossbar, product: Callable[[Tensor], Tensor]) -> Tensor:
    rows, amplitude = crossbar.geometry.rows, crossbar.full_scale()  # (rows,)
    total = amplitude.new_zeros(crossbar.geometry.out)
    for start in range(0, rows, 512):
        part = amplitude[start : start + 512]
        x = part.new_zeros(len(part), rows)
        x[:, start : start + len(part)] = torch.diag(part)
        total += (product(x).abs() / part[:, None]).sum(0)
    return total / rows


def _affine(
    model: nn.Module, found: list[Site], batches: Iterable[Any], forward: Forward | None
) -> None:
    fits = {id(site.crossbar): _Fit(site) for site in found}
    handles = [site.crossbar.register_forward_hook(fits[id(site.crossbar)]) for site in found]
    try:
        with evaluating(model):
            run(model, batches, forward, "compensating")
    finally:
        for handle in handles:
            handle.remove()
    unreached = [site.name for site in found if not fits[id(site.crossbar)].reached]
    if unreached:
        warnings.warn(
            f"never ran on this data, so left without correction: {', '.join(unreached)}",
            stacklevel=3,
        )
    for site in found:
        if site.name not in unreached:
            device, solved = site.weight.device, fits[id(site.crossbar)].solution()
            site.crossbar.gain, site.crossbar.offset = (value.to(device) for value in solved)


class _Fit:
    """Sums for the regression exact = gain * analog + offset of each output."""

    def __init__(self, site: Site) -> None:
        self.geometry = site.crossbar.geometry
        self.sums = torch.zeros(5, self.geometry.out, dtype=torch.float64)

    def __call__(self, crossbar: Crossbar, args: tuple[Any, ...], analog: Tensor) -> Tensor:
        """Compare one product with the exact one, and hand the exact one on."""
        exact = crossbar.exact(*args[:3])  # the geometry too, where it depends on the call
        a, e = (self.geometry.by_output(y).double().cpu() for y in (analog, exact))  # (N, out)
        parts = (torch.full_like(a, 1.0), a, e, a * a, a * e)
        self.sums += torch.stack([part.sum(0) for part in parts])
        return exact

    @property
    def reached(self) -> bool:
        """Whether the layer ran."""
        return bool(self.sums[0].any())

    def solution(self) -> tuple[Tensor, Tensor]:
        """Gain and offset of each output; gain 1 where the arrays' output never changed."""
        n, a, e, aa, ae = self.sums
        variance, covariance = aa - a * a / n, ae - a * e / n
        gain = torch.where(variance > 1e-12 * aa, covariance / variance, 1.0)
        return gain.float(), ((e - gain * a) / n).float()
