"""Architectures of converters: codes against literal searches, laws, statistics, bad input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mho
from mho.circuits import (
    Cyclic,
    MeasuredThresholds,
    OscillatorCounter,
    OwnNumbers,
    Pipeline,
    SharedRamp,
    SuccessiveApproximation,
    UniformLevels,
)
from mho.errors import SpecError
from mho.ops import Stream
from mho.tiles import conversion
from oracles import converters as oracle

BITS = 5
HALF = 15
SIGNALS = torch.linspace(-19.03, 19.07, 1301, dtype=torch.float64)
IDEAL = [k - 0.5 for k in range(-HALF + 1, HALF + 1)]


class Alike:
    """Draws for a few converters of one array."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self.stream = count, Stream(seed, "test")

    def normal(self, purpose, *size, per=None):
        groups = 1 if per == "array" else -(-self.count // (per or 1))
        owner = torch.arange(self.count) // (self.count if per == "array" else per or 1)
        return self.stream.normal(purpose, (1, groups, *size))[:, owner]

    def uniform(self, purpose):
        return self.stream.uniform(purpose, (1, self.count))

    def position(self):
        return torch.arange(self.count)[None]


def codes(converter, own=None, half=HALF):
    """Codes (converters, signals) of every converter."""
    if own is None:
        return converter.codes(SIGNALS, half, None)[None]
    numbers = OwnNumbers(own[0].double(), torch.arange(own.shape[1])[:, None])
    return converter.codes(SIGNALS.expand(own.shape[1], -1), half, numbers)


def expected(function, rows):
    return torch.tensor([[function(z, row) for z in SIGNALS.tolist()] for row in rows]).double()


# ---- nominal -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "converter",
    [UniformLevels(), SuccessiveApproximation(), SharedRamp(), Pipeline(), Cyclic(),
     MeasuredThresholds(thresholds=[t / HALF for t in IDEAL]),
     MeasuredThresholds(thresholds=[t / HALF for t in (-HALF - 0.5, -HALF + 0.5, *IDEAL[1:])])],
    ids=lambda c: c.kind,
)  # fmt: skip
def test_without_errors_every_architecture_rounds(converter):
    """The signals are no ties."""
    assert torch.equal(codes(converter)[0], SIGNALS.round().clamp(-HALF, HALF))


@given(st.integers(2, 12), st.floats(-1.2, 1.2))
def test_binary_architectures_of_any_resolution(bits, u):
    half = 2 ** (bits - 1) - 1
    z = torch.tensor([u * half], dtype=torch.float64)
    nearest = z.round().clamp(-half, half)
    tie = abs(abs(float(z) % 1) - 0.5) < 1e-6
    for converter in (SuccessiveApproximation(), Pipeline(), Cyclic()):
        code = converter.codes(z, half, None)
        assert tie or torch.equal(code, nearest)


def test_no_converter_and_uniform_are_one_adc():
    """Bit for bit, with curve, gain, offset and noise."""
    fields = {"bits": 6, "bound": 3.0, "transfer": "compressive", "gain_spread": 0.1}
    u = torch.linspace(-1.4, 1.4, 999)[:, None].repeat(1, 4)
    for source in (None, Stream(1, "chip")):
        plain = conversion(mho.ADC(**fields), 4, source)(u)
        real = conversion(mho.ADC(**fields, converter="uniform"), 4, source)(u)
        # Products of gains are rounded in another order, which matters at a tie only.
        assert ((plain - real).abs() <= 1).all()
        assert (plain != real).double().mean() < 1e-3


# ---- errors --------------------------------------------------------------------------------------


def test_uniform_thresholds_with_errors_are_counted():
    converter = UniformLevels(dnl=0.4, inl=1.0)
    own = converter.draw(Alike(3), HALF)
    assert (own.diff() >= 0).all()
    want = expected(lambda z, t: oracle.counted(z, t, HALF), own[0].tolist())
    assert torch.equal(codes(converter, own), want)


@pytest.mark.parametrize("dnl", [0.1, 0.3])
def test_threshold_errors_have_the_asked_spread(dnl):
    """n thresholds: the std within 5 standard errors, sigma / sqrt(2n). Unsorted by their mean."""
    count = 400
    own = UniformLevels(dnl=dnl).draw(Alike(count), HALF)[0]
    error = own.mean(1) - torch.tensor(IDEAL).mean()  # sorting keeps the mean of a converter
    n = 2 * HALF
    sigma = dnl / math.sqrt(n)
    assert abs(float(error.std()) - sigma) < 5 * sigma / math.sqrt(2 * count)


