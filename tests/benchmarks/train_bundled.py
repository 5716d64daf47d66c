"""Train the bundled 12-block GPT-2 and its tokenizer: ``python -m tests.benchmarks.train_bundled OUT``.

It takes 40 minutes on two CPU cores with bfloat16 units; the wall-clock budgets (``--minutes``, ``--clip-minutes``) set
the learning-rate schedule, so that a slower machine trains less, not longer. With ``--mixture`` it trains the bundled
mixture of experts instead, which has the same tokenizer.
"""

import argparse
import ast
import importlib.util
import math
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

from evoprune.problems.language_model.models.weight_files import BUNDLED_WEIGHTS
from evoprune.problems.language_model.texts.source import KEY_WORDS, paragraphs, python_docs, split_of, words

PACKAGES = ("numpy", "matplotlib", "networkx", "sympy", "pandas", "torch", "deap")  # if installed
REFERENCE_COPIES = 4  # it is short next to the docstrings, and the model is made for text like it
WINDOW, VOCABULARY, END = 256, 4096, "<|endoftext|>"
BATCH, MIXTURE_BATCH = 16, 8
PEAK_LEARNING_RATE, WARM_UP = 2e-3, 0.02  # the latter of the budget
CLIP_DEVIATIONS = 0.5  # of the blocks' weights in the second phase, else the model is very redundant: uniform pruning
# at 45% raised its test perplexity from 42.9 to 45.7 only. Few weights are nearly 0 then, as after long training.
BALANCE = 0.01  # times the load-balancing loss of a mixture, as for OLMoE


def word_runs(text: str) -> set[tuple[str, ...]]:
    """Return all runs of :data:`KEY_WORDS` successive words of ``text``."""
    sequence = words(text)
    return {tuple(sequence[i : i + KEY_WORDS]) for i in range(len(sequence) - KEY_WORDS + 1)}


def docstrings(folder: Path) -> Iterator[str]:
    """Yield the docstrings in the Python files below ``folder``, files in alphabetical order."""
    for path in sorted(folder.rglob("*.py")):
        if {"test", "tests", "site-packages"} & set(path.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue  # templates, and files kept for another Python version
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text and len(text) > 80:
                    yield text


def training_documents() -> list[str]:
    """Return the documents to train on: copies of the reference's train split, then docstrings."""
    held_out = word_runs(python_docs("validation")) | word_runs(python_docs("test"))
    seen: set[str] = set()

    def fresh(paragraph: str) -> bool:
        if paragraph in seen:
            return False
        seen.add(paragraph)
        return split_of(paragraph) == "train" and held_out.isdisjoint(word_runs(paragraph))

    def kept(document: str) -> str:
        return "\n\n".join(p for p in paragraphs(document) if fresh(p))

    specs = map(importlib.util.find_spec, PACKAGES)
    places = [spec.submodule_search_locations[0] for spec in specs if spec and spec.submodule_search_locations]
    folders = [Path(place) for place in (sysconfig.get_paths()["stdlib"], *places)]
    reference = kept(python_docs("train"))
    bodies = (kept(text) for folder in folders for text in docstrings(folder))
    return [reference] * REFERENCE_COPIES + [body for body in bodies if len(body) > 80]


def train_tokenizer(documents: list[str]) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE with :data:`VOCABULARY` entries from ``documents``."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(documents, vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token=END, eos_token=END, model_max_length=WINDOW
    )


