"""Exports a model as a .gguf file for llama.cpp, which runs the file in the check."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from evoprune import Exported, InputError
from evoprune.console.formatting import digits, plain
from evoprune.exports.exporting import CARD, about
from evoprune.files.json_files import finite
from evoprune.interfaces.export import commands
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure
from evoprune.problems.language_model.export.card import (
    code_span,
    front_matter,
    model_label,
    origin,
    perplexity_tables,
    protocol_text,
    reproduction,
)
from evoprune.problems.language_model.export.facts import COLUMNS, ExportFacts
from evoprune.problems.language_model.export.format import ExportFormat, Json
from evoprune.problems.language_model.export.page import comparison
from evoprune.problems.language_model.export.runtime import runtime_lines
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.device import release_memory
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.results.result import LanguageModelResult
from evoprune.problems.language_model.results.summary import details, loss_phrase, megabytes, size_and_goal, warning

_TOLERANCE, _OF_LOST = 0.02, 0.05
"""Tolerance in nats a token, as llama.cpp rounds activations; and its increase by this share of the divergence."""

_BROKEN = 0.5  # nats a token between runtimes, more than rounding causes

_MODELFILE = "evoprune.Modelfile"  # Ollama reads the chat template from the file itself
_BETWEEN = ("loss_error", "runtime_divergence", "runtime_error")  # keys of comparisons of runtimes
_KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class GgufFile(ExportFormat):
    """A .gguf file and its card, checked in llama.cpp."""

    def check(self) -> None:
        self._base()

    def draft(self, place: Path) -> bool:
        base = self._base()
        from evoprune.problems.language_model.gguf.runtime import checked
        from evoprune.problems.language_model.gguf.write import contents

        model, encoded = self.final.make_resident()
        contents(model, self._with_tokens(base), encoded, self._half).write(place)
        texts, fitness = self.session.texts, self.session.fitness
        window = texts.search.chosen([0])
        read = texts.read(window)
        forward = fitness.measure.forward
        final = Divergence(read.predictions, min(self.session.settings.kl_top, forward.vocabulary), forward.device)
        fitness.measure.total(read.tokens, final.learn)
        found = checked(place, read.beginning, read.tokens, window.begin is not None, final.known, memory=False)
        if not found["divergence"] < _BROKEN:
            raise InputError(found.get("failure", "llama.cpp predicts other tokens with it"), str(place.name))
        return True

    def write(self, run: LanguageModelResult, place: Path) -> Exported:
        base = self._base()  # first: it names packages that the following imports need
        from evoprune.problems.language_model.export.comparison import Comparison
        from evoprune.problems.language_model.export.recipe import write_recipe
        from evoprune.problems.language_model.gguf.runtime import checked, memory
        from evoprune.problems.language_model.gguf.write import contents

        begun, session, final, half = time.monotonic(), self.session, self.final, self._half
        fitness, report = session.fitness, session.texts.report
        from_source = fitness.divergence_on(report, session.transform.dense)
        from_dense = fitness.divergence_on(report, final.genome)
        model, encoded = final.copy() if final.recovered else final.make_resident()
        made = contents(model, self._with_tokens(base), encoded, half)
        made.write(place)
        begins = report.begin is not None

        read = session.texts.read(report)
        from_final = Divergence(read.predictions, from_dense.top, self.session.resident.forward.device)

        def both(logits: Tensor, targets: Tensor, first: int) -> Tensor:
            from_final.learn(logits, targets, first)
            return from_dense.add(logits, targets, first)

        measure = Measure(Forward(model), session.settings.batch_tokens) if final.recovered else fitness.measure
        lost = from_dense.value(read.factor * measure.total(read.tokens, both, label="measuring"), read.predictions)
        timed = not self.options.untimed

        def left() -> float:
            limit = math.inf if self.options.seconds is None else self.options.seconds
            return limit - (time.monotonic() - begun)

        def score(path: Path) -> Json:
            limit = max(1.0, left())
            return checked(path, report.beginning, report.tokens, begins, from_source.known, timed, timeout=limit)

        size, parameters = place.stat().st_size, sum(parameter.numel() for parameter in model.parameters())
        facts = self.facts(run, model, [place]) | {
            "bits_per_weight": 8 * size / parameters,
            "kinds": dict(Counter(made.kinds.values())),
            "matrices": {
                slot.name: _matrix(made.kinds[slot.name], slot.shape) for slot in made.layout.slots if slot.shape[1:]
            },
            "architecture": made.layout.architecture,
        }
        del model, encoded, made, measure
        session.transform.apply(session.transform.dense)
        release_memory(session.resident.device)  # llama.cpp needs about as much as the final model
        scoring = time.monotonic()
        found = checked(place, read.beginning, read.tokens, begins, from_dense.known, timed, from_final.known)
        scoring = time.monotonic() - scoring
        found |= {
            "perplexity": found["perplexity"] ** read.factor,
            "divergence": from_dense.value(read.factor * found["divergence"], 1),
        }
        found |= {name: read.factor * found[name] for name in _BETWEEN if name in found}
        if table := found["predictions"]:
            table |= {name: read.factor * table[name] for name in ("error", "behind", "behind_error")}
            table["behind"] += from_dense.behind
        comparison = Comparison(session, base, half, place, score, scoring, left)
        kinds = {name: matrix["type"] for name, matrix in facts["matrices"].items()}
        facts["recipe"] = write_recipe(session, final.genome, base, place, kinds)
        found |= {"run_perplexity": run.final_perplexity, "run_divergence": lost, "kl_top": from_dense.top}
        found |= {"tolerance": _TOLERANCE + _OF_LOST * max(0.0, finite(lost) or 0.0)}
        found |= {"bits_per_byte": comparison.bits_per_byte(found["perplexity"])}
        facts["check"] = {name: finite(value) if isinstance(value, float) else value for name, value in found.items()}
        facts |= comparison.facts(found, timed=timed, preset=timed and not run.rival)
        if self.options.context and "failure" not in found:
            asked = self.options.model_dump(include={"context", "kv", "fits"})
            facts["memory"] = memory(place, self.options.context, self.options.kv) | asked
        typed = ExportFacts.read(facts)
        about(place, _MODELFILE).write_text(f"FROM ./{place.name}\n", encoding="utf-8")
        about(place, CARD).write_text("\n".join([*_card(typed, place.name), ""]), encoding="utf-8")
        faults = [typed.check.fault] if typed.check.fault else []
        return Exported(facts, list(_summary(typed)), faults, _verdict(typed), _usage(typed, place.name))

    @property
    def _half(self) -> str | None:
        return _KINDS[self.options.dtype] if self.options.dtype else None

    def _with_tokens(self, base: Any) -> Any:
        return base.with_tokens(self.session.transform.remaining_tokens(self.final.genome))

    def _base(self) -> Any:
        """Return the base of the final model, which is resident afterwards."""
        if lacking := ggml.missing():
            raise InputError(lacking)
        from evoprune.problems.language_model.gguf.base import find_base
        from evoprune.problems.language_model.gguf.layout import lay_out

        transform, resident = self.session.transform, self.session.resident
        base = find_base(resident, self.options.base or transform.base_path, lambda: transform.apply(transform.dense))
        transform.apply(self.final.genome)
        lay_out(resident.model, base)
        return base


def _matrix(kind: str, shape: tuple[int, ...]) -> Json:
    """Return the keys of :class:`.facts.StoredMatrix`."""
    *rows, width = shape
    return {"type": kind, "rows": prod(rows), "width": width, "bits": 8 * ggml.row_bytes(kind, width) / width}


def _card(facts: ExportFacts, file: str) -> Iterator[str]:
    """Yield the model card of ``file``."""
    yield from front_matter(facts, {"library_name": "gguf"}, ["gguf", "llama.cpp", "evoprune"])
    made = f"as {model_label(facts)}" if facts.rival else "made smaller"
    yield f"\n# {code_span(facts.base_model)}, {made} for llama.cpp\n"
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts.kinds.items())
    yield f"{_verdict(facts)}\n"
    yield from (f"{block}\n" for block in comparison(facts))
    yield "\n".join(["```", *commands(_usage(facts, file), Path(file)), "```\n"])
    yield (
        f"The change {origin(facts)}. The file holds {kinds} tensors in llama.cpp's architecture "
        f"`{facts.architecture}`.\n"
    )
    yield from _compared(facts, file)
    yield from (f"- {line}" for line in _summary(facts))
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
    yield from reproduction(facts, about(Path(file), "experiment.yaml").name)
    if facts.recipe:
        trained = " The scales of this one were trained in addition." if facts.recovered else ""
        yield f"\n## The same types from llama.cpp alone\n\n```\n{facts.recipe}\n```\n"
        yield f"From the source, or from another fine-tune of its model.{trained}"


def _compared(facts: ExportFacts, file: str) -> Iterator[str]:
    """Yield a table of the file, its source and a preset, all on the report text in llama.cpp."""
    rows: list[tuple[str, int, Any]] = []
    if facts.source:
        rows.append((_source(facts), facts.source.bytes, facts.source))
    if facts.preset:
        rows.append((f"llama.cpp's {facts.preset.name} of the source", facts.preset.bytes, facts.preset))
    if not rows:
        return
    head = ["file", "bytes", "bits per byte", "divergence, nats a token", *COLUMNS]
    yield f"| {' | '.join(head)} |\n{'|---' * len(head)}|"
    for name, size, row in [*rows, (code_span(file), facts.bytes, facts.check)]:
        error = f" ± {digits(row.predictions.error, 2)}" if row.predictions else ""
        cells = row.predictions.cells if row.predictions else ["-"] * len(COLUMNS)
        known = [name, f"{size:,}", plain(row.bits_per_byte), f"{plain(row.divergence)}{error}"]
        yield f"| {' | '.join([*known, *cells])} |"
    yield ""


def _source(facts: ExportFacts) -> str:
    """Return the name of the file that an export is compared with."""
    if facts.source is None or facts.protocol.model.endswith(".gguf"):
        return "the source"
    return f"the model in {facts.source.name}"


def _verdict(facts: ExportFacts) -> str:
    """Return the goal and the result, and size, loss and speed against the source and a preset, in a line."""
    preset = facts.preset
    named = f"{preset.name} of {megabytes(preset.bytes)}" if preset else ""
    usable = "" if preset and facts.unusable_factor(preset.perplexity) else named
    said = [*warning(facts, usable), size_and_goal(facts, facts.bytes)]
    if ours := facts.check.loss_gap:
        tokens, same = facts.protocol.report_text.predictions, f"the same top token {ours.same_top:.1%} of the time"
        lost = f"{loss_phrase(ours.bits, 'the source', ours.error)} on {tokens:,} tokens"
        if preset and (theirs := preset.loss_gap):
            lost += f" ({named}, {'larger' if preset.bytes > facts.bytes else 'smaller'}: {digits(theirs.bits, 3)})"
            same += f" ({preset.name}: {theirs.same_top:.1%})"
        said += [lost, same]
    if preset and preset.speed:
        said.append(f"generates {preset.speed:.2f} times as fast as {preset.name}")
    if facts.no_preset:
        said.append(f"no preset to compare with: {facts.no_preset}")
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


def _usage(facts: ExportFacts, file: str) -> str:
    """Return commands of llama.cpp, Ollama and LM Studio that run the ``file``, see :class:`evoprune.Exported`."""
    flags, name = "", re.sub(r"[^a-z0-9._-]+", "-", Path(file).stem.lower()).strip("-") or "model"
    if facts.memory:
        kind = facts.memory.kv
        flags = f" -c {facts.memory.context}" + (f" -ctk {kind} -ctv {kind}" if kind != "f16" else "")
    ollama = f"ollama create {name} -f {{stem}}.{_MODELFILE} && ollama run {name}"
    llama = [f"{program} -m {{out}}{flags}" for program in ("llama-cli", "llama-server")]
    return "\n".join([*llama, ollama, "lms import --symbolic-link {out}  # LM Studio"])


def _summary(facts: ExportFacts) -> Iterator[str]:
    """Yield size, perplexity in llama.cpp, and speed against the source's file, in words."""
    check, source = facts.check, facts.source
    beside = f"; {_source(facts)} has {source.bytes:,}" if source else ""
    yield f"{facts.bytes:,} bytes, {facts.bits_per_weight:.3g} bits for each weight in it{beside}"
    found, expected = check.perplexity, check.run_perplexity
    off = f" ({found / expected - 1:+.2%})" if found and expected else ""
    yield (
        f"perplexity on the report text in llama.cpp {plain(found)}, in the run {plain(expected)}{off}; divergence "
        f"from dense {plain(check.divergence)} nats a token, in PyTorch {plain(check.run_divergence)}"
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
