"""Distillation: the teacher's answers as targets."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ..errors import DataError
from ..spec import Spec

IGNORED = -100
"""Label of a position that counts nowhere, torch's own convention."""


class Distillation(Spec):
    """Learn from a teacher's soft answers, from labels, or from both.

        loss = share T^2 KL(softmax(t / T) || softmax(s / T)) + (1 - share) cross_entropy(s, labels)

    averaged over the positions that count, for logits s of the student and t of the teacher.

    Source: Hinton et al., arXiv 1503.02531 (2015); the foundation models of Buechel et al.,
    arXiv 2505.09663, have T = 1 and share = 1.
    """

    temperature: float = Field(default=1.0, gt=0, description="T, softness of the answers.")
    share: float = Field(
        default=1.0, ge=0, le=1, description="Weight of the teacher against the labels."
    )

    def loss(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor | None = None,
        count: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss, one number.

        Args:
            student: logits (..., classes).
            teacher: logits of the same shape.
            labels: classes (...), aligned with the logits; positions of -100 count nowhere.
            count: what to divide the sum over positions by, if not their number.

        Raises:
            DataError: a shape does not fit, or labels are needed and missing.
        """
        if student.shape != teacher.shape:
            raise DataError(
                f"the teacher's logits have shape {tuple(teacher.shape)}, the student's "
                f"{tuple(student.shape)}: a teacher must answer as the student does, with the same "
                "classes in the same order."
            )
        if labels is None and self.share < 1:
            raise DataError(
                f"distillation with share={self.share:g} needs labels too: pass them to `loss`, or "
                "set share to 1."
            )
        if labels is not None and labels.shape != student.shape[:-1]:
            raise DataError(
                f"labels have shape {tuple(labels.shape)}; logits of shape {tuple(student.shape)} "
                f"need {tuple(student.shape[:-1])}."
            )
        s, t = (logits.float().flatten(0, -2) for logits in (student, teacher))
        counts = torch.ones_like(s[:, 0]) if labels is None else (labels != IGNORED).flatten()
        count = counts.sum().clamp(min=1) if count is None else count
        total = s.new_zeros(())
        if self.share > 0:
            tau = self.temperature
            log_p, log_q = (F.log_softmax(logits / tau, dim=-1) for logits in (t, s))
            each = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
            total = total + self.share * tau**2 * (each * counts).sum()
        if self.share < 1 and labels is not None:
            hard = F.cross_entropy(s, labels.flatten(), ignore_index=IGNORED, reduction="sum")
            total = total + (1 - self.share) * hard
        return total / count


def logits_of(output: Any) -> Tensor:
    """Return the logits of what a model returned: a tensor, or something that has them."""
    found = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if found is None and isinstance(output, dict):
        found = output.get("logits")
    if not isinstance(found, Tensor) or found.dim() < 2:
        raise DataError(
            f"distillation needs logits (..., classes); the model returned {type(output).__name__}"
            " without them. Return a tensor, or an object with `logits`."
        )
    return found
