"""Tiny random models of many architectures, and their .gguf files as llama.cpp's converter writes them.

The converter's steps are written down anew here, one after the other: nothing is shared with the code that is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gguf import MODEL_ARCH_NAMES, GGUFValueType, GGUFWriter, get_tensor_name_map
from numpy.typing import NDArray

from tests.problems.language_model.gguf.models import VOCABULARY, byte_tokenizer, random_model

WIDTH, HEADS, GROUPS, CHANNELS, POSITIONS = 64, 4, 2, 96, 64

_TYPES = {bool: GGUFValueType.BOOL, int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32}

Rows = NDArray[np.float32]
Convert = Callable[[str, Rows, Any], Rows]
"""For a name in the file, a tensor of transformers and the config: the tensor in the file."""


def _plus_one(name: str, rows: Rows, _: Any) -> Rows:
    return rows + 1 if name.endswith("norm.weight") else rows


def _permuted(name: str, rows: Rows, config: Any) -> Rows:
    heads = {"attn_q": config.num_attention_heads, "attn_k": getattr(config, "num_key_value_heads", 0)}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return rows
    halves = rows.reshape(count, 2, rows.shape[0] // count // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _neox_qkv(name: str, rows: Rows, config: Any) -> Rows:
    if "attn_qkv" not in name:
        return rows
    each = rows.reshape(config.num_attention_heads, 3, -1, *rows.shape[1:])
    return np.concatenate([each[:, part].reshape(-1, *rows.shape[1:]) for part in range(3)])


def _falcon_qkv(name: str, rows: Rows, config: Any) -> Rows:
    if "attn_qkv" not in name:
        return rows
    groups = config.num_kv_heads if config.new_decoder_architecture else 1
    size = config.hidden_size // config.num_attention_heads
    each = rows.reshape(groups, config.num_attention_heads // groups + 2, size, -1)
    parts = each[:, :-2], each[:, [-2]], each[:, [-1]]
    return np.concatenate([part.reshape(-1, rows.shape[-1]) for part in parts])


def _transposed(name: str, rows: Rows, _: Any) -> Rows:
    matrices = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return rows.T.copy() if name.endswith(matrices) else rows


def _as_it_is(_: str, rows: Rows, __: Any) -> Rows:
    return rows


@dataclass(frozen=True)
class Architecture:
    """``kind``: of transformers; ``name``: llama.cpp's. ``settings``: of the config; ``fields``: of the file, besides.

    ``loads``: whether transformers reads its .gguf files; ``own``: whether a file can be made of a folder alone;
    ``loses``: what may be left out of all ``blocks``.
    """

    kind: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, float] = field(default_factory=dict)
    convert: Convert = _as_it_is
    loads: bool = True
    own: bool = True
    loses: tuple[str, ...] = ("blocks", "channels")
    blocks: int = 2
    extra: Callable[[Any], dict[str, Rows]] = lambda _: {}

    def model(self) -> Any:
        """With weights that 16 bits hold exactly, large enough that all of them matter."""
        usual = {
            "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": CHANNELS,
            "num_hidden_layers": self.blocks, "num_attention_heads": HEADS, "num_key_value_heads": GROUPS,
            "max_position_embeddings": POSITIONS,
            "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None, "attn_implementation": "eager",
        }  # fmt: skip
        config = getattr(transformers, f"{self.kind}Config")(**usual | self.settings)
        return random_model(config)

    def write(self, model: Any, path: Path) -> Path:
        """The file of ``model``, its matrices in 16 bits."""
        config, writer = model.config, GGUFWriter(path, self.name)
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        numbers = {
            "context_length": POSITIONS, "embedding_length": config.hidden_size, "block_count": self.blocks,
            "feed_forward_length": CHANNELS, "attention.head_count": config.num_attention_heads,
            "attention.head_count_kv": GROUPS, "rope.dimension_count": size, "attention.key_length": size,
            "attention.value_length": size, "vocab_size": VOCABULARY,
        }  # fmt: skip
        reals = {
            "rope.freq_base": 10000.0, "attention.layer_norm_rms_epsilon": getattr(config, "rms_norm_eps", 1e-5),
            "attention.layer_norm_epsilon": 1e-5,
        }  # fmt: skip
        for key, value in (numbers | reals | self.fields).items():
            writer.add_key_value(f"{self.name}.{key}", value, _TYPES[type(value)])
        _add_tokenizer(writer, self.name.startswith("gemma"))
        known = get_tensor_name_map({name: key for key, name in MODEL_ARCH_NAMES.items()}[self.name], self.blocks)
        for parameter, weight in model.named_parameters():
            module, _, kind = parameter.rpartition(".")
            name = f"{known.get_name(module)}.{kind}"
            rows = self.convert(name, weight.numpy(), config)
            writer.add_tensor(name, np.ascontiguousarray(rows, np.float32 if rows.ndim == 1 else np.float16))
        for name, rows in self.extra(model).items():
            writer.add_tensor(name, rows)
        for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
            step()
        writer.close()
        return path


def _add_tokenizer(writer: GGUFWriter, pieces: bool) -> None:
    """Of bytes: in the manner of GPT-2, or of SentencePiece."""
    known = byte_tokenizer().get_vocab()
    tokens, kinds, begin = sorted(known, key=known.__getitem__), [3] + [1] * (VOCABULARY - 1), 0
    if pieces:
        tokens, kinds = ["<pad>", "<eos>", "<bos>", "<unk>"], [3, 3, 3, 2] + [6] * 256
        tokens += [f"<0x{byte:02X}>" for byte in range(256)]
        begin = 2
        writer.add_token_scores([0.0] * VOCABULARY)
        writer.add_unk_token_id(3)
    else:
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(["t h", "Ġ a", "th e"])
    writer.add_tokenizer_model("llama" if pieces else "gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(int(pieces))
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(pieces)


_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


def _rope_factors(model: Any) -> dict[str, Rows]:
    """What each frequency is divided by."""
    scaled = model.model.rotary_emb.inv_freq
    plain = 10000.0 ** -(torch.arange(len(scaled)) / len(scaled))
    return {"rope_freqs.weight": (plain / scaled).numpy().astype(np.float32)}


_WINDOW = {"attention.sliding_window": 32}
_WIDE = {"head_dim": 256, "num_attention_heads": 2, "sliding_window": 32}
_CAPPED = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
_PARTLY_TURNED = {"rope.dimension_count": 4, "use_parallel_residual": False}
_FOUR_TIMES = {"feed_forward_length": 4 * WIDTH}
_NO_GROUPS, _ONE_EACH = {"num_key_value_heads": HEADS}, {"attention.head_count_kv": HEADS}

ALL = ("blocks", "channels", "heads")
ARCHITECTURES = {
    "llama": Architecture(
        "Llama", "llama", {"head_dim": 64, "tie_word_embeddings": False}, convert=_permuted, loses=ALL
    ),
    "llama 3": Architecture(
        "Llama", "llama", {"head_dim": 64, "rope_parameters": _LLAMA3, "tie_word_embeddings": True},
        convert=_permuted, extra=_rope_factors, loses=ALL,
    ),
    "llama with biases": Architecture(
        "Llama", "llama", {"attention_bias": True, "mlp_bias": True}, convert=_permuted, loses=ALL
    ),
    "mistral": Architecture("Mistral", "llama", {"head_dim": 16, "sliding_window": None}, convert=_permuted, loses=ALL),
    "qwen2": Architecture("Qwen2", "qwen2"),
    "qwen3": Architecture("Qwen3", "qwen3", {"head_dim": 128}, loses=ALL),
    "gemma2": Architecture(
        "Gemma2", "gemma2", _WIDE, _CAPPED | _WINDOW, _plus_one, own=False, loses=("channels", "heads")
    ),
    "gemma3": Architecture(
        "Gemma3Text", "gemma3", _WIDE, {"rope.freq_base": 1e6, **_WINDOW}, _plus_one, own=False,
        loses=("channels", "heads"), blocks=6,
    ),
    "phi3": Architecture("Phi3", "phi3", {"pad_token_id": 0}, own=False),
    "olmo2": Architecture("Olmo2", "olmo2", loads=False),
    "stablelm": Architecture("StableLm", "stablelm", {"use_qkv_bias": True}, _PARTLY_TURNED),
    "falcon": Architecture(
        "Falcon", "falcon", {"bias": False}, {"attention.head_count_kv": 1, **_FOUR_TIMES}, _falcon_qkv, own=False
    ),
    "falcon in groups": Architecture(
        "Falcon", "falcon", {"bias": False, "new_decoder_architecture": True, "num_kv_heads": GROUPS}, _FOUR_TIMES,
        _falcon_qkv, False, False,
    ),
    "gptneox": Architecture(
        "GPTNeoX", "gptneox", _NO_GROUPS, {**_PARTLY_TURNED, **_ONE_EACH, "use_parallel_residual": True},
        _neox_qkv, False,
    ),
    "gpt2": Architecture("GPT2", "gpt2", {"n_inner": CHANNELS, **_NO_GROUPS}, _ONE_EACH, _transposed),
}  # fmt: skip
