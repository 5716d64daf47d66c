"""Exports a model as a .gguf file for llama.cpp, which runs the file in the check."""

from __future__ import annotations

import math
import shlex
import time
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from evoprune import Exported, InputError
from evoprune.exports.exporting import CARD, sidecar
from evoprune.files.json_files import finite
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure
from evoprune.problems.language_model.export.facts import ExportFacts
from evoprune.problems.language_model.export.format import ExportFormat, Json
from evoprune.problems.language_model.export.gguf_card import MODELFILE, card, summary, usage, verdict
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.device import release_memory
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.results.result import LanguageModelResult

_TOLERANCE, _OF_LOST = 0.02, 0.05
"""Tolerance in nats a token, as llama.cpp rounds activations; and its increase by this share of the divergence."""

_BROKEN = 0.5  # nats a token between runtimes, more than rounding causes

_BETWEEN = ("loss_error", "runtime_divergence", "runtime_error")  # keys of comparisons of runtimes
_TYPES, _IMPORTANCE = "evoprune.types.txt", "evoprune.imatrix.gguf"  # inputs of llama-quantize
_KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class GgufFile(ExportFormat):
    """A .gguf file and its card, checked in llama.cpp."""

    def check(self) -> None:
        self._base()

    def draft(self, place: Path) -> bool:
        base = self._base()
        from evoprune.problems.language_model.gguf.runtime import measure_file
        from evoprune.problems.language_model.gguf.write import contents

        model, encoded = self.final.make_resident()
        contents(model, self._with_tokens(base), encoded, self._half).write(place)
        texts, fitness = self.session.texts, self.session.fitness
        window = texts.search.select([0])
        read = texts.retokenised(window)
        forward = fitness.measure.forward
        final = Divergence(read.predictions, min(self.session.settings.kl_top, forward.vocabulary), forward.device)
        fitness.measure.total(read.tokens, final.store)
        check = measure_file(
            place, read.first_text, read.tokens, window.bos_token is not None, final.top_predictions, memory=False
        )
        if not check["divergence"] < _BROKEN:
            raise InputError(check.get("failure", "llama.cpp predicts other tokens with it"), str(place.name))
        return True

    def write(self, run: LanguageModelResult, place: Path) -> Exported:
        base = self._base()  # first: it names packages that the following imports need
        from evoprune.problems.language_model.export.comparison import Comparison
        from evoprune.problems.language_model.gguf.runtime import measure_file, memory
        from evoprune.problems.language_model.gguf.write import contents

        deadline = time.monotonic() + (math.inf if self.options.seconds is None else self.options.seconds)
        session, final, timed = self.session, self.final, not self.options.untimed
        fitness, report = session.fitness, session.texts.report
        from_dense = fitness.divergence_on(report, final.genome)
        model, encoded = final.copy() if final.recovered else final.make_resident()
        file = contents(model, self._with_tokens(base), encoded, self._half)
        file.write(place)
        read = session.texts.retokenised(report)
        from_final = Divergence(read.predictions, from_dense.top, self.session.resident.forward.device)

        def both(logits: Tensor, targets: Tensor, first: int) -> Tensor:
            from_final.store(logits, targets, first)
            return from_dense.add(logits, targets, first)

        measure = Measure(Forward(model), session.settings.batch_tokens) if final.recovered else fitness.measure
        lost = from_dense.value(read.loss_scale * measure.total(read.tokens, both, label="measuring"), read.predictions)
        size, parameters = place.stat().st_size, sum(parameter.numel() for parameter in model.parameters())
        facts = self.facts(run, model, [place]) | {
            "bits_per_weight": 8 * size / parameters,
            "kinds": dict(Counter(file.kinds.values())),
            "matrices": {
                slot.name: _matrix(file.kinds[slot.name], slot.shape) for slot in file.layout.slots if slot.shape[1:]
            },
            "architecture": file.layout.architecture,
        }
        del model, encoded, file, measure
        session.transform.apply(session.transform.dense)
        release_memory(session.resident.device)  # llama.cpp needs about as much as the final model
        start, begins = time.monotonic(), report.bos_token is not None
        check = measure_file(
            place, read.first_text, read.tokens, begins, from_dense.top_predictions, timed, from_final.top_predictions
        )
        comparison = Comparison(session, base, self._half, place, timed, deadline, time.monotonic() - start)
        check |= {
            "perplexity": check["perplexity"] ** read.loss_scale,
            "divergence": from_dense.value(read.loss_scale * check["divergence"], 1),
        }
        check |= {name: read.loss_scale * check[name] for name in _BETWEEN if name in check}
        if table := check["predictions"]:
            table |= {name: read.loss_scale * table[name] for name in ("error", "behind", "behind_error")}
            table["behind"] += from_dense.offset
        check |= {
            "run_perplexity": run.final_perplexity,
            "run_divergence": lost,
            "kl_top": from_dense.top,
            "tolerance": _TOLERANCE + _OF_LOST * max(0.0, finite(lost) or 0.0),
            "bits_per_byte": comparison.bits_per_byte(check["perplexity"]),
        }
        facts["recipe"] = self._write_recipe(base, place, facts["matrices"])
        facts["check"] = {name: finite(value) if isinstance(value, float) else value for name, value in check.items()}
        facts |= comparison.facts(check, preset=timed and not run.rival)
        if self.options.context and "failure" not in check:
            asked = self.options.model_dump(include={"context", "kv", "fits"})
            facts["memory"] = memory(place, self.options.context, self.options.kv) | asked
        typed = ExportFacts.read(facts)
        sidecar(place, MODELFILE).write_text(f"FROM ./{place.name}\n", encoding="utf-8")
        sidecar(place, CARD).write_text("\n".join([*card(typed, place.name), ""]), encoding="utf-8")
        faults = [typed.check.fault] if typed.check.fault else []
        return Exported(facts, list(summary(typed)), faults, verdict(typed), usage(typed, place.name))

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

    def _write_recipe(self, base: Any, place: Path, matrices: Mapping[str, Json]) -> str | None:
        """Write files next to ``place``; return llama.cpp's command that gives a model the types of ``matrices``.

        None for a genome that changes more than types. The dense model is resident.
        """
        from evoprune.problems.language_model.gguf.recipe import write_importance
        from evoprune.problems.language_model.transforms.gguf_types.importance import by_tensor

        transform, texts = self.session.transform, self.session.texts
        if not transform.has_types or not transform.differ_in_types_only(self.final.genome, transform.dense):
            return None
        types, weighed = sidecar(place, _TYPES), sidecar(place, _IMPORTANCE)
        lines = (f"{name}={matrix['type']}\n" for name, matrix in matrices.items())
        types.write_text("".join(lines), encoding="utf-8")
        command = ["llama-quantize", "--allow-requantize", "--tensor-type-file", types.name]
        if importance := by_tensor(self.session.resident, base, transform.importance):
            tokens = texts.calibration.tokens.numel() if texts.calibrates else 1
            write_importance(weighed, {name: each.numpy() for name, each in importance.items()}, tokens)
            command += ["--imatrix", weighed.name]
        return shlex.join([*command, "SOURCE.gguf", "OUT.gguf", "Q8_0"])


def _matrix(kind: str, shape: tuple[int, ...]) -> Json:
    """Return the keys of :class:`.facts.StoredMatrix`."""
    *rows, width = shape
    return {"type": kind, "rows": prod(rows), "width": width, "bits": 8 * ggml.row_bytes(kind, width) / width}
