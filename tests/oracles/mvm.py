"""The analog product, vector by vector, array by array and column by column, in float64.

Written from the order of operations of IBM's aihwkit (rpu_forward_backward_pass.cpp, IOParameters)
as its documentation and Rasch et al., Nat. Commun. 14:5282 (2023), Methods, describe it, with one
difference: the transfer curve belongs to the ADC, so it acts after the output noise. Signals are in
units of input range x weight scale. Noise of the cells is that of a weight matrix sampled anew for
every read; a read is one phase of one vector on one array.
"""

from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


@dataclass
class Effects:
    """What is on. Arrays are (row-slices, columns) unless said otherwise; None is off."""

    input_range: float | Array | str | None = None  # fixed, stored (row-slices,), or "per_token"
    dac_half_steps: int | None = None
    dac_stochastic: bool = False
    input_noise: float = 0.0
    input_asymmetry: float = 0.0
    scheme: str = "one_pass"  # positive_negative, positive_negative_digital, bit_serial
    slice_bits: int = 1
    ir_drop: float = 0.0
    wire_ratio: float = 1 / 0.35 / 5e-6
    voltage_offset: Array | None = None
    reference_weight: float = 0.0
    series_resistance: float = 0.0
    front_end: bool = False
    read_noise: float = 0.0
    read_noise_kind: str = "additive"  # or pcm
    output_noise: float = 0.0
    output_noise_factor: Array | None = None
    output_asymmetry: float = 0.0
    nonlinearity: float = 0.0
    nonlinearity_factor: Array | None = None
    slope_calibration: float = 0.0
    bound: float | Array | None = None
    adc_half_steps: int | None = None
    adc_stochastic: bool = False
    adc_gain: Array | None = None
    adc_offset: Array | None = None
    retry: bool = False
    extend: bool = False  # levels go on beyond the bound


@dataclass
class Matrix:
    """A weight matrix on its arrays, in the units of the model."""

    weight: Array  # (slices * out, rows)
    scale: Array  # (row-slices, slices * out)
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    significance: tuple[float, ...] = (1.0,)
    negative: Array | None = None  # weight as read by inputs of negative polarity
    gain: Array | None = None  # (out,), digital
    driver_gain: Array | None = None  # (arrays side by side, rows)
    driver_offset: Array | None = None
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))


