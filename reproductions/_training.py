"""More training of a digital model, and the same training aware of the hardware."""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from _common import cached
from _tasks import Task
from torch import Tensor, nn
from torch.nn import functional as F

import mho

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, classes: Tensor) -> Tensor:
    """Mean over the classes that are known, for scores (..., classes)."""
    return F.cross_entropy(scores.flatten(0, -2), classes.flatten())


def train_on(
    task: Task,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    seed: int,
    loss: Loss = cross_entropy,
) -> None:
    """Go on training, the learning rate falling to 0 on a cosine."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for inputs, classes in task.batches(steps, seed):
        optimizer.zero_grad()
        loss(model(*inputs), classes).backward()
        optimizer.step()
        schedule.step()
    model.eval()


def trained_digitally(task: Task, steps: int, seed: int) -> nn.Module:
    """Return the digital model after `steps` further steps.

    They are there so that hardware-aware training is compared with as much training without.
    """
    model = task.digital(seed)
    if not steps:
        return model

    def train() -> None:
        torch.manual_seed(seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=task.rate)
        train_on(task, model, optimizer, steps, seed)

    return cached(f"{task.key}-digital-{steps}-{task.rate:g}-{seed}", model, train)


def direct(task: Task, steps: int, seed: int) -> nn.Module:
    """Return the digital model after `steps` further steps, calibrated on the hardware."""
    model = trained_digitally(task, steps, seed)
    mho.convert(model, mho.override(mho.load("standard-hwa-2023"), task.changes))
    mho.calibrate(model, task.calibration(), method="quantile")
    return model


def hardware_aware(
    task: Task,
    steps: int,
    seed: int,
    recipe: mho.Adaptation | None = None,
    hardware: mho.Hardware | None = None,
) -> nn.Module:
    """Return the digital model after `steps` further steps on the hardware.

    That is `standard-hwa-2023` with learned ranges and the changes of the task, unless given.
    """
    recipe = recipe or task.recipe
    changes: dict[str, Any] = {**task.changes, "dac.range": "learned"}
    hardware = hardware or mho.override(mho.load("standard-hwa-2023"), changes)
    model = task.digital(seed)
    mho.convert(model, hardware)
    mho.calibrate(model, task.calibration(), method="quantile")

    def train() -> None:
        torch.manual_seed(seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=task.rate)
        teacher = task.digital(seed) if recipe.distillation else None
        adapted = mho.adapt(model, recipe, optimizer, teacher=teacher)
        loss = adapted.loss if recipe.distillation else cross_entropy
        train_on(task, model, optimizer, steps, seed, loss)
        adapted.remove()

    settings = "quantile" + mho.to_yaml(recipe) + mho.to_yaml(hardware) + f"{task.rate}"
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return cached(f"{task.key}-aware-{steps}-{digest}-{seed}", model, train)
