"""Keep what takes long in a folder, so that an interrupted run goes on where it stopped."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class OtherSettings(ValueError):
    """The folder belongs to a run with other settings."""


class Folder:
    """Where a run keeps its models, data and checkpoints. Every file appears whole or not at all.

    Raises:
        OtherSettings: the folder was begun with other settings, so its files would not fit.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, record = path, path / "settings.json"
        path.mkdir(parents=True, exist_ok=True)
        if not record.exists():
            self._write(record, lambda file: file.write_text(json.dumps(settings, indent=1)))
        begun = json.loads(record.read_text())
        keys = sorted(begun.keys() | settings.keys())
        other = [k for k in keys if begun.get(k) != settings.get(k)]
        if other:
            changes = ", ".join(f"{k} = {begun.get(k)}, now {settings.get(k)}" for k in other)
            raise OtherSettings(
                f"{path} was begun with other settings ({changes}): give those, or another "
                "--folder, or delete this one."
            )

    def _write(self, target: Path, write: Callable[[Path], Any]) -> None:
        part = target.with_name(target.name + ".part")
        write(part)
        os.replace(part, target)

    def checkpoint(self, name: str) -> dict[str, Any] | None:
        """Return a checkpoint, or None if there is none yet."""
        path = self.path / f"{name}.pt"
        return torch.load(path, weights_only=True) if path.exists() else None

    def keep(self, name: str, state: dict[str, Any]) -> None:
        """Write a checkpoint, or replace it."""
        self._write(self.path / f"{name}.pt", lambda file: torch.save(state, file))

    def shards(self, name: str, count: int, make: Callable[[int], Tensor]) -> Tensor:
        """Return `make(0)` to `make(count - 1)` in one tensor; those made before are read."""
        found, start = [], time.time()
        for i in range(count):
            path = self.path / f"{name}-{i:05}.safetensors"
            if not path.exists():
                data = {"tokens": make(i)}
                self._write(path, lambda file, data=data: save_file(data, file))
                print(f"{name}: {i + 1} of {count}, {time.time() - start:.0f} s", flush=True)
            found.append(load_file(path)["tokens"])
        return torch.cat(found)


def train(
    folder: Folder,
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    every: int,
) -> None:
    """Minimize `loss(step)`, with a checkpoint in `folder` from time to time and at the end.

    The learning rate falls to zero on a cosine after a linear warm-up over 2 % of the steps. A
    checkpoint has all that matters: weights and input ranges, the optimizer (and with it the clock
    of an adaptation), the schedule, and the state of torch's generator. A run that was interrupted
    therefore ends at the very numbers of one that was not.
    """
    from transformers import get_cosine_schedule_with_warmup

    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 50, steps)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    begin, start = 0, time.time()
    if (kept := folder.checkpoint(name)) is not None:
        begin = kept["step"]
        for key, part in parts.items():
            part.load_state_dict(kept[key])
        torch.set_rng_state(kept["generator"])
    model.train()
    for step in range(begin, steps):
        optimizer.zero_grad()
        value = loss(step)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            print(f"{name}: step {step + 1} of {steps}, loss {value.item():.4f},"
                  f" {time.time() - start:.0f} s", flush=True)  # fmt: skip
            state = {key: part.state_dict() for key, part in parts.items()}
            folder.keep(name, {"step": step + 1, "generator": torch.get_rng_state(), **state})
    model.eval()
