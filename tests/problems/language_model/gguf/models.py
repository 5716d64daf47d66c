"""Tiny random models whose tokenizer is of bytes, and base files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFWriter
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3MoeConfig,
)

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import Base, as_field, make_base
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.names import head_size
from evoprune.problems.language_model.gguf.reader import Tensor
from evoprune.problems.language_model.gguf.write import contents

END = "<|endoftext|>"
VOCABULARY = 260
"""The end, 256 bytes, and three pairs of them."""


def byte_tokenizer(begin: bool = False) -> Any:
    """A byte-level tokenizer in the manner of GPT-2's; ``begin``: it puts the end before each text, as OPT's does."""
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("Ġ", "a"), ("th", "e")]
    tokens = [END, *signs, *("".join(pair) for pair in merges)]
    made = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if begin:
        made.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=END, eos_token=END)


_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


def random_gpt2(blocks: int = 3) -> Any:
    """Of width 64, with 48 positions."""
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return random_model(GPT2Config(vocab_size=VOCABULARY, n_positions=48, n_embd=64, n_layer=blocks, n_head=4, **ends))


def random_llama(blocks: int = 3, groups: int = 2, tied: bool = True, head: int = 16) -> Any:
    """Of width 64, with four heads."""
    sizes = {"num_hidden_layers": blocks, "num_key_value_heads": groups, "head_dim": head}
    return random_model(LlamaConfig(**_SIZES | sizes, tie_word_embeddings=tied))


def random_qwen2(blocks: int = 3) -> Any:
    """Of width 64, with biases in its attentions: an architecture that this package has no code for."""
    return random_model(Qwen2Config(**_SIZES, num_hidden_layers=blocks))


def random_qwen3_moe(blocks: int = 3) -> Any:
    """Of width 64, with six experts of which a token chooses two."""
    experts = {"moe_intermediate_size": 32, "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": True}
    return random_model(Qwen3MoeConfig(**_SIZES, **experts, num_hidden_layers=blocks, head_dim=16))


def random_model(config: Any) -> Any:
    """With weights that 16 bits hold exactly, large enough that all of them matter."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.data = (parameter + 0.1 * torch.randn_like(parameter)).half().float()
    model.tie_weights()
    return model


def base_of(model: Any) -> Base:
    """As a file of the dense ``model`` would give it."""
    if model.config.model_type in ("gpt2", "qwen3_moe"):
        base = make_base(model, byte_tokenizer(), "tiny")
        assert base is not None
        return base
    tokenizer = make_base(random_gpt2(1), byte_tokenizer(), "tiny")
    assert tokenizer is not None
    config, name = model.config, model.config.model_type
    numbers = {
        "context_length": config.max_position_embeddings, "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers, "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads, "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_size(model), "attention.value_length": head_size(model),
        "rope.dimension_count": head_size(model), "vocab_size": config.vocab_size,
    }  # fmt: skip
    reals = {"attention.layer_norm_rms_epsilon": config.rms_norm_eps, "rope.freq_base": 10000.0}
    fields = {key: value for key, value in tokenizer.fields.items() if not key.startswith("gpt2.")}
    fields |= {f"{name}.{key}": as_field(value) for key, value in numbers.items()}
    fields |= {f"{name}.{key}": as_field(value) for key, value in reals.items()}
    return Base(name, fields)


def write_model(model: Any, path: Path) -> Path:
    """The dense ``model`` as a file in 16 bits, or what is left of it."""
    contents(model, base_of(model), {}).write(path)
    return path


def write_quantised(model: Any, path: Path, kind: str, of_embedding: str = "Q8_0") -> Path:
    """The dense ``model``, a Llama or Qwen, as a file whose blocks' matrices are in ``kind``, but for routers."""
    weights = {name: own.flatten(0, -2) for name, own in model.named_parameters() if own.dim() > 1}
    weights = {name: weight for name, weight in weights.items() if not name.endswith("mlp.gate.weight")}
    kinds = {name: kind if "layers" in name else of_embedding for name in weights}
    encoded = {name: GgmlMatrix(own, ggml.quantize(weights[name].numpy(), own)) for name, own in kinds.items()}
    contents(model, base_of(model), encoded).write(path)
    return path


def logits_of(model: Any, path: Path, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of ``tokens`` in PyTorch, and of the file in llama.cpp."""
    with torch.inference_mode():
        expected = model(tokens, use_cache=False).logits
    return expected, llama_logits(path, tokens)


def llama_logits(path: Path, tokens: torch.Tensor) -> torch.Tensor:
    """Logits ``(windows, window, vocabulary)`` of the file in llama.cpp."""
    from evoprune.problems.language_model.gguf import llama

    there, found = llama.Llama(str(path), 1), []
    there.open_context(tokens.shape[1])
    for row in tokens.numpy().astype(np.int32):
        there.truncate(0)
        found.append(there.decode(row, 0, every=True).copy())
    return torch.from_numpy(np.stack(found))


def tensor_of(array: NDArray[np.float32]) -> Tensor:
    """``array`` as a file holds it."""
    return Tensor("F32", array.shape, array.nbytes, np.atleast_2d(array).view(np.uint8))


def write_empty(path: Path, architecture: str = "llama") -> Path:
    """A file without a tokenizer or tensors."""
    writer = GGUFWriter(path, architecture)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return path
