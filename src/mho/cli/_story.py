"""What the demo does: train, convert, age, compensate, make robust, evaluate again."""

import copy
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.status import Status
from torch import nn

import mho

from ._chip import Chip, look_at
from ._digits import Digits, load_digits, network, train
from ._options import TIMES

HARDWARE = "standard-hwa-2023"
WEIGHT_NOISE = 0.1  # relative to the column's maximum
CHANCE = 0.1
LABELS = {
    "direct": "direct",
    "longer": "trained longer",
    "tuned": "fine-tuned",
    "raw": "direct, no compensation",
}


@dataclass(frozen=True)
class Story:
    """What the demo found out, by variant of the network as in `LABELS`.

    Attributes:
        digits: training and test data.
        receipt: of the conversion.
        results: evaluations of the chips.
        chips: one chip instance, looked at early and late.
        diagnoses: the same chip, late.
        epochs: of the first training and of the second one.
    """

    digits: Digits
    receipt: mho.Receipt
    results: dict[str, mho.Evaluation]
    chips: dict[str, Chip]
    diagnoses: dict[str, mho.Diagnosis]
    epochs: tuple[int, int]

    @property
    def labeled(self) -> dict[str, mho.Evaluation]:
        """The evaluations by what people read."""
        return {LABELS[key]: result for key, result in self.results.items()}


def tell(instances: int, seed: int, epochs: int) -> Story:
    """Do everything that the demo does; the same seed gives the same story."""
    threads = torch.get_num_threads()
    # The products are so small that threads would mostly wait for each other, on a busy machine
    # for minutes; and one thread adds in the same order everywhere.
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _tell(instances, seed, epochs)
    finally:
        torch.set_num_threads(threads)


def _tell(instances: int, seed: int, epochs: int) -> Story:
    digits, model, again = load_digits(), network(), epochs // 2
    with _step(f"training a network on {len(digits.train_y)} digits"):
        train(model, digits, epochs)
    longer = copy.deepcopy(model)
    with _step("training a copy further without analog hardware, for comparison"):
        train(longer, digits, again)
    receipt = _put_on_hardware(model, digits)
    _put_on_hardware(longer, digits)
    tuned = copy.deepcopy(model)
    with _step("fine-tuning another copy through the hardware, with noise on its weights"):
        train(tuned, digits, again, WEIGHT_NOISE)
    mho.calibrate(tuned, [digits.train_x])
    results = {
        key: _evaluate(variant, digits, instances, seed)
        for key, variant in {"direct": model, "longer": longer, "tuned": tuned}.items()
    }
    results["raw"] = _evaluate(model, digits, instances, seed, "none")
    chips, diagnoses = {}, {}
    for key, variant in {"direct": model, "tuned": tuned}.items():
        chips[key] = look_at(variant, seed, TIMES[0], TIMES[-1])
        diagnoses[key] = mho.diagnose(variant, [digits.test_x])
    return Story(digits, receipt, results, chips, diagnoses, (epochs, again))


def _put_on_hardware(model: nn.Module, digits: Digits) -> mho.Receipt:
    receipt = mho.convert(model, HARDWARE)
    mho.calibrate(model, [digits.train_x])
    return receipt


def _evaluate(
    model: nn.Module, digits: Digits, instances: int, seed: int, compensation: str = "global"
) -> mho.Evaluation:
    return mho.evaluate(
        model,
        digits.accuracy,
        instances=instances,
        seed=seed,
        compensation=compensation,
        chance=CHANCE,
    )


def _step(text: str) -> Status:
    """Say on a terminal what takes a while."""
    return Console(stderr=True).status(text)