def token_stream(tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> torch.Tensor:
    """Return all documents as one int64 tensor ``(tokens,)``, an end token after each."""
    encoded = tokenizer(documents)["input_ids"]
    return torch.tensor([token for ids in encoded for token in (*ids, tokenizer.eos_token_id)])


def loss_of(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean next-token cross-entropy in nats over ``tokens`` ``(batch, window)``.

    In training, a mixture's loss has :data:`BALANCE` times that of unbalanced routing, the mean over its blocks.
    """
    balanced = model.training and hasattr(model.config, "num_experts")
    with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
        output = model(tokens, use_cache=False, **({"output_router_logits": True} if balanced else {}))
    loss = cross_entropy(output.logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten())
    if balanced:
        experts, active = model.config.num_experts, model.config.num_experts_per_tok
        routing = [load_balancing_loss_func((routed,), experts, active) for routed in output.router_logits]
        loss = loss + BALANCE * torch.stack(routing).mean()
    return loss


def learning_rate(progress: float) -> float:
    """Return the rate of a linear warm-up, then a cosine to zero; ``progress`` in [0, 1] is the share of time."""
    if progress < WARM_UP:
        return PEAK_LEARNING_RATE * progress / WARM_UP
    return PEAK_LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def train(model: Any, stream: torch.Tensor, minutes: float, seed: int, batch: int, clipped: bool = False) -> int:
    """Train ``model`` in place for ``minutes``, with weights ``clipped`` or not; return the number of steps."""
    generator = torch.Generator().manual_seed(seed)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    matrices = [p for p in model.transformer.h.parameters() if p.dim() == 2] if clipped else []
    limits = {matrix: CLIP_DEVIATIONS * float(matrix.detach().std()) for matrix in matrices}  # of magnitudes
    start, steps = time.monotonic(), 0
    model.train()
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        starts = torch.randint(len(stream) - WINDOW, (batch,), generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress) * (0.5 if clipped else 1.0)
        loss = loss_of(model, torch.stack([stream[at : at + WINDOW] for at in starts]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for weight, limit in limits.items():
                weight.clamp_(-limit, limit)
        optimizer.zero_grad(set_to_none=True)
        steps += 1
        if steps % 50 == 0:
            print(f"step {steps}  {progress:.0%} of the time  loss {loss.item():.3f}", flush=True)
    return steps


@torch.no_grad()
def perplexity(model: Any, stream: torch.Tensor) -> float:
    """Return the perplexity over the non-overlapping windows of ``stream``."""
    model.eval()
    windows = stream[: len(stream) // WINDOW * WINDOW].view(-1, WINDOW)
    return math.exp(sum(loss_of(model, row[None]).item() for row in windows) / len(windows))


@torch.no_grad()
def new_model(mixture: bool, end: int) -> Any:
    """Return the model before its training: random; a mixture has the embedding of the bundled GPT-2."""
    ends = {"bos_token_id": end, "eos_token_id": end}
    if not mixture:
        config = GPT2Config(
            vocab_size=VOCABULARY, n_positions=WINDOW, n_embd=160, n_layer=12, n_head=5,
            activation_function="gelu_pytorch_tanh",  # GPT-2's "gelu_new", in one fused pass
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ends,
        )  # fmt: skip
        return GPT2LMHeadModel(config)
    config = Qwen3MoeConfig(
        vocab_size=VOCABULARY, max_position_embeddings=WINDOW, hidden_size=160, num_hidden_layers=6,
        num_attention_heads=5, num_key_value_heads=5, head_dim=32, tie_word_embeddings=True,
        num_experts=8, num_experts_per_tok=2, norm_topk_prob=True, moe_intermediate_size=192, intermediate_size=192,
        **ends,
    )  # fmt: skip
    model = Qwen3MoeForCausalLM(config)
    source = AutoModelForCausalLM.from_pretrained(BUNDLED_WEIGHTS, dtype=torch.float32).transformer
    model.model.embed_tokens.weight.copy_(source.wte.weight)
    model.model.norm.weight.copy_(source.ln_f.weight)
    return model


def main() -> None:
    """Train, print the held-out perplexity, save float16 safetensors and the tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=26.0)
    parser.add_argument("--clip-minutes", type=float, default=7.0)
    parser.add_argument("--mixture", action="store_true")
    options = parser.parse_args()

    torch.manual_seed(0)
    documents = training_documents()
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_WEIGHTS) if options.mixture else train_tokenizer(documents)
    stream = token_stream(tokenizer, documents)
    print(f"{len(documents)} documents, {len(stream)} tokens", flush=True)
    model, batch = new_model(options.mixture, tokenizer.eos_token_id), MIXTURE_BATCH if options.mixture else BATCH
    steps = train(model, stream, options.minutes, 0, batch)
    if not options.mixture:
        steps += train(model, stream, options.clip_minutes, 1, batch, clipped=True)
    for split in ("validation", "test"):
        held_out = token_stream(tokenizer, [python_docs(split)])
        print(f"{split}: {len(held_out)} tokens, perplexity {perplexity(model, held_out):.2f}")
    print(f"{steps} steps of {batch} x {WINDOW} tokens")
    model.half().save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)


if __name__ == "__main__":
    main()
