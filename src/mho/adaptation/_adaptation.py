"""The adaptation value: everything that makes a training aware of the hardware."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..cells import Faults
from ..spec import Spec
from ._clip import Clip, FixedClip
from ._distillation import Distillation
from ._noise import WeightNoise
from ._quantization import WeightQuantization
from ._schedule import Constant, Schedule


class RangeDecay(Spec):
    """Decay of learned input ranges, which their own gradient only lets grow.

        dL/dr += decay r [share of the inputs inside r > keep]

    once per optimizer step, after gradients were unscaled and averaged, with the share over all
    products since the step before (Buechel et al., arXiv 2505.09663; Rasch et al., Nat. Commun.
    14:5282, 2023).
    """

    decay: float = Field(default=0.001, ge=0, description="Pull towards smaller ranges.")
    keep: float = Field(
        default=0.95, gt=0, le=1, description="Share inside the range above which it acts."
    )


class Adaptation(Spec):
    """How a model is trained to stand its hardware. Every part is off by default.

    Weight effects act in training mode, on layers that are not programmed, in this order: levels,
    noise, stuck cells, dropped weights; then the spread of converters, if asked for. After an
    optimizer step come clipping, then remapping. Nominal converters, output noise and input ranges
    are those of the hardware and act in any mode.
    """

    noise: WeightNoise | None = Field(default=None, description="Noise on the weights.")
    quantization: WeightQuantization | None = Field(default=None, description="Weights on levels.")
    faults: Faults | None = Field(
        default=None, description="Shares of stuck cells, other cells for every draw."
    )
    drop_connect: float = Field(
        default=0.0, ge=0, lt=1, description="Share of weights that are 0, others for every draw."
    )
    converters: Literal["population"] | Annotated[int, Field(ge=0, strict=True)] | None = Field(
        default=None,
        description="Which converters read the columns: those of another chip for every draw "
        "(population), so that one set of weights works on any chip, or those of the chip instance "
        "with this seed, which mho.program(seed=...) makes. None: nominal ones.",
    )
    per: Literal["batch", "sample"] = Field(
        default="batch",
        description="Draw once for each call of a layer, or for each sample of the call (as many "
        "products as samples, so slow).",
    )
    schedule: Schedule = Field(
        default=Constant(), description="Factor on the strength of noise over steps."
    )
    clip: Clip | None = Field(default=None, description="Limit of the weights.")
    remap: Literal["layer", "column"] | None = Field(
        default=None,
        description="After every step, move the largest |w| of each layer or output to w_max of a "
        "fixed scaling (else 1), and what it was into the digital output scale.",
    )
    output_scale: bool = Field(default=False, description="Learn a digital scale for each output.")
    range_decay: RangeDecay | None = Field(
        default=None, description="Let learned input ranges shrink."
    )
    distillation: Distillation | None = Field(
        default=None, description="Learn from a teacher, by `Adapted.loss`."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Adaptation":
        if self.faults is not None and self.faults.map is not None:
            raise ValueError(
                "faults: a measured map is one chip's; give shares here, and the map to the "
                "hardware's cell"
            )
        if self.remap is not None and self.clip is not None and not self.clip.writes:
            raise ValueError(
                "remap and `clip: learned` contradict each other: remapping changes the weights "
                "that the learned bounds belong to; choose one"
            )
        if self.remap is not None and isinstance(self.clip, FixedClip) and self.clip.value < 1:
            raise ValueError(
                f"clip at {self.clip.value:g} and remap contradict each other: remap moves the "
                "largest weight to 1 after each step and the clip takes it back; use a clip of at "
                "least 1, or clip by sigma"
            )
        return self

    @property
    def disturbs(self) -> bool:
        """Whether anything acts on weights or converters in the forward pass."""
        parts = (self.noise, self.quantization, self.faults, self.converters)
        return any(part is not None for part in parts) or self.drop_connect > 0
