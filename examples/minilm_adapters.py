"""Two tasks on one aging chip: low-rank adapters beside the frozen transformer MiniLM-L6.

The matrices are programmed once and stay; what is trained, digitally and through the noisy arrays,
are adapters of rank 8, one a task, which are swapped by name (AHWA-LoRA: Li et al., Neuromorph.
Comput. Eng. 6:014011, 2026, arXiv 2411.17367).

- lee: the similarity of news texts, as in `minilm_lee.py`. Its 50 rated texts are not trained on:
  the adapter learns to embed 300 other news texts as the digital model does.
- polarity: praise or blame in sentences of film reviews (Pang and Lee, ACL 2005), of which 140 are
  trained on and 60 held out. A logistic head on the embedding decides; the adapter's is trained
  along with it.

    python examples/minilm_adapters.py --instances 3 --plot drift.png

Wires are left out unless --hardware or --set is given: the paper has none, and they take time.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from _data import package_file
from _options import HARDWARE
from minilm_lee import correlation, load_model, load_texts, model_file
from torch import Tensor, nn
from torch.nn import functional as F

import mho

Texts = tuple[Tensor, Tensor]  # token ids and mask, (texts, tokens) each
Results = dict[str, mho.Evaluation]
Loss = Callable[[Tensor, Tensor], Tensor]  # of embeddings, and which texts they are of
TARGETS = ["query", "key", "value", "out", "up", "down"]  # every linear layer of the encoder
NOISE = 3.0  # times the cell's programming error: moves embeddings as far as 10 years on chips do
ADAPTATION = mho.Adaptation(noise=mho.ProgrammingNoise(scale=NOISE))
KNOWN, HELD_OUT = slice(70), slice(70, None)  # of the 100 reviews of each side


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    times = ["1 s", "1 h", "1 d", "1 y", "10 y"]
    add("--hardware", default=HARDWARE, help="preset or YAML file (default: %(default)s)")
    add("--set", nargs="*", help="changes of that hardware, such as adc.bits=6")
    add("--times", nargs="+", default=times, help="times since programming")
    add("--plot", metavar="FILE", help="draw the scores over time, such as drift.png")
    counts = {
        "instances": (3, "chips to program"), "seed": (0, "seed of chips and training"),
        "split": (0, "seed of the choice of held-out reviews"),
        "steps": (60, "training steps a task"), "batch": (16, "texts a step"),
        "tokens": (64, "where other texts are cut"), "longest": (256, "where rated texts are cut"),
    }  # fmt: skip
    for name, (value, text) in counts.items():
        add(f"--{name}", type=int, default=value, help=f"{text} (default: {value})")
    args = parser.parse_args()
    if args.set is None:
        args.set = ["array.wires=null"] if args.hardware == HARDWARE else []
    return args


# ---- data ----------------------------------------------------------------------------------------


def encode(texts: list[str], tokens: int) -> Texts:
    """Token ids and mask of texts, which are cut at a length."""
    from tokenizers import Tokenizer  # optional, as is this example; `make data` installs it

    tokenizer = Tokenizer.from_file(str(model_file("tokenizer.json", "be50c3628f2bf5bb")))
    tokenizer.enable_truncation(tokens)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(texts)
    ids = torch.tensor([text.ids for text in encoded])
    return ids, torch.tensor([text.attention_mask for text in encoded]).bool()


def corpus(name: str, sha256: str) -> list[str]:
    """The lines of a corpus that gensim carries."""
    text = package_file("gensim", f"gensim/test/test_data/{name}", sha256).read_text("latin-1")
    return [line.strip() for line in text.split("\n") if line.strip()]


def reviews(split: int, tokens: int) -> tuple[Texts, Tensor, Tensor, Tensor]:
    """Texts, labels (200,) that are 1 for praise, 140 rows to train on, 60 rows held out."""
    lines = [line.split(" ", 1) for line in corpus("pang_lee_polarity.cor", "662c1b7c3bd0612e")]
    labels = torch.tensor([float(label == "__label__pos") for label, _ in lines])
    generator = torch.Generator().manual_seed(split)
    sides = [(labels == label).nonzero().flatten() for label in (0.0, 1.0)]  # 100 each
    sides = [rows[torch.randperm(len(rows), generator=generator)] for rows in sides]
    known, held_out = (torch.cat([rows[part] for rows in sides]) for part in (KNOWN, HELD_OUT))
    return encode([text for _, text in lines], tokens), labels, known, held_out


def rows_of(texts: Texts, rows: Tensor) -> Texts:
    """Some of the texts, without columns in which all are padding."""
    ids, mask = texts[0][rows], texts[1][rows]
    longest = int(mask.sum(1).max())
    return ids[:, :longest], mask[:, :longest]


# ---- heads and adapters --------------------------------------------------------------------------


def fit_head(embedded: Tensor, labels: Tensor) -> nn.Linear:
    """Logistic regression with the penalty |w|^2 / 2 on embeddings (texts, 384)."""
    head = nn.Linear(embedded.shape[1], 1)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        answers = head(embedded).flatten()
        total = F.binary_cross_entropy_with_logits(answers, labels, reduction="sum")
        total = total + head.weight.square().sum() / 2
        total.backward()
        return total

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    return head


@torch.no_grad()
def accuracy(
    model: nn.Module, head: nn.Module, texts: Texts, labels: Tensor, rows: Tensor
) -> float:
    """Fraction of some of the texts on whose right side the head is."""
    by_length = rows[texts[1][rows].sum(1).argsort(stable=True)]  # to pad less
    answers = [head(model(*rows_of(texts, part))).flatten() for part in by_length.split(16)]
    return ((torch.cat(answers) > 0) == (labels[by_length] > 0.5)).float().mean().item()


def with_adapters(model: nn.Module, *names: str) -> Any:
    """The converted model with new adapters, which change nothing yet; the paper's settings."""
    from peft import LoraConfig, get_peft_model  # optional

    config = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.1, target_modules=TARGETS)
    adapted = get_peft_model(model, config, adapter_name=names[0])  # pyright: ignore
    for name in names[1:]:
        adapted.add_adapter(name, config)
    return adapted


