"""Hardware values of every kind, drawn by hypothesis."""

from hypothesis import strategies as st

from mho.cells import (
    Afm,
    CmoHfox,
    Composed,
    Faults,
    Gaussian,
    Hermes,
    Ideal,
    Pcm,
    Polynomial,
    ReramWan,
    StateIndependent,
    Variability,
)
from mho.circuits import ADC, DAC, Array, Noise
from mho.mapping import (
    Binary,
    BitSliced,
    Differential,
    Pairs,
    Signed,
    Single,
    Table,
    Ternary,
)
from mho.tiles import Hardware

choice = st.sampled_from
share = st.floats(0, 0.3)
bits = st.integers(2, 16)
positive = st.floats(1e-3, 1e3)


def levels():
    """Bits, steps, or neither."""
    return st.one_of(
        st.just({}),
        st.fixed_dictionaries({"bits": bits}),
        st.fixed_dictionaries({"steps": st.integers(1, 300).map(lambda n: 2 * n)}),
    )


def maybe(values):
    return st.one_of(st.none(), values)


conductance = st.floats(1e-6, 1e-4)
faults = maybe(st.builds(Faults, at_zero=share, at_max=share, random=share))
extras = {"faults": faults, "variability": maybe(st.builds(Variability, gain=share))}
cells = st.one_of(
    st.builds(Ideal, g_max=conductance, **extras),
    st.builds(Pcm, g_max=conductance, **extras),
    st.builds(Hermes, devices=st.just(1), **extras),
    st.builds(Hermes, **extras),
    st.builds(StateIndependent, **extras),
    st.builds(CmoHfox, **extras),
    st.builds(ReramWan, g_max=st.floats(1e-5, 4e-5)),
    st.builds(
        Composed,
        g_max=conductance,
        programming=st.builds(
            Gaussian,
            std=st.builds(Polynomial, coefficients=st.lists(share, min_size=1).map(tuple)),
        ),
    ),
)
scalings = st.one_of(
    st.fixed_dictionaries({"scaling": st.sampled_from(["column", "tile"])}),
    st.fixed_dictionaries({"scaling": st.just("fixed"), "w_max": positive}),
)


@st.composite
def mappings(draw):
    scaling = draw(scalings)
    kinds = [Differential, Single, Pairs, BitSliced, Table, Binary, Ternary]
    kind = draw(st.sampled_from(kinds))
    own = {}
    if kind is Single:
        own["reference"] = draw(st.sampled_from(["ideal", "cell"]))
    elif kind is Pairs:
        own["factors"] = tuple(draw(st.lists(positive, min_size=1, max_size=4)))
    elif kind is BitSliced:
        own = {"bits": draw(st.integers(9, 16)), "slice_bits": draw(st.integers(1, 8))}
    elif kind is Ternary:
        own = {"threshold": draw(st.floats(0.1, 0.9)), "zero": draw(choice(["g_min", "g_max"]))}
    return kind(**own, **scaling)


ranges = st.one_of(
    st.sampled_from(["calibrated", "learned", "per_token"]),
    st.builds(lambda value: {"kind": "fixed", "value": value}, positive),
)


@st.composite
def dacs(draw):
    resolution = draw(levels())
    schemes = ["one_pass", "positive_negative", {"kind": "positive_negative", "sum": "digital"}]
    if resolution:
        schemes.append({"kind": "bit_serial", "slice_bits": draw(st.integers(1, 8))})
    spreads = {name: draw(share) for name in ("gain_spread", "offset_spread", "asymmetry")}
    rounding = draw(choice(["nearest", "stochastic"]))
    scheme = draw(choice(schemes))
    return DAC(range=draw(ranges), scheme=scheme, rounding=rounding, **resolution, **spreads)


transfers = st.builds(
    lambda n, s, c: {
        "kind": "compressive",
        "nonlinearity": n,
        "nonlinearity_spread": s,
        "slope_calibration": c,
    },
    share,
    share,
    share,
)
polynomials = st.builds(
    lambda a, s: {"kind": "polynomial", "cubic": -a, "quadratic": a / 3, "cubic_spread": s},
    st.floats(0, 0.2),
    share,
)
curves = st.one_of(
    transfers,
    polynomials,
    st.just({"kind": "table", "inputs": (-1.0, 0.0, 1.0), "outputs": (-0.8, 0.0, 0.75)}),
)
architectures = st.one_of(
    st.builds(lambda kind, n: {"kind": kind, "noise": n}, choice(["uniform", "ramp"]), share),
    st.builds(lambda s: {"kind": "sar", "unit_spread": s}, share),
    st.builds(
        lambda kind, g: {"kind": kind, "gain_error": -g, "gain_spread": g},
        choice(["pipeline", "cyclic"]),
        share,
    ),
    st.builds(lambda phase: {"kind": "counter", "phase": phase}, choice(["reset", "free"])),
)
front_ends = st.fixed_dictionaries(
    {"offset_spread": share, "reference_weight": share, "series_resistance": share}
)


@st.composite
def adcs(draw, own_bound):
    spreads = {name: draw(share) for name in ("gain_spread", "offset_spread", "asymmetry")}
    front = draw(maybe(front_ends))
    own = ["calibrated", "granular"] if own_bound else []
    bound = draw(choice([None, 10, 12.5, "maximum", *own]))
    bounded = {}
    if bound is not None:
        bounded = {
            "bound": bound,
            "overflow": draw(choice(["saturate", "retry"])),
            "rounding": draw(choice(["nearest", "stochastic"])),
            "transfer": draw(maybe(curves)),
            **draw(levels()),
        }
        if "bits" in bounded and bounded["rounding"] == "nearest":
            bounded["converter"] = draw(maybe(architectures))
    return ADC(front_end=front, **bounded, **spreads)


read_noises = st.builds(
    lambda kind, sigma: {"kind": kind, "sigma": sigma}, choice(["additive", "pcm_read"]), share
)
noises = st.builds(Noise, input=share, output=share, output_spread=share, read=maybe(read_noises))
drop_formulas = st.builds(
    lambda scale, ratio: {"kind": "first_order", "scale": scale, "conductance_ratio": ratio},
    positive,
    positive,
)
networks = st.one_of(
    st.builds(
        lambda row, column, ends, pair: {
            "kind": "resistive", "row": row, "column": column, "drivers": ends, "pair": pair
        },
        share,
        share,
        choice(["one_end", "both_ends"]),
        choice(["interleaved", "apart"]),
    ),
    st.builds(
        lambda node, driver: {"kind": "interconnect", "node": node, "driver": driver},
        st.floats(5e-9, 1e-7),
        share,
    ),
)  # fmt: skip


@st.composite
def hardware(draw) -> Hardware:
    """Every field of every part may differ from its default."""
    dac = draw(dacs())
    polarity = draw(share) if dac.scheme.kind == "positive_negative" else 0.0
    size = maybe(st.integers(1, 4096))
    signed = draw(st.integers(0, 7)) == 0
    wires = drop_formulas if signed else st.one_of(drop_formulas, networks)
    array = Array(
        rows=draw(size),
        cols=draw(size),
        partition=draw(choice(["balanced", "greedy"])),
        wires=draw(maybe(wires)),
        polarity_spread=polarity,
    )
    return Hardware(
        cell=Afm() if signed else draw(cells),
        mapping=Signed(**draw(scalings)) if signed else draw(mappings()),
        array=array,
        dac=dac,
        adc=draw(adcs(own_bound=not dac.range.dynamic)),
        noise=draw(noises),
    )
