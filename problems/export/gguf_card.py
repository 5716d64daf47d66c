"""What people are told of an exported .gguf file: its model card, and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evoprune import about, plain
from problems.export.card import (
    called,
    front_matter,
    how_found,
    how_measured,
    inline,
    perplexities,
    repeat,
)
from problems.export.runtime import lines
from problems.results.run_record import RunRecord

Json = Mapping[str, Any]


def card(run: RunRecord, facts: Json, file: str) -> str:
    """The text of the card of ``file``. ``facts``: what is stored beside it."""
    head = front_matter(facts, {"library_name": "gguf"}, ["gguf", "llama.cpp", "evoprune"])
    return "\n".join([*head, *_body(run, facts, file)]) + "\n"


def _body(run: RunRecord, facts: Json, file: str) -> Iterator[str]:
    made = f"as {called(facts)}" if run.rival else "made smaller"
    yield f"\n# {inline(facts['base_model'])}, {made} for llama.cpp\n"
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts["kinds"].items())
    yield (
        f"What was changed {how_found(facts)}. The file holds {kinds} tensors in "
        f"llama.cpp's architecture `{facts['architecture']}`. It runs like any other: `llama-cli -m {file}`.\n"
    )
    yield from (f"- {line}" for line in told(facts))
    if runtime := facts["runtime"]:
        yield (
            f"\nSpeeds of a prompt of {runtime['length']} tokens, and of tokens after it: both files timed in turn in "
            f"llama.cpp, {runtime['threads']} thread{'s' * (runtime['threads'] > 1)}, {inline(runtime['processor'])}. "
            "Memory: of a process that loads and runs the file. Dense is the model before, written in the same way."
        )
    yield "\nMeasured in the run, in PyTorch:\n"
    yield from perplexities(run, facts)
    yield "\n## Protocol\n"
    yield (
        f"{how_measured(run)}. llama.cpp read the same tokens; it rounds activations, so that its perplexity may "
        f"differ by {facts['check']['tolerance']:.0%}. Divergence is that of the file's predictions from the dense "
        "model's in PyTorch, in nats a token."
    )
    yield from repeat(run, about(Path(file), "experiment.yaml").name)


def told(facts: Json) -> Iterator[str]:
    """The size, what llama.cpp found of it, and what it takes beside the dense model's file."""
    check, runtime = facts["check"], facts["runtime"]
    yield f"{facts['bytes']:,} bytes, {facts['bits_per_weight']:.3g} bits for each weight in it{_beside(runtime)}"
    found, expected = check["perplexity"], check["run_perplexity"]
    off = f" ({found / expected - 1:+.2%})" if found and expected else ""
    yield (
        f"perplexity on the report text in llama.cpp {plain(found)}, in the run {plain(expected)}{off}; divergence "
        f"from dense {plain(check['divergence'])} nats a token, in PyTorch {plain(check['run_divergence'])}"
    )
    if (place := check.get("first_other_token")) is not None:
        yield (
            f"llama.cpp's tokenizer reads the report text in other tokens than transformers' from token {place:,} on: "
            "these figures are of the same tokens"
        )
    if runtime:
        yield from lines(runtime, called(facts))


def _beside(runtime: Json | None) -> str:
    return f"; the dense model's file has {runtime['file_bytes']['dense']:,}" if runtime else ""
