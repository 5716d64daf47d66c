"""Sizes, perplexities and speeds of .gguf files of one model in several types, all matrices alike.

``python -m tests.benchmarks.gguf_files MODEL.gguf --text test.txt``
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from problems.evaluation.measure import Measure
from problems.evaluation.objectives import Divergence
from problems.gguf import ggml
from problems.gguf.base import find_base
from problems.gguf.ggml import Encoded
from problems.gguf.llama import Llama
from problems.gguf.runtime import checked
from problems.gguf.write import contents
from problems.models.resident import Resident
from problems.models.settings import ModelSettings
from problems.texts.settings import TextSettings
from problems.texts.source import load_text
from problems.texts.windows import Windows, cut_windows

FILES = {"F16": None, "Q8_0": ("Q8_0", "Q8_0"), "Q4_0": ("Q4_0", "Q8_0")}
"""The type of the blocks' matrices, and that of the embedding."""


def encode(model: Any, whole: dict[str, torch.Tensor], kinds: tuple[str, str]) -> dict[str, Encoded]:
    """Quantise all matrices of a Llama model, in the file and in ``model``. ``whole``: its weights."""
    encoded = {}
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            kind = kinds["embed" in name]
            encoded[name] = Encoded(kind, ggml.quantize(whole[name].numpy(), kind))
            weight.copy_(torch.from_numpy(ggml.dequantize(encoded[name].data, kind, weight.shape[1])))
    return encoded


def speeds(path: Path) -> tuple[float, float]:
    """Tokens of a prompt of 512, and generated tokens, a second of the processor's time, with one thread."""
    model, prompt = Llama(str(path), 1), np.arange(512, dtype=np.int32)
    model.begin(544)
    rounds = []
    for _ in range(4):
        model.cut(0)
        start = time.process_time()
        logits = model.read(prompt, 0)
        middle = time.process_time()
        for place in range(512, 544):
            logits = model.read(logits.argmax(1).astype(np.int32), place)
        rounds.append((512 / (middle - start), 32 / (time.process_time() - middle)))
    return median(prefill for prefill, _ in rounds[1:]), median(decode for _, decode in rounds[1:])


@torch.no_grad()
def rows(resident: Resident, windows: Windows) -> Iterator[dict[str, Any]]:
    """A row for each of FILES, with figures of PyTorch and of llama.cpp."""
    model, base, measure = resident.model, find_base(resident), Measure(resident.forward, None)
    dense = Divergence(windows.predictions, 64)
    measure.total(windows.tokens, dense.learn)
    whole = {name: weight.clone() for name, weight in model.named_parameters()}
    for name, kinds in FILES.items():
        made = contents(model, base, encode(model, whole, kinds) if kinds else {})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.gguf"
            made.write(path)
            found = checked(
                path, load_text(windows.settings, "text"), windows.tokens, windows.begin is not None, dense.known
            )
            prefill, decode = speeds(path)
        own = {"perplexity": measure.perplexity(windows.tokens), "divergence": measure.value(windows.tokens, dense)}
        yield {"file": name, "bytes": made.bytes, "pytorch": own, "llama.cpp": found, "prompt": prefill, "new": decode}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--windows", type=int, default=8)
    given = parser.parse_args()
    resident = Resident.load(ModelSettings(model=given.model, dtype="float32", device="cpu"))
    text = TextSettings(source=given.text, window=given.window, windows=given.windows)
    for row in rows(resident, cut_windows(text, resident.tokenizer, "text")):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
