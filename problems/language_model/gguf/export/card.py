"""The card of a .gguf file, its verdict, and commands that run it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evoprune.plugins import commands, digits, plain, sidecar
from evoprune.problems.language_model.export.card import (
    code_span,
    front_matter,
    model_label,
    origin,
    perplexity_tables,
    protocol_text,
    reproduction,
)
from evoprune.problems.language_model.export.runtime import runtime_lines
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.export.facts import BASELINE, COLUMNS, FILE_LABELS, GgufFacts
from evoprune.problems.language_model.gguf.export.page import comparison
from evoprune.problems.language_model.models.settings import is_model_file
from evoprune.problems.language_model.results.summary import (
    details,
    megabytes,
    size_and_goal,
    warning,
)

_SAME = 0.01  # share of the bytes by which files of one size may differ

MODELFILE = "evoprune.Modelfile"  # Ollama reads the chat template from the file itself


def card(facts: GgufFacts, file: str) -> Iterator[str]:
    """Yield the model card of ``file``."""
    yield from front_matter(facts, "gguf", ["gguf", "llama.cpp", "evoprune"])
    change = f"as {model_label(facts)}" if facts.baseline else "made smaller"
    yield f"\n# {code_span(facts.base_model)}, {change} for llama.cpp\n"
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts.kinds.items())
    yield f"{verdict(facts)}\n"
    yield from (f"{block}\n" for block in comparison(facts))
    yield "\n".join(["```", *commands(usage(facts, file), Path(file)), "```\n"])
    yield (
        f"The change {origin(facts)}. The file holds {kinds} tensors in llama.cpp's architecture "
        f"`{facts.architecture}`.\n"
    )
    yield from _compared(facts, file)
    yield from (f"- {line}" for line in summary(facts))
    if runtime := facts.runtime:
        yield (
            f"\nSpeeds of a prompt of {runtime.length} tokens, and of tokens after it: both files timed in turn in "
            f"llama.cpp on {code_span(runtime.machine)}. Memory: of a process that loads and runs the file."
        )
    yield "\nMeasured in the run, in PyTorch:\n"
    yield from perplexity_tables(facts)
    yield "\n## Protocol\n"
    yield (
        f"{protocol_text(facts)}. llama.cpp read the same tokens and rounds activations: {facts.check.measurements}. "
        "Divergence is that of the file's predictions from the dense model's in PyTorch, in nats a token, of its "
        f"{facts.check.kl_top} likeliest tokens and all others as one."
    )
    yield from reproduction(facts, sidecar(Path(file), "experiment.yaml").name)
    if facts.recipe:
        trained = " The scales of this one were trained in addition." if facts.recovered else ""
        yield f"\n## The same types from llama.cpp alone\n\n```\n{facts.recipe}\n```\n"
        own = ", ".join(kind for kind in facts.kinds if kind in ggml.OWN)
        other = f" llama-quantize gives {own} tensors other scales, with a larger error." if own else ""
        yield f"From the source, or from another fine-tune of its model.{trained}{other}"


def _compared(facts: GgufFacts, file: str) -> Iterator[str]:
    """Yield a table of the file, its source and the file of llama-quantize, all on the report text in llama.cpp."""
    rows: list[tuple[str, int, Any]] = []
    if facts.source:
        rows.append((_source(facts), facts.source.bytes, facts.source))
    if facts.preset:
        rows.append((f"{BASELINE} ({facts.preset.name})", facts.preset.bytes, facts.preset))
    if not rows:
        return
    head = ["file", "bytes", FILE_LABELS["bits_per_byte"], FILE_LABELS["divergence"], *COLUMNS]
    yield f"| {' | '.join(head)} |\n{'|---' * len(head)}|"
    for name, size, row in [*rows, (code_span(file), facts.bytes, facts.check)]:
        error = f" ± {digits(row.predictions.error, 2)}" if row.predictions else ""
        cells = row.predictions.cells if row.predictions else ["-"] * len(COLUMNS)
        scores = [plain(row.bits_per_byte), f"{plain(row.divergence)}{error}"]
        yield f"| {' | '.join([name, f'{size:,}', *scores, *cells])} |"
    yield ""


def _source(facts: GgufFacts) -> str:
    """Return the name of the file that an export is compared with."""
    if facts.source is None or is_model_file(facts.protocol.model):
        return "the source"
    return f"the model in {facts.source.name}"


def verdict(facts: GgufFacts) -> str:
    """Return a line: goal and result, and size, loss and speed compared with the source and llama-quantize."""
    preset = facts.preset
    named = f"{preset.name} of {megabytes(preset.bytes)}" if preset else ""
    usable = "" if preset and facts.unusable_factor(preset.perplexity) else named
    said = [*warning(facts, usable), size_and_goal(facts, facts.bytes)]
    if ours := facts.check.loss_gap:
        said += ours.words(facts.protocol.report_text.predictions, facts.check.divergence)
    if preset and (theirs := preset.loss_gap):
        size = "same bytes" if abs(preset.bytes / facts.bytes - 1) < _SAME else megabytes(preset.bytes)
        beside = [
            f"{digits(theirs.bits, 3)} bits per byte",
            f"divergence {digits(preset.divergence, 3)}",
            theirs.same_top_words,
        ]
        beside += [f"this file generates {preset.speed:.2f} times as fast"] if preset.speed else []
        said.append(f"{BASELINE}, {size} ({preset.name}): {', '.join(beside)}")
    if facts.no_preset:
        said.append(f"no file of llama-quantize to compare with: {facts.no_preset}")
    said += details(facts)
    if facts.runtime:
        speed = facts.runtime.decode.evolved / facts.runtime.decode.dense
        said.append(f"generates {speed:.2f} times as fast as {_source(facts)}")
    if taken := facts.memory:
        said.append(f"takes {megabytes(taken.total)} with a context of {taken.context:,} tokens")
        if taken.fits:
            spare = taken.fits - taken.total
            said[-1] += f", {megabytes(abs(spare))} {'less' if spare >= 0 else 'more'} than {megabytes(taken.fits)}"
    return "; ".join(said)


def usage(facts: GgufFacts, file: str) -> str:
    """Return commands of llama.cpp, Ollama and LM Studio that run the ``file``, see :class:`evoprune.Exported`."""
    flags, name = "", re.sub(r"[^a-z0-9._-]+", "-", Path(file).stem.lower()).strip("-") or "model"
    if facts.memory:
        kind = facts.memory.kv
        flags = f" -c {facts.memory.context}" + (f" -ctk {kind} -ctv {kind}" if kind != "f16" else "")
    ollama = f"ollama create {name} -f {{stem}}.{MODELFILE} && ollama run {name}"
    llama = [f"{program} -m {{out}}{flags}" for program in ("llama-cli", "llama-server")]
    return "\n".join([*llama, ollama, "lms import --symbolic-link {out}  # LM Studio"])


def summary(facts: GgufFacts) -> Iterator[str]:
    """Yield size, perplexity in llama.cpp, and speed against the source's file, in words."""
    check, source = facts.check, facts.source
    beside = f"; {_source(facts)} has {source.bytes:,}" if source else ""
    yield f"{facts.bytes:,} bytes, {facts.bits_per_weight:.3g} bits for each weight in it{beside}"
    perplexity, expected = check.perplexity, check.run_perplexity
    off = f" ({perplexity / expected - 1:+.2%})" if perplexity and expected else ""
    yield (
        f"perplexity on the report text in llama.cpp {plain(perplexity)}, in the run {plain(expected)}{off}; "
        f"divergence from dense {plain(check.divergence)} nats a token, in PyTorch {plain(check.run_divergence)}"
    )
    if check.first_other_token is not None:
        yield (
            "llama.cpp's tokenizer reads the report text in other tokens than transformers' from token "
            f"{check.first_other_token:,} on: these figures are of the same tokens"
        )
    if taken := facts.memory:
        yield (
            f"memory in llama.cpp with a context of {taken.context:,} tokens: weights {megabytes(taken.weights)}, "
            f"keys and values in {taken.kv} {megabytes(taken.cache)}, buffers {megabytes(taken.buffers)}, "
            f"vocabulary and the like {megabytes(taken.process)}"
        )
    if facts.runtime:
        yield from runtime_lines(facts.runtime.model_dump(), model_label(facts), _source(facts))
