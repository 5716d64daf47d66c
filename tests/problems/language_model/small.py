"""Small random models of each kind of architecture, problems on them, and a slow reference for perplexity."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from evoprune import Genes, Problem
from evoprune.cli import main
from evoprune.interfaces.parts import Outcome
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.forward import Forward, predictions
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.transforms.weights.genes import group_matrices
from evoprune.problems.language_model.transforms.weights.masks import BASE, BINS, Masks, bins, ranks_in_matrix

IN_MEMORY = Placement(torch.device("cpu"), True)
"""Placement in memory."""
VOCABULARY = 128
BEGIN = VOCABULARY - 1
"""The token that a tokenizer puts before a text, if it does."""
ARCHITECTURES = ("gpt2", "llama", "opt", "gpt_neox")
BLOCKS = 3
CHOICES = [(f"w{i} w{i + 1}", [f" w{i + 2}", f" w{i + 3}"], i % 2) for i in range(8)]
"""The lines of a task in these models' words: a context, two answers, and which one is right."""
_ENDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 64, **_ENDS,
}  # fmt: skip
_CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (GPT2Config, {}),
    "llama": (LlamaConfig, {"intermediate_size": 160, "num_key_value_heads": 2}),
    "opt": (OPTConfig, {"word_embed_proj_dim": 32, "ffn_dim": 128}),
    "gpt_neox": (GPTNeoXConfig, {"intermediate_size": 128, "tie_word_embeddings": False}),
}


def random_model(name: str, seed: int = 0, blocks: int = BLOCKS) -> torch.nn.Module:
    """A model of ``blocks`` blocks and width 64 with random weights large enough that pruning matters."""
    torch.manual_seed(seed)
    kind, sizes = _CONFIGS[name]
    model = AutoModelForCausalLM.from_config(kind(num_hidden_layers=blocks, **_SIZES | sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return model.eval().requires_grad_(False)


def save(model: torch.nn.Module, folder: Path, begin: bool = False) -> str:
    """Write ``model`` and a tokenizer of the words ``w0`` to ``w127``; returns the folder's name.

    ``begin``: the tokenizer puts ``w127`` before each text.
    """
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"eos_token": "w0"}
    if begin:
        words.post_processor = processors.TemplateProcessing(single="w127 $A", special_tokens=[("w127", BEGIN)])
        named["bos_token"] = "w127"
    PreTrainedTokenizerFast(tokenizer_object=words, **named).save_pretrained(folder)
    return str(folder)


@cache
def _text_of(architecture: str, seed: int) -> str:
    """32 times 32 words that the model itself says, so that pruning makes it worse at predicting them."""
    model = random_model(architecture)
    torch.manual_seed(seed)
    starts = torch.randint(VOCABULARY, (32, 1))
    tokens = model.generate(starts, min_new_tokens=31, max_new_tokens=31, do_sample=True)
    return " ".join(f"w{word}" for word in tokens.flatten().tolist())


def problem_in(home: Path, architecture: str = "gpt2", begin: bool = False) -> dict[str, Any]:
    """What every problem on a small model is told: a random model, and texts that it says, saved in ``home``.

    Two windows of 32 tokens are searched, two held out, four reported on, and eight calibrate.
    ``begin``: as for :func:`save`.
    """
    for seed, name in enumerate(("search.txt", "report.txt"), 1):
        (home / name).write_text(_text_of(architecture, seed))
    return settings_in(home, save(random_model(architecture), home / "model", begin))


def settings_in(home: Path, model: str) -> dict[str, Any]:
    """The settings of a problem on ``model`` with the texts in ``home``, as of :func:`problem_in`."""
    text = {"window": 32}
    return {
        "model": model,
        "dtype": "float32",
        "device": "cpu",
        "search_text": text | {"source": str(home / "search.txt"), "windows": 2},
        "held_out_windows": 2,
        "report_text": text | {"source": str(home / "report.txt"), "windows": 4},
        "calibration_text": text | {"source": str(home / "search.txt"), "windows": 8},
    }


def run_in(
    home: Path, problem: dict[str, Any], *options: str, name: str = "run", code: int = 0, **experiment: Any
) -> Path:  # fmt: skip
    """Run a tiny search on ``problem`` with files in ``home``, which ends with ``code``; return its folder."""
    spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}} | experiment
    (home / "experiment.yaml").write_text(json.dumps(spec))
    assert main(["run", str(home / "experiment.yaml"), "--runs-dir", str(home), "--name", name, *options]) == code
    return home / name


