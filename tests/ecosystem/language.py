"""Tiny models of Hugging Face Transformers, made from their configs, and tokens for them."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports the hub's client
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import mho

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

VOCABULARY = 64
TOKENS = torch.randint(3, VOCABULARY, (2, 10), generator=torch.Generator().manual_seed(4))
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
COMMON = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "num_attention_heads": 4, **SPECIAL}
SIZES = {**COMMON, "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 64}


def _llama(tied):
    config = LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=tied)
    return LlamaForCausalLM(config)


BUILDERS = {
    "llama": lambda: _llama(tied=False),
    "llama, tied": lambda: _llama(tied=True),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, **SPECIAL)
    ),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**SIZES, num_key_value_heads=2)),
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES, num_labels=3)),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY, d_model=32, d_ff=48, d_kv=8, num_layers=2, num_heads=4,
            decoder_start_token_id=0, tie_word_embeddings=True, **SPECIAL,
        )
    ),
}  # fmt: skip
CAUSAL = ("llama", "llama, tied", "gpt2", "phi3", "gpt-neox")

PROJECTIONS = {
    "llama": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
              "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"],
    "gpt2": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
    "phi3": ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"],
    "gpt-neox": ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h",
                 "mlp.dense_4h_to_h"],
}  # fmt: skip
"""Every matrix of weights in a block of a causal model."""

NOISELESS = mho.Hardware(
    cell="pcm",
    array={"rows": 20, "cols": 24},
    dac={"bits": 8, "range": "per_token"},
    adc={"bits": 8, "bound": 10.0},
)
"""Converters and several arrays; a token's answer depends on that token alone, and on no chance."""

STANDARD = mho.load("standard-hwa-2023")


def build(name: str, seed: int = 0) -> torch.nn.Module:
    """A model in eval mode; biases are not zero, as they are before training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BUILDERS[name]().eval()
        for key, value in model.named_parameters():
            torch.nn.init.normal_(value, mean=float("norm" in key or "ln_" in key), std=0.2)
    return model


def run(model: torch.nn.Module, tokens: torch.Tensor = TOKENS, seed: int = 1) -> torch.Tensor:
    """Logits with the noise of a seed of its own."""
    decoder = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return model(input_ids=tokens, **decoder).logits


def answer(model: torch.nn.Module, **options) -> torch.Tensor:
    """Twelve more tokens, the likeliest each time."""
    mask = torch.ones_like(TOKENS)
    return model.generate(
        input_ids=TOKENS, attention_mask=mask, max_new_tokens=12, min_new_tokens=12,
        do_sample=False, **options,
    )  # fmt: skip
