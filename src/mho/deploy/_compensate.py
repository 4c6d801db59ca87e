"""Digital corrections of a chip that has drifted."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import DataError, RangeError
from ..nn import Crossbar, Site
from ..ops import Stream
from ..tiles import Dense, Present
from ._batches import Forward
from ._columns import OF_COLUMNS, Line, correct_columns, visited
from ._model import native_digital, programmed

Method = Literal["none", "global", "global_exact", "column", "affine", "columns"]
METHODS = ("none", "global", "global_exact", "column", "affine", "columns")


def compensate(
    model: nn.Module,
    method: Method = "global",
    batches: Iterable[Any] | None = None,
    *,
    forward: Forward | None = None,
) -> nn.Module:
    """Set digital gains (and offsets) that undo what drift did to a programmed model, in place.

    For every weight matrix, with |.| averaged over one-hot inputs at full scale (random signs where
    drivers have one bit and are never off) read through the noisy arrays (Joshi et al., Nat.
    Commun. 11:2473, 2020, Methods):

    - `global`: one gain, <|y(just programmed)|> / <|y(now)|>.
    - `global_exact`: the same against the exact products of the digital weights.
    - `column`: a gain for each output.
    - `affine`: a gain and an offset for each output, the least-squares fit of the exact outputs to
      the arrays' outputs on `batches`; every layer sees the inputs of the digital model.
    - `columns`: the same fit for each physical column of each array: of the exact partial products
      of the weights, as the mapping rounds them and without circuits, to what its converter says,
      on `batches`, or without data on random inputs. It is kept until
      the model is programmed again or calibrated so anew; the other methods act on top of it, and
      `global` and `column` undo what drift did since then.
    - `none`: none of the other corrections.

    Digital units of an own arithmetic are left out meanwhile: the converters are read as they are.
    The correction is that of the present time; set the clock first, and call again after. Offsets
    belong to the ranges and bounds too, so that `mho.calibrate` takes them away again. Outputs
    that are read as exactly zero keep the gain 1, and so do layers that do not run on `batches`.

    Raises:
        LifecycleError: the model is not programmed.
        RangeError: an unknown method.
        DataError: `affine` without data, or data for a method that takes none.
    """
    if method not in METHODS:
        raise RangeError(f"unknown method {method!r}: use {', '.join(METHODS)}.")
    check_data(method, batches)
    found = programmed(model, "compensate")
    keys = ("gain", "offset", *(OF_COLUMNS if method == "columns" else ()))
    before = [{key: getattr(site.crossbar, key) for key in keys} for site in found]
    for site in found:
        for key in keys:
            setattr(site.crossbar, key, None)
    try:
        with native_digital(model):
            if method == "affine":
                _affine(model, found, batches, forward)  # pyright: ignore[reportArgumentType]
            elif method == "columns":
                correct_columns(model, found, batches, forward)
            elif method != "none":
                _by_read_out(found, method)
    except BaseException:
        for site, kept in zip(found, before, strict=True):
            for key, value in kept.items():
                setattr(site.crossbar, key, value)
        raise
    return model


def check_data(method: str, batches: Iterable[Any] | None) -> None:
    """Refuse a method without the data that it needs, or with data that it would ignore."""
    if method == "affine" and batches is None:
        raise DataError("compensate(model, 'affine', batches) needs data.")
    if method not in ("affine", "columns") and batches is not None:
        raise DataError(f"the compensation {method!r} takes no data; 'affine' and 'columns' do.")


@torch.no_grad()
def _by_read_out(found: list[Site], method: str) -> None:
    for site in found:
        crossbar = site.crossbar
        now = _read_out(crossbar, site.matrix)
        if method == "global_exact":
            digital = crossbar.digital(site.matrix)
            reference = _probe(crossbar, lambda x, w=digital: x @ w.to(x.dtype).T)
        else:
            # Columns that were calibrated later have no drift up to then left in them.
            since = crossbar.column_seconds
            present = crossbar.present_at(0.0 if since is None else float(since))
            reference = _read_out(crossbar, site.matrix, present)
        if method != "column":
            reference, now = (y.mean().expand(y.shape) for y in (reference, now))
        # An output that is read as exactly zero tells nothing about its drift.
        crossbar.gain = torch.where((reference > 0) & (now > 0), reference / now, 1.0)


def _read_out(crossbar: Crossbar, weight: Tensor, present: Present | None = None) -> Tensor:
    """Mean |y| of each output over one-hot inputs at full scale, through arrays and columns."""
    geometry = crossbar.geometry
    flat = Dense(geometry.out, geometry.partition, geometry.slices)
    weight = weight.float()
    operand = crossbar.operand(weight, present)
    return _probe(crossbar, lambda x: crossbar(x, weight, flat, operand))


def _probe(crossbar: Crossbar, product: Callable[[Tensor], Tensor]) -> Tensor:
    rows, amplitude = crossbar.geometry.rows, crossbar.full_scale()  # (rows,)
    total = amplitude.new_zeros(crossbar.geometry.out)
    for start in range(0, rows, 512):
        part = amplitude[start : start + 512]
        if crossbar.hardware.dac.bits == 1:
            sign = Stream(0, crossbar.tile).uniform("read-out", (len(part), rows), start) < 0.5
            total += product(torch.where(sign.to(part.device), amplitude, -amplitude)).abs().sum(0)
            continue
        x = part.new_zeros(len(part), rows)
        x[:, start : start + len(part)] = torch.diag(part)
        total += (product(x).abs() / part[:, None]).sum(0)
    return total / rows


def _affine(
    model: nn.Module, found: list[Site], batches: Iterable[Any], forward: Forward | None
) -> None:
    fits = {id(site.crossbar): _Fit(site) for site in found}
    for site in visited(model, found, fits, batches, forward):
        device, solved = site.weight.device, fits[id(site.crossbar)].line.solution()
        site.crossbar.gain, site.crossbar.offset = (value.to(device) for value in solved)


class _Fit:
    """The regression exact = gain * analog + offset of each output."""

    def __init__(self, site: Site) -> None:
        self.geometry = site.crossbar.geometry
        self.line = Line((self.geometry.out,))

    def __call__(self, crossbar: Crossbar, args: tuple[Any, ...], analog: Tensor) -> Tensor:
        """Compare one product with the exact one, and hand the exact one on."""
        exact = crossbar.exact(*args[:3])  # the geometry too, where it depends on the call
        self.line.see(self.geometry.by_output(analog), self.geometry.by_output(exact))  # (N, out)
        return exact