def product(x: Array, m: Matrix, e: Effects, groups: int = 1) -> Array:
    """Outputs (vectors, out) of inputs (vectors, groups, rows)."""
    x = x.reshape(x.shape[0], groups, -1)
    out = m.weight.shape[0] // len(m.significance)
    y = np.zeros((x.shape[0], out))
    for n in range(x.shape[0]):
        for group in range(groups):
            mine = range(group * out // groups, (group + 1) * out // groups)
            for r, (first, last) in enumerate(_spans(m.rows)):
                piece = x[n, group, first:last]
                for c, (left, right) in enumerate(_spans(m.columns)):
                    outputs = [i for i in mine if left <= i < right]
                    if outputs:
                        y[n] += _array(piece, m, e, r, c, slice(first, last), outputs)
    return y


def _spans(sizes):
    ends = np.cumsum(sizes)
    return list(zip(ends - np.array(sizes), ends, strict=True))


def _array(x, m, e, r, c, rows, outputs):
    """One vector on one array, with bound management: what it adds to every output."""
    out = m.weight.shape[0] // len(m.significance)
    columns = [s * out + i for s in range(len(m.significance)) for i in outputs]
    alpha, largest = _input_range(x, e, r)
    factor = 1.0
    while True:
        v = _prepared(x / alpha, e, m, largest / alpha, factor)
        values, clipped = _reads(v, m, e, r, c, rows, columns)
        half = e.dac_half_steps
        exhausted = factor > 1000 or (half is not None and factor > 0.25 * half)
        if not (e.retry and clipped) or exhausted:
            break
        factor *= 2
    y = np.zeros(out)
    for column, value in zip(columns, values, strict=True):
        s, i = divmod(column, out)
        gain = 1.0 if m.gain is None else m.gain[i]
        y[i] += m.significance[s] * gain * m.scale[r, column] * alpha * factor * value
    return y


def _input_range(x, e, r):
    """The input driven at full scale, and the largest input that gets through to the scaling."""
    if e.input_range is None:
        return 1.0, np.inf
    if isinstance(e.input_range, str):
        return max(np.max(np.abs(x)), 1e-300), np.inf
    if isinstance(e.input_range, np.ndarray):  # a digital limit in front of the converters
        return e.input_range[r], e.input_range[r]
    return e.input_range, np.inf


def _prepared(x, e, m, limit, factor):
    """Drives: levels, limits, noise, asymmetry."""
    v = np.zeros(len(x))
    for j in range(len(x)):
        v[j] = min(max(x[j], -limit), limit) / factor
        if e.input_range is None:
            continue
        if e.dac_half_steps is not None:
            v[j] = _rounded(v[j] * e.dac_half_steps, e.dac_stochastic, m.rng) / e.dac_half_steps
        v[j] = min(max(v[j], -1.0), 1.0)
    return v if e.scheme == "bit_serial" else _driven(v, e, m)


def _driven(v, e, m):
    v = v.copy()
    for j in range(len(v)):
        if e.input_noise:
            v[j] += e.input_noise * m.rng.standard_normal()
        if v[j] < 0:
            v[j] *= 1 - e.input_asymmetry
    return v


def _rounded(code, stochastic, rng):
    return np.floor(code + rng.random()) if stochastic else np.rint(code)


def _reads(v, m, e, r, c, rows, columns):
    """Digital values of the columns, and whether any of them was clipped."""
    if e.scheme in ("one_pass", "positive_negative"):
        analog = np.zeros(len(columns))
        for sign, part in _polarities(v, e.scheme):
            for k, column in enumerate(columns):
                analog[k] += sign * _column(part, sign < 0, m, e, r, c, rows, column)
        return _converted(analog, m, e, r, columns)
    total, clipped = np.zeros(len(columns)), False
    phases = _digits(v, e, m) if e.scheme == "bit_serial" else _polarities(v, e.scheme)
    for factor, part in phases:
        negative = e.scheme != "bit_serial" and factor < 0
        analog = [_column(part, negative, m, e, r, c, rows, column) for column in columns]
        values, hit = _converted(np.array(analog), m, e, r, columns)
        total, clipped = total + factor * values, clipped or hit
    return total, clipped


def _polarities(v, scheme):
    return [(1, v)] if scheme == "one_pass" else [(1, np.maximum(v, 0)), (-1, np.maximum(-v, 0))]


def _digits(v, e, m):
    """Digits of the codes, least significant first, each driven at the amplitude digit/(B - 1)."""
    half, base = e.dac_half_steps, 2**e.slice_bits
    codes = [int(np.rint(value * half)) for value in v]
    phases, k = [], 0
    while base**k <= half:
        digits = np.array([np.sign(code) * (abs(code) // base**k % base) for code in codes])
        phases.append((base**k * (base - 1) / half, _driven(digits / (base - 1), e, m)))
        k += 1
    return phases


def _column(v, negative, m, e, r, c, rows, column):
    """Signal at the foot of one column."""
    if m.driver_gain is not None:
        v = v * (1 + m.driver_gain[c, rows])
    if m.driver_offset is not None:
        v = v + m.driver_offset[c, rows]
    matrix = m.negative if negative and m.negative is not None else m.weight
    w = matrix[column, rows] / m.scale[r, column]
    y = np.sum(w * v)
    if e.ir_drop:
        n = len(v)
        a = np.sum(np.abs(w) * np.abs(v)) * n / e.wire_ratio
        reach = 1 - (1 - np.arange(n) / n) ** 2
        y -= e.ir_drop * a * (a * (0.05 * a - 0.2) + 0.5) * np.sum(w * v * reach)
    if e.front_end:
        offset = 0.0 if e.voltage_offset is None else e.voltage_offset[r, column]
        reference, resistance = e.reference_weight * np.sum(v), e.series_resistance
        y = (1 - offset) * (y + reference) / (1 + resistance * abs(y + reference)) - (
            1 + offset
        ) * reference / (1 + resistance * abs(reference))
    if e.read_noise:
        std = np.sqrt(np.abs(w)) if e.read_noise_kind == "pcm" else 1.0
        y += np.sum(e.read_noise * std * m.rng.standard_normal(len(v)) * v)
    return y


def _converted(analog, m, e, r, columns):
    values, clipped = np.zeros(len(columns)), False
    for k, column in enumerate(columns):
        y = analog[k]
        if y < 0:
            y *= 1 - e.output_asymmetry
        factor = 1.0 if e.output_noise_factor is None else e.output_noise_factor[r, column]
        if e.output_noise:
            y += e.output_noise * factor * m.rng.standard_normal()
        values[k], hit = _adc(y, m, e, r, column)
        clipped = clipped or hit
    return values, clipped


def _adc(y, m, e, r, column):
    """Transfer curve, spread, levels and bound; a bound per column is that column's unit."""
    own = isinstance(e.bound, np.ndarray)
    unit, bound = (e.bound[r, column], 1.0) if own else (1.0, e.bound)
    y = y / unit
    if e.nonlinearity:
        strength = 1.0 if e.nonlinearity_factor is None else e.nonlinearity_factor[r, column]
        n = abs(e.nonlinearity / bound * strength)
        y = (1 + e.nonlinearity / bound * e.slope_calibration * bound) ** 2 * y / (1 + abs(n * y))
    if e.adc_gain is not None:
        y *= e.adc_gain[r, column]
    if e.adc_offset is not None:
        y += e.adc_offset[r, column] * (1.0 if bound is None else bound)
    if bound is None:
        return y, False
    if e.adc_half_steps is not None:
        step = bound / e.adc_half_steps
        y = _rounded(y / step, e.adc_stochastic, m.rng) * step
    if e.extend:
        return y * unit, False
    # A converter cannot tell its largest code from an overflow.
    return min(max(y, -bound), bound) * unit, abs(y) >= bound


def patches(x, kernel, stride, padding, dilation, mode="zeros"):
    """Vectors (batch * pixels, channels * positions) of a convolution, pixel by pixel."""
    names = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    x = np.pad(x, [(0, 0), (0, 0), *padding], mode=names[mode])
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    ]
    vectors = []
    for b in range(x.shape[0]):
        for pixel in np.ndindex(*sizes):
            spots = [
                tuple(p * s + k * d for p, s, k, d in zip(pixel, stride, at, dilation, strict=True))
                for at in np.ndindex(*kernel)
            ]
            vectors.append([x[(b, channel, *at)] for channel in range(x.shape[1]) for at in spots])
    return np.array(vectors), (x.shape[0], *sizes)


def transposed_patches(x, kernel, stride, padding, dilation, output_padding):
    """Vectors of a transposed convolution: which input pixels each output pixel receives."""
    sizes = [
        (n - 1) * s - sum(p) + d * (k - 1) + o + 1
        for n, k, s, p, d, o in zip(
            x.shape[2:], kernel, stride, padding, dilation, output_padding, strict=True
        )
    ]
    vectors = []
    for b in range(x.shape[0]):
        for pixel in np.ndindex(*sizes):
            vector = np.zeros((x.shape[1], *kernel))
            for at in np.ndindex(*kernel):
                steps = [
                    (p + before[0] - k * d, s)
                    for p, k, s, before, d in zip(pixel, at, stride, padding, dilation, strict=True)
                ]
                source = tuple(reach // s for reach, s in steps)
                exists = all(reach % s == 0 for reach, s in steps) and all(
                    0 <= i < n for i, n in zip(source, x.shape[2:], strict=True)
                )
                if exists:
                    vector[(slice(None), *at)] = x[(b, slice(None), *source)]
            vectors.append(vector.ravel())
    return np.array(vectors), (x.shape[0], *sizes)
