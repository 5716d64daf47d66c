"""Small random models of each kind of architecture, and a slow reference for perplexity."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
)

from evoprune.cli import main
from problems.pruning.evaluation.measure import Measure
from problems.pruning.evaluation.objectives import Perplexity
from problems.pruning.masking.groups import group
from problems.pruning.masking.masks import BASE, LEVEL, Masks
from problems.pruning.masking.ranks import levels, ranks_in_matrix
from problems.pruning.model.blocks import find_matrices
from problems.pruning.model.forward import Forward

VOCABULARY = 128
ARCHITECTURES = ("gpt2", "llama", "opt", "gpt_neox")
_ENDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def random_model(name: str, seed: int = 0, blocks: int = 3) -> torch.nn.Module:
    """A model of ``blocks`` blocks and width 64 with random weights large enough that pruning matters."""
    torch.manual_seed(seed)
    model = {
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=64, n_layer=blocks, n_head=4, **_ENDS)
        ),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY, hidden_size=64, intermediate_size=160, num_hidden_layers=blocks,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, **_ENDS,
            )
        ),
        "opt": lambda: OPTForCausalLM(
            OPTConfig(
                vocab_size=VOCABULARY, hidden_size=64, word_embed_proj_dim=32, ffn_dim=128, num_hidden_layers=blocks,
                num_attention_heads=4, max_position_embeddings=64, **_ENDS,
            )
        ),
        "gpt_neox": lambda: GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=blocks,
                num_attention_heads=4, max_position_embeddings=64, tie_word_embeddings=False, **_ENDS,
            )
        ),
    }[name]()  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return model.eval().requires_grad_(False)


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
    stored |= {LEVEL + m.name: levels(ranks_in_matrix(m.weight.abs())) for m in matrices}
    return Masks(group(matrices, genes), stored)


def perplexity_of(model: torch.nn.Module, tokens: torch.Tensor, batch_tokens: int | None = None) -> float:
    """As the evaluator takes it."""
    perplexity = Perplexity()
    total = Measure(Forward(model), batch_tokens).total(tokens, perplexity.add)
    return perplexity.value(total, tokens.shape[0] * (tokens.shape[1] - 1))


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    """Each architecture in turn."""
    return random_model(request.param)


@pytest.fixture
def tokens() -> torch.Tensor:
    """Five windows of 32 random tokens."""
    return torch.randint(VOCABULARY, (5, 32), generator=torch.Generator().manual_seed(1))


def _text(path, seed):
    """200 random words, in a file."""
    path.write_text(" ".join(f"w{word}" for word in random.Random(seed).choices(range(VOCABULARY), k=200)))
    return path


@pytest.fixture(scope="session")
def run_on(tmp_path_factory):
    """Runs a tiny search on a random model of the given architecture; returns the run's folder. Once each.

    ``reconstruct`` and ``stages`` are the problem's ``reconstruct`` and ``reconstruct_stages``.
    """
    done = {}

    def run(architecture, dtype="float32", reconstruct="none", stages=()):
        key = (architecture, dtype, reconstruct, stages)
        if key in done:
            return done[key]
        home = tmp_path_factory.mktemp(architecture)
        random_model(architecture).save_pretrained(home / "model")
        words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w0").save_pretrained(home / "model")
        problem = {
            "use": "pruning", "model": str(home / "model"), "dtype": dtype, "device": "cpu", "curve": [],
            "reconstruct": reconstruct, "reconstruct_stages": stages,
            "search_text": {"source": str(_text(home / "search.txt", 1)), "window": 32, "windows": 2},
            "report_text": {"source": str(_text(home / "report.txt", 2)), "window": 32, "windows": 4},
        }  # fmt: skip
        spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}}
        (home / "experiment.yaml").write_text(json.dumps(spec))
        assert main(["run", str(home / "experiment.yaml"), "--runs-dir", str(home), "--name", "run"]) == 0
        done[key] = home / "run"
        return home / "run"

    return run
