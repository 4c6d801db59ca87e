"""Voice activity detection: the pretrained silero-vad (convolutions, LSTM) on labeled speech.

The clip is the 30 s sample of pyannote-audio, with two speakers; a frame of 32 ms is speech when
its center lies in a labeled segment. The layout of the network follows the package's tinygrad model
(silero-vad 6.2.3, MIT license).

The score is the area under the ROC curve: the probability that a frame of speech ranks above one
without. Two layers stay digital: stft_conv, a fixed Fourier basis, and conv3, which by itself
carries most of the loss. Take it out of DIGITAL to see.

    python examples/silero_vad.py --instances 5 --times "1 s" "1 d" "1 y"
"""

import wave
from functools import partial

import numpy as np
import torch
from _data import package_file
from _options import options
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import mho

DIGITAL = mho.named("stft_conv") | mho.named("conv3")
RATE, FRAME, CONTEXT = (
    16_000,
    512,
    64,
)  # samples per second, per frame, and repeated from the frame before


class Vad(nn.Module):
    """Frames in, speech probabilities out; parameters are named as in the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Successive frames (frames, 64 + 512) to one probability each (frames,).

        Only the LSTM looks back in time, so all frames pass the convolutions as one batch.
        """
        x = self.stft_conv(F.pad(frames, (0, 64), mode="reflect")[:, None])  # (frames, 258, 4)
        real, imaginary = x.chunk(2, dim=1)
        x = (real**2 + imaginary**2).sqrt()  # (frames, 129, 4)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu()  # in the end (frames, 128, 1)
        state = None
        outputs = []
        for features in x.mT:  # (1, 128), a batch of one frame
            state = self.lstm_cell(features, state)
            outputs.append(state[0])
        hidden = torch.cat(outputs)[..., None]  # (frames, 128, 1)
        return self.final_conv(hidden.relu()).sigmoid().flatten()


def load_model() -> Vad:
    """Fill the network from the package's 16 kHz checkpoint."""
    model = Vad().eval()
    weights = "silero_vad/data/silero_vad_16k.safetensors"
    model.load_state_dict(load_file(package_file("silero-vad", weights, "c59271c284ae9c83")))
    return model


def load_clip() -> tuple[Tensor, Tensor]:
    """The clip as frames (937, 64 + 512), and whether each is speech (937,)."""
    name = "pyannote/audio/sample/sample"
    sound = package_file("pyannote-audio", f"{name}.wav", "c319b4abca767b12")
    labels = package_file("pyannote-audio", f"{name}.rttm", "d78fe62c69d8e6dc")
    with wave.open(str(sound)) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2")
    count = len(samples) // FRAME
    scaled = torch.from_numpy(samples[: count * FRAME] / np.float32(2**15))  # in [-1, 1)
    centers = (torch.arange(count) + 0.5) * FRAME / RATE  # s
    speech = torch.zeros(count, dtype=torch.bool)
    for line in labels.read_text().splitlines():
        start, duration = map(float, line.split()[3:5])  # s
        speech |= (centers >= start) & (centers < start + duration)
    return F.pad(scaled, (CONTEXT, 0)).unfold(0, CONTEXT + FRAME, FRAME), speech


@torch.no_grad()
def frame_accuracy(model: nn.Module, frames: Tensor, speech: Tensor) -> float:
    """Fraction of frames on the right side of the probability 0.5."""
    return ((model(frames) > 0.5) == speech).float().mean().item()


@torch.no_grad()
def area_under_curve(model: nn.Module, frames: Tensor, speech: Tensor) -> float:
    """Probability that a frame of speech ranks above one without; a tie counts half."""
    probability = model(frames)
    above = probability[speech][:, None] - probability[~speech]  # (frames of speech, the others)
    return (above.sign() + 1).mean().item() / 2


def main() -> None:
    """Convert, calibrate, and let chips age without and with drift compensation."""
    args = options(__doc__)
    model = load_model()
    frames, speech = load_clip()
    score = partial(area_under_curve, frames=frames, speech=speech)
    print(f"digital area under the curve {score(model):.4f}")
    print(f"digital frame accuracy {frame_accuracy(model, frames, speech):.4f}")

    hardware = mho.override(mho.load(args.hardware), args.set)
    print(mho.convert(model, hardware, where=~DIGITAL))
    mho.calibrate(model, [frames], method="quantile")
    life = {"times": args.times, "instances": args.instances, "seed": args.seed, "chance": 0.5}
    for compensation in ("none", "global"):
        result = mho.evaluate(model, score, compensation=compensation, **life)
        print(f"\narea under the curve, drift compensation: {compensation}\n{result.table()}")


if __name__ == "__main__":
    main()