def test_bit_weights_are_tried_from_the_largest():
    converter = SuccessiveApproximation(weight_spread=0.1)
    own = converter.draw(Alike(4), HALF)
    want = expected(lambda z, w: oracle.successive(z, w, HALF), own[0].tolist())
    assert torch.equal(codes(converter, own), want)


def test_a_heavy_msb_has_a_wide_code_below_it_and_a_light_one_skips_codes():
    """w_4 = 18: code 15 is 3 steps wide; w_4 = 14: code 16 begins where 14 was."""
    heavy = SuccessiveApproximation(weights=(1, 2, 4, 8, 18))
    light = SuccessiveApproximation(weights=(1, 2, 4, 8, 14))
    wide = SIGNALS[codes(heavy)[0] == -1]
    assert float(wide.max() - wide.min()) == pytest.approx(3, abs=0.06)
    skipped = set(range(-HALF, HALF + 1)) - set(codes(light)[0].int().tolist())
    assert skipped == {-1, -2}


@pytest.mark.parametrize("fields", [{"weight_spread": 0.02}, {"unit_spread": 0.08}])
def test_the_spread_of_bit_weights(fields):
    """std(eps_k) = sigma, or sigma_u / sqrt(2^k), each within 5 standard errors."""
    count = 2000
    own = SuccessiveApproximation(**fields).draw(Alike(count), HALF)[0]
    for k in range(BITS):
        sigma = fields.get("weight_spread") or fields["unit_spread"] / 2 ** (k / 2)
        found = float((own[:, k] / 2**k - 1).std())
        assert abs(found - sigma) < 5 * sigma / math.sqrt(2 * count)


def test_a_ramp_is_shared_and_comparators_are_not():
    converter = SharedRamp(dnl=0.2, inl=1.0, comparator_spread=0.7)
    own = converter.draw(Alike(6), HALF)[0]
    apart = own - own[0]
    assert float((apart - apart[:, :1]).abs().max()) < 1e-5  # the same ramp, moved
    assert float(apart[1:, 0].abs().min()) > 0.01
    pairs = SharedRamp(dnl=0.2, columns_per_ramp=2).draw(Alike(6), HALF)[0]
    assert torch.equal(pairs[0], pairs[1])
    assert not torch.equal(pairs[1], pairs[2])
    want = expected(lambda z, t: oracle.counted(z, t, HALF), own.tolist())
    assert torch.equal(codes(converter, own[None]), want)


@pytest.mark.parametrize("kind", [Pipeline, Cyclic])
def test_stages_amplify_residues(kind):
    converter = kind(gain_error=-0.02, gain_spread=0.02, comparator_spread=0.1)
    own = converter.draw(Alike(4), HALF)
    stages = BITS - 1

    def search(z, row):
        if kind is Cyclic:
            gains, offsets = [row[0]] * stages, [row[1:]] * (stages + 1)
        else:
            gains = row[:stages]
            offsets = [row[stages + 2 * k : stages + 2 * k + 2] for k in range(stages + 1)]
        return oracle.staged(z, gains, offsets, HALF)

    assert torch.equal(codes(converter, own), expected(search, own[0].tolist()))


def test_overlapping_digits_forgive_comparators():
    """Offsets below 1/4 in all stages but the last change no code; a gain error does."""
    ideal = Pipeline().nominal(HALF).double()
    moved = ideal.clone()
    stages = BITS - 1
    moved[stages:-2] += 0.24 * torch.tensor([1.0, -1.0] * stages, dtype=torch.float64)
    same = codes(Pipeline(), moved[None, None])[0]
    assert torch.equal(same, codes(Pipeline())[0])
    assert not torch.equal(codes(Pipeline(gain_error=-0.1))[0], same)


@pytest.mark.parametrize("polarity", ["two_counters", "offset"])
def test_a_counter_floors(polarity):
    converter = OscillatorCounter(polarity=polarity)
    want = [oracle.cycles(z, HALF, polarity) for z in SIGNALS.tolist()]
    assert codes(converter)[0].tolist() == want


@pytest.mark.parametrize("z", [0.0, 0.3, 3.7, -2.4, 9.99])
def test_a_free_oscillator_counts_the_signal_in_the_mean(z):
    """floor(|z| + U): mean |z|, variance f (1 - f) of its fraction f; 5 standard errors."""
    n = 100_000
    torch.manual_seed(3)
    count = OscillatorCounter(phase="free").codes(
        torch.full((n,), z, dtype=torch.float64), HALF, None
    )
    f = abs(z) % 1
    assert abs(float(count.mean()) - z) <= 5 * math.sqrt(f * (1 - f) / n) + 1e-12


