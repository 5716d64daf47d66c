"""How cost grows with tokens, blocks and width, on random models made on the fly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from problems.language_model.model.load import BUNDLED_WEIGHTS
from problems.language_model.settings import TextSettings
from problems.language_model.text.python_docs import python_docs
from problems.pruning.settings import PruningSettings
from tests.benchmarks.candidates import unrelated
from tests.benchmarks.ways import Worker

WINDOW = 512
_BLOCKS, _WIDTH = 12, 256


def growth(
    tokens: list[int], blocks: list[int], widths: list[int], rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Median seconds of an unrelated candidate, the ways in turns, on Llama-like models of heads of 64.

    By tokens with 12 blocks of width 256; by blocks and by width with an eighth of the most tokens.
    """
    part = max(tokens) // 8
    found: dict[str, Any] = {"tokens": {}, "blocks": {}, "width": {}, "part": part}
    with TemporaryDirectory(prefix="models-") as home:
        text = _text(Path(home), max(tokens))
        sizes = {(_BLOCKS, _WIDTH), *((count, _WIDTH) for count in blocks), *((_BLOCKS, width) for width in widths)}
        for depth, width in sorted(sizes):
            counts = tokens if (depth, width) == (_BLOCKS, _WIDTH) else []
            settings = _settings(_model(Path(home), depth, width), text, max([part, *counts]))
            seconds = _seconds(settings, sorted({*counts, part}), rounds)
            say(f"{depth} blocks of width {width}")
            if counts:
                found["tokens"] = {way: {n: by[n] for n in counts} for way, by in seconds.items()}
            for kind, size, other in (("blocks", depth, width == _WIDTH), ("width", width, depth == _BLOCKS)):
                if other and size in {"blocks": blocks, "width": widths}[kind]:
                    for way, by in seconds.items():
                        found[kind].setdefault(way, {})[size] = by[part]
    return found


def _seconds(settings: PruningSettings, tokens: list[int], rounds: int) -> dict[str, dict[int, float]]:
    """By way and tokens."""
    rng = Random(0)
    with Worker("plain", settings) as plain, Worker("ours", settings) as ours:
        workers = {"plain": plain, "ours": ours}
        genes = plain.ask("genes")
        ours.ask("genes")
        times: dict[str, dict[int, list[float]]] = {way: {n: [] for n in tokens} for way in workers}
        for turn in range(rounds + 1):
            for count in tokens:
                genome = unrelated(rng, genes, settings.sparsity)
                for way, worker in workers.items():
                    worker.ask("forget")
                    times[way][count].append(worker.ask("timed", genome, max(1, count // WINDOW))[0])
            if not turn:  # the first is slower
                times = {way: {n: [] for n in tokens} for way in workers}
    return {way: {n: median(seconds) for n, seconds in by.items()} for way, by in times.items()}


def _text(home: Path, tokens: int) -> Path:
    """The bundled text, as often as it takes; few tokens have over eight characters."""
    text, path = python_docs("train"), home / "text.txt"
    path.write_text(text * (1 + 8 * tokens // len(text)), encoding="utf-8")
    return path


def _model(home: Path, blocks: int, width: int) -> Path:
    """A folder with a random model and the bundled tokenizer."""
    torch.manual_seed(0)
    logging.disable_progress_bar()
    heads = width // 64
    sizes = {"hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": blocks}
    shape = sizes | {"num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": 4096}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "max_position_embeddings": WINDOW}
    folder = home / f"{blocks}-{width}"
    LlamaForCausalLM(LlamaConfig(**shape, **ends)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED_WEIGHTS / name, folder)
    return folder


def _settings(model: Path, text: Path, tokens: int) -> PruningSettings:
    return PruningSettings(
        model=str(model), search_text=TextSettings(source=str(text), window=WINDOW, windows=max(1, tokens // WINDOW))
    )