def resume_cut(run: Path, left: int) -> None:
    """Resume ``run`` as if it had ended after ``left`` lines of its history."""
    for ended in ("result.json", "status.json"):
        (run / ended).unlink()
    lines = (run / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.jsonl").write_text("".join(lines[:left]))
    assert main(["resume", str(run)]) == 0


def outcome_of(problem: Problem, best: list[float]) -> Outcome:
    """What a search that found ``best`` would hand over."""
    references = {name: (genome, problem.evaluate(genome)) for name, genome in problem.references().items()}
    return Outcome(best, problem.evaluate(best), references)


def drawn(genes: Genes, rng: Random) -> list[float]:
    """A random genome of levels."""
    return [float(rng.randint(0, int(gene.up))) for gene in genes]


def is_mapped(tensor: torch.Tensor) -> bool:
    """Tell whether the values of ``tensor`` are in a file."""
    fields = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    spans = [(each[0].split("-"), each[4]) for each in fields]
    place = tensor.data_ptr()
    return any(int(first, 16) <= place < int(end, 16) and file != "0" for (first, end), file in spans)


def plain_perplexity(model: torch.nn.Module, tokens: torch.Tensor) -> float:
    """Window by window: the whole forward, all logits, cross-entropy in float32."""
    losses = []
    for window in tokens:
        logits = model(window[None]).logits[0, :-1].float()
        losses += torch.nn.functional.cross_entropy(logits, window[1:], reduction="none").tolist()
    return math.exp(sum(losses) / len(losses))


def masks_of(model: torch.nn.Module, genes: str = "block") -> Masks:
    """Masks by magnitude in each matrix."""
    matrices = find_matrices(model)
    stored = {BASE + m.name: m.weight.clone() for m in matrices}
    stored |= {BINS + m.name: bins(ranks_in_matrix(m.weight.abs())) for m in matrices}
    return Masks(group_matrices(matrices, genes), stored)


def weights_of(model: torch.nn.Module) -> list[torch.Tensor]:
    """A copy of each prunable matrix as it stands."""
    return [matrix.weight.clone() for matrix in find_matrices(model)]


def counted_sparsity(model: torch.nn.Module) -> float:
    """Of the prunable weights, by counting zeros one matrix after another."""
    weights = weights_of(model)
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def perplexity_of(model: torch.nn.Module, tokens: torch.Tensor, batch_tokens: int | None = None) -> float:
    """As a search takes it."""
    perplexity = Perplexity()
    total = Measure(Forward(model), batch_tokens).total(tokens, perplexity.add)
    return perplexity.value(total, predictions(tokens))


def inputs_of(model: torch.nn.Module, tokens: torch.Tensor) -> dict[str, Any]:
    """Each matrix's inputs ``(tokens, in)``, float64."""
    noted = {matrix.name: [] for matrix in find_matrices(model)}
    handles = [
        matrix.module.register_forward_hook(
            lambda _, inputs, __, name=matrix.name: noted[name].append(inputs[0].reshape(-1, inputs[0].shape[-1]))
        )
        for matrix in find_matrices(model)
    ]
    for window in tokens:
        model(window[None])
    for handle in handles:
        handle.remove()
    return {name: numpy.concatenate([rows.numpy() for rows in found]).astype(float) for name, found in noted.items()}
