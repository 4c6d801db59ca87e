"""Distillation against its formula, in a loop, and with teachers that are only callables."""

import copy
import math

import pytest
import torch
from torch import nn

import mho


def literal(student, teacher, labels, temperature, share):
    """Position by position, in Python."""
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        if label == -100:
            continue

        def soft(logits, tau):
            most = max(logits)
            e = [math.exp((v - most) / tau) for v in logits]
            return [v / sum(e) for v in e]

        p, q = soft(t, temperature), soft(s, temperature)
        total += (
            share * temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        )
        total -= (1 - share) * math.log(soft(s, 1.0)[label])
    return total / sum(label != -100 for label in labels.tolist())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_is_its_formula(temperature, share):
    random = torch.Generator().manual_seed(0)
    s, t = (3 * torch.randn(10, 7, generator=random, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(7, (10,), generator=random)
    labels[3] = -100
    rule = mho.Distillation(temperature=temperature, share=share)
    expected = literal(s, t, labels, temperature, share)
    assert float(rule.loss(s, t, labels)) == pytest.approx(expected, rel=1e-5)
    shaped = (s.view(2, 5, 7), t.view(2, 5, 7), labels.view(2, 5))
    assert float(rule.loss(*shaped)) == pytest.approx(expected, rel=1e-5)
    assert float(rule.loss(s, t, labels, count=18)) == pytest.approx(expected / 2, rel=1e-5)


def student(teacher=None, share=0.9):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    digital = copy.deepcopy(model)
    mho.convert(model, mho.Hardware())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    adaptation = mho.Adaptation(
        noise=mho.AdditiveNoise(std=0.2),
        distillation=mho.Distillation(temperature=2.0, share=share),
    )
    return (
        model,
        optimizer,
        mho.adapt(model, adaptation, optimizer, teacher=teacher or digital),
        digital,
    )


def test_the_student_comes_nearer_to_its_teacher_under_noise():
    """Mean divergence from the teacher over 64 draws of noise, before and after."""
    model, optimizer, adapted, digital = student(share=1.0)
    x = torch.randn(256, 6)

    def divergence():
        model.train()
        with torch.no_grad():
            wanted = digital(x).log_softmax(1)
            each = [
                nn.functional.kl_div(
                    model(x).log_softmax(1), wanted, log_target=True, reduction="batchmean"
                )
                for _ in range(64)
            ]
        each = torch.stack(each)
        return float(each.mean()), float(each.std()) / 8

    before, error = divergence()
    model.train()
    for _ in range(150):
        optimizer.zero_grad()
        adapted.loss(model(x)).backward()
        optimizer.step()
    after, after_error = divergence()
    assert after < before - 2 * math.hypot(error, after_error)


def test_any_callable_teaches_and_sees_the_same_inputs():
    seen = []

    def teacher(x):
        seen.append(x)
        return {"logits": torch.zeros(len(x), 4)}

    model, _, adapted, _ = student(teacher, share=1.0)
    x = torch.randn(3, 6)
    loss = adapted.loss(model.train()(x))
    assert seen[0] is x
    assert loss.requires_grad
    model.eval()(x)
    assert len(seen) == 1, "nobody learns in eval mode"


def test_bad_targets_are_refused():
    model, _, adapted, _ = student(lambda x: torch.zeros(len(x), 5))
    x = torch.randn(3, 6)
    output = model.train()(x)
    with pytest.raises(
        mho.MhoError, match=r"teacher's logits have shape \(3, 5\), the student's \(3, 4\)"
    ):
        adapted.loss(output, torch.zeros(3, dtype=torch.long))
    model, _, adapted, _ = student()
    output = model.train()(x)
    with pytest.raises(mho.MhoError, match="needs labels"):
        adapted.loss(output)
    with pytest.raises(mho.MhoError, match="was not asked"):
        adapted.loss(output)
    output = model(x)
    with pytest.raises(mho.MhoError, match=r"labels have shape \(2,\)"):
        adapted.loss(output, torch.zeros(2, dtype=torch.long))
    model(x)
    with pytest.raises(mho.MhoError, match="without them"):
        adapted.loss("answer", None)
