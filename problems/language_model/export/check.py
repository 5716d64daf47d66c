"""A script: loads an exported model with plain transformers, and prints figures as JSON.

``python check.py JOB`` where JOB is a JSON file with ``folder``, ``matrices`` (names of layers), ``text`` (a file),
``window`` and ``windows``, ``begin`` (True if each starts with the tokenizer's BOS token), ``dtype``, ``device``,
``trust_remote_code``, and ``ragged`` for a model that only evoprune loads: for others it imports nothing of evoprune,
as other users have none. Optional ``rows``: the windows of a task file, where ``text`` is the start of the first one;
tokens that are not scored are complements.
"""

import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def tokenise(tokenizer: Any, job: dict[str, Any]) -> torch.Tensor:
    """Return the first windows ``(windows, window)`` of the text, int64."""
    text = Path(job["text"]).read_bytes().decode()  # with carriage returns as they are
    first = (bos_token(tokenizer) or [tokenizer.bos_token_id]) if job["begin"] else []
    length = job["window"] - len(first)
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if job.get("rows"):
        rows = torch.tensor(job["rows"])
        tokens = torch.tensor(first + ids)[: rows.shape[1]]  # a smaller vocabulary may need more tokens
        rows[0, : len(tokens)] = torch.where(rows[0, : len(tokens)] < 0, ~tokens, tokens)
        return rows
    return torch.tensor([first + ids[at * length : (at + 1) * length] for at in range(job["windows"])])


def bos_token(tokenizer: Any) -> list[int]:
    """Return the token that the tokenizer adds before a text by default, in a list."""
    usual, plain = (tokenizer("0", add_special_tokens=added)["input_ids"] for added in (True, False))
    return usual[:1] if usual[: len(plain)] != plain else []


@torch.inference_mode()
def perplexity(model: Any, tokens: torch.Tensor) -> float:
    """Return exp of the mean next-token loss, window by window, losses in float32."""
    total = 0.0
    for window in tokens.to(model.device):
        logits = model((window ^ (window >> 63))[None], use_cache=False).logits[0, :-1].float()
        targets = window[1:].clamp(min=-1)
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum", ignore_index=-1))
    mean = total / int((tokens[:, 1:] >= 0).sum())
    return math.exp(mean) if mean < 700 else math.inf


def zeros(model: Any, names: list[str]) -> dict[str, int]:
    """Count the zeros of each matrix."""
    weights = {name: model.get_submodule(name).weight for name in names}
    return {name: int(weight.numel() - torch.count_nonzero(weight)) for name, weight in weights.items()}


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Load, count, measure."""
    trust = {"trust_remote_code": job["trust_remote_code"]}
    start = time.perf_counter()
    if job["ragged"]:
        from evoprune.problems.language_model.export.ragged_model import load

        model = load(Path(job["folder"])).to(getattr(torch, job["dtype"]))
    else:
        model = AutoModelForCausalLM.from_pretrained(
            job["folder"], dtype=getattr(torch, job["dtype"]), use_safetensors=True, **trust
        )
    seconds = time.perf_counter() - start
    model = model.eval().to(job["device"])
    tokens = tokenise(AutoTokenizer.from_pretrained(job["folder"], **trust), job)
    return {
        "zeros": zeros(model, job["matrices"]),
        "perplexity": perplexity(model, tokens),
        "tokens_sha256": hashlib.sha256(tokens.numpy().tobytes()).hexdigest(),
        "load_seconds": round(seconds, 3),
        "attention": model.config._attn_implementation,
        "evoprune_imported": any(name.split(".")[0] == "evoprune" for name in sys.modules),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