def test_jitter_grows_with_the_root_of_the_count():
    """Rounding adds a variance of 1/6 (phase and floor); std within 5 standard errors."""
    n, z, jitter = 100_000, 800.3, 0.05
    torch.manual_seed(4)
    counter = OscillatorCounter(phase="free", jitter=jitter)
    count = counter.codes(torch.full((n,), z, dtype=torch.float64), 1023, None)
    # floor(x + U) with x spread over many steps: E of f (1 - f) over a uniform fraction is 1/6.
    variance = jitter**2 * z + 1 / 6
    assert abs(float(count.var()) - variance) < 5 * variance * math.sqrt(2 / n)


def test_measured_converters_are_assigned_in_order_or_by_chance():
    lines = [[t / HALF + 0.1 * c for t in IDEAL] for c in range(3)]
    in_order = MeasuredThresholds(thresholds=lines).draw(Alike(7), HALF)[0]
    first = in_order[:, 0] - in_order[0, 0]
    assert (first / (0.1 * HALF)).round().tolist() == [0, 1, 2, 0, 1, 2, 0]
    chance = MeasuredThresholds(thresholds=lines, assigned="by_chance")
    which = ((chance.draw(Alike(900), HALF)[0][:, 0] - in_order[0, 0]) / 1.5).round().long()
    counts = which.bincount(minlength=3)
    assert (abs(counts - 300) < 5 * math.sqrt(900 * 2 / 9)).all()
    mean = MeasuredThresholds(thresholds=lines).nominal(HALF)
    assert torch.allclose(mean, in_order[1])


def test_noise_of_a_conversion():
    """Without levels near: the mean code of a signal is the signal, its variance noise^2 + 1/12."""
    n, noise = 50_000, 2.0
    adc = mho.ADC(bits=8, bound=1.0, converter={"kind": "sar", "noise": noise})
    torch.manual_seed(5)
    found = conversion(adc, 1, None)(torch.full((n, 1), 20.3 / 127, dtype=torch.float64))
    variance = noise**2 + 1 / 12
    assert abs(float(found.mean()) - 20.3) < 5 * math.sqrt(variance / n)
    assert abs(float(found.var()) - variance) < 5 * variance * math.sqrt(2 / n)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"converter": "sar"}, "needs levels: give bits or steps, and a bound"),
        ({"bits": 1, "bound": 1.0, "converter": "sar"}, r"bits: .*greater than or equal to 2"),
        ({"steps": 0, "bound": 1.0, "converter": "uniform"}, r"steps: .*greater than or equal"),
        ({"steps": 20, "bound": 1.0, "converter": "sar"}, r"2\^bits codes: give `bits`"),
        ({"steps": 20, "bound": 1.0, "converter": "cyclic"}, r"2\^bits codes: give `bits`"),
        (
            {"bits": 5, "bound": 1.0, "rounding": "stochastic", "converter": "ramp"},
            "its own way to a code",
        ),
        (
            {"bits": 4, "bound": 1.0, "converter": {"kind": "sar", "weights": (1, 2, 4)}},
            "3 bit weights, but the ADC has 4 bits",
        ),
        (
            {"bits": 3, "bound": 1.0, "converter": {"kind": "sar", "weights": (1, -2, 4)}},
            "bit weights must be above 0, got -2",
        ),
        (
            {"bits": 3, "bound": 1.0, "converter": {"kind": "table", "thresholds": [[0.1, 0.2]]}},
            "2 thresholds make 3 levels, but the ADC has 7 or 8",
        ),
        (
            {"bits": 2, "bound": 1, "converter": {"kind": "table", "thresholds": [[]]}},
            "without thresholds has fewer than two levels",
        ),
        (
            {"bits": 2, "bound": 1, "converter": {"kind": "table", "thresholds": [[0.5, -0.5]]}},
            r"converter 0 are not monotone: t\[2\] = -0.5 is below t\[1\] = 0.5",
        ),
        ({"bits": 4, "bound": 1, "converter": {"kind": "sar", "unit_spread": -1}}, "unit_spread"),
        (
            {"bits": 4, "bound": 1, "columns_per_converter": 4,
             "converter": {"kind": "ramp", "columns_per_ramp": 6}},
            "columns_per_ramp 6 must be a multiple of columns_per_converter 4",
        ),
        ({"bits": 4, "bound": 1, "converter": "sarr"}, r"did you mean 'sar'\?"),
    ],
)  # fmt: skip
def test_descriptions_that_make_no_converter(fields, message):
    with pytest.raises(SpecError, match=message):
        mho.ADC(**fields)
