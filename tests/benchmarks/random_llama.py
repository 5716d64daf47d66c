"""Writes a random Llama-like model with the bundled tokenizer: one whose time is measured, and nothing else.

::

    python -m tests.benchmarks.random_llama FOLDER --blocks 18 --width 640 --vocabulary 262144
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from problems.models.load import BUNDLED_WEIGHTS

VOCABULARY, POSITIONS = 4096, 512
"""Tokens of the bundled tokenizer, and the most positions of a window."""


def write(folder: Path, blocks: int, width: int, vocabulary: int = VOCABULARY) -> Path:
    """Write it to ``folder``: heads of 64, an MLP of three times the width, an embedding tied to the head."""
    torch.manual_seed(0)
    logging.disable_progress_bar()
    heads = width // 64
    sizes = {"hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": blocks}
    shape = sizes | {"num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": vocabulary}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "max_position_embeddings": POSITIONS}
    LlamaForCausalLM(LlamaConfig(**shape, **ends, tie_word_embeddings=True)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED_WEIGHTS / name, folder)
    return folder


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--width", type=int, default=256, help="a multiple of 64")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    given = parser.parse_args()
    write(given.folder, given.blocks, given.width, given.vocabulary)


if __name__ == "__main__":
    main()