@contextmanager
def noisy(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Training mode, with fresh programming errors in every batch."""
    adapted = mho.adapt(model, ADAPTATION, optimizer)
    model.train()
    try:
        yield
    finally:
        adapted.remove()
        model.eval()


def train(
    model: Any, name: str, texts: Texts, rows: Tensor, loss: Loss, args: argparse.Namespace,
    head: nn.Module | None = None,
) -> None:  # fmt: skip
    """Train one adapter, and a head, through the noisy arrays. The base stays as it is."""
    model.set_adapter(name)
    free = [p for p in model.parameters() if p.requires_grad]
    own, base = sum(p.numel() for p in free), sum(v.numel() for v in base_weights(model).values())
    print(f"\n{name}: {own} weights to train, {own / base:.1%} of the base", flush=True)
    free += [] if head is None else list(head.parameters())
    optimizer = torch.optim.AdamW(free, lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    rounds = math.ceil(args.steps * args.batch / len(rows))
    order = torch.cat([rows[torch.randperm(len(rows))] for _ in range(rounds)])
    losses = []
    with noisy(model, optimizer):
        for batch in order.split(args.batch)[: args.steps]:
            optimizer.zero_grad()
            value = loss(model(*rows_of(texts, batch)), batch)
            value.backward()
            optimizer.step()
            schedule.step()
            losses.append(value.item())
    tenth = math.ceil(len(losses) / 10)
    first, last = np.mean(losses[:tenth]), np.mean(losses[-tenth:])
    print(f"{name}: loss {first:.4f} in the first tenth, {last:.4f} in the last", flush=True)


def base_weights(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that are not of adapters, by name."""
    return {k: p.detach().clone() for k, p in model.named_parameters() if ".lora_" not in k}


def check_swaps(model: Any, texts: Texts, args: argparse.Namespace) -> None:
    """Swap the adapters on one programmed chip: each answer comes back to the last bit."""

    def answer(name: str) -> Tensor:
        model.set_adapter(name)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(args.seed)  # the same read and output noise every time
            return model(*texts)

    mho.at(mho.program(model, seed=args.seed), args.times[-1])
    mho.compensate(model, "global")
    lee, polarity = answer("lee"), answer("polarity")
    assert torch.equal(answer("lee"), lee)
    assert torch.equal(answer("polarity"), polarity)
    assert not torch.equal(lee, polarity)
    mho.erase(model)
    print("\nadapters swapped on one chip: each task's answers came back to the last bit")


# ---- tasks ---------------------------------------------------------------------------------------


def life(
    model: nn.Module, score: Callable[[nn.Module], float], args: argparse.Namespace
) -> mho.Evaluation:
    """Score chips over time."""
    chips = {"instances": args.instances, "seed": args.seed, "compensation": "global"}
    return mho.evaluate(model, score, times=args.times, **chips)


def lee(model: Any, news: Texts, targets: Tensor, args: argparse.Namespace) -> Results:
    """Learn to embed news as the digital model does; score the rated texts."""

    def loss(embedded: Tensor, rows: Tensor) -> Tensor:
        return (1 - (embedded * targets[rows]).sum(1)).mean()  # 1 - cosine of unit vectors

    ids, mask, ratings = load_texts()
    cut = {"ids": ids[:, : args.longest], "mask": mask[:, : args.longest]}
    score = partial(correlation, **cut, ratings=ratings)
    with model.disable_adapter():
        results = {"direct": life(model, score, args)}
    train(model, "lee", news, torch.arange(len(targets)), loss, args)
    results["adapter"] = life(model, score, args)
    report("lee", results)
    return results


def polarity(
    model: Any, films: tuple[Texts, Tensor, Tensor, Tensor], embedded: Tensor,
    args: argparse.Namespace,
) -> Results:  # fmt: skip
    """Learn to tell praise from blame, starting with a head for the noisy base alone."""
    texts, labels, known, held_out = films

    def loss(embedded: Tensor, rows: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(head(embedded).flatten(), labels[rows])

    def scored(head: nn.Module) -> mho.Evaluation:
        asked = {"head": head, "texts": texts, "labels": labels, "rows": held_out}
        return life(model, partial(accuracy, **asked), args)

    parts = known.split(20) * 3  # each text under three draws of the noise
    unused = torch.optim.SGD([torch.zeros((), requires_grad=True)])  # only the head is fitted
    with model.disable_adapter():
        results = {"direct": scored(fit_head(embedded[known], labels[known]))}
        with torch.no_grad(), noisy(model, unused):
            disturbed = torch.cat([model(*rows_of(texts, part)) for part in parts])
        head = fit_head(disturbed, labels[torch.cat(parts)])
        results["head only"] = scored(head)
    train(model, "polarity", texts, known, loss, args, head)
    results["adapter"] = scored(head)
    report("polarity", results)
    p, n = results["adapter"].mean[0], len(held_out)
    print(f"the choice of the {n} texts alone gives an accuracy a standard error of "
          f"{math.sqrt(p * (1 - p) / n):.3f}")  # fmt: skip
    return results


# ---- results -------------------------------------------------------------------------------------


def report(task: str, results: Results) -> None:
    """Print means over chips with 95 % intervals.

    The gain is on the same chips. "recovered" divides it by what the base alone has lost, where
    that is more than its interval; it can exceed 100 %, since an adapter may do better than the
    model that it was made for, with no chip at all.
    "own loss" is against the adapter's own digital score.
    """
    direct, adapter = results["direct"], results["adapter"]
    print(f"\n{task}: digital {direct.digital:.4f}, with the adapter {adapter.digital:.4f}")
    gain = replace(adapter, scores=adapter.scores - direct.scores)
    columns = {**results, "gain": gain}
    heads = "".join(f"{name:>18}" for name in columns)
    print(f"{'time':>6}{heads}{'recovered':>12}{'own loss':>11}")
    lost = direct.digital - direct.mean
    for k, row in enumerate(direct.rows()):
        cells = [f"{r.mean[k]:8.4f} +- {r.half_width()[k]:.4f}" for r in columns.values()]
        share = f"{gain.mean[k] / lost[k]:.0%}" if lost[k] > direct.half_width()[k] else "-"
        own = adapter.digital - adapter.mean[k]
        print(f"{row['time']:>6}" + "".join(f"{c:>18}" for c in cells) + f"{share:>12}{own:>11.4f}")


def plot(results: dict[str, Results], path: str) -> None:
    """Draw the scores of each task over time: mean and 95 % interval over chips."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    titles = {"lee": "similarity of texts (correlation)", "polarity": "review polarity (accuracy)"}
    for axes, (task, found) in zip(figure.subplots(1, 2), results.items(), strict=True):
        direct = found["direct"]
        for name, result in found.items():
            shown = {"marker": "o", "capsize": 3, "label": name}
            axes.errorbar(result.times, result.mean, result.half_width(), **shown)
        axes.axhline(direct.digital, color="0.3", linestyle="--", label="digital")
        axes.set_xscale("log")
        axes.set_xticks(direct.times, [row["time"] for row in direct.rows()])
        axes.minorticks_off()
        axes.set(title=titles[task], xlabel="time since programming")
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Freeze the base, train an adapter a task, and compare with the base alone as chips age."""
    args = options()
    torch.manual_seed(args.seed)
    base = load_model()
    news = encode(corpus("lee_background.cor", "5d78d6dafd953bbf"), args.tokens)
    films = reviews(args.split, args.tokens)
    with torch.no_grad():
        of_news, of_films = base(*news), base(*films[0])  # embeddings by the digital model

    mho.convert(base, mho.override(mho.load(args.hardware), args.set), where=mho.linear)
    seen = [rows_of(news, torch.arange(32)), rows_of(films[0], films[2])]
    mho.calibrate(base, seen, method="quantile")
    model = with_adapters(base, "lee", "polarity")
    before = base_weights(model)
    results = {
        "lee": lee(model, news, of_news, args),
        "polarity": polarity(model, films, of_films, args),
    }
    check_swaps(model, rows_of(films[0], films[3][:8]), args)
    assert all(torch.equal(v, before[k]) for k, v in base_weights(model).items())
    print("the base is the same to the last bit")
    if args.plot:
        plot(results, args.plot)


if __name__ == "__main__":
    main()
