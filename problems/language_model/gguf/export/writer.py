"""Writes a model as a .gguf file for llama.cpp, which runs the file in the check."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from evoprune import Exported, InputError
from evoprune.plugins import CARD, finite, sidecar
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.export.format import ExportFormat, Json
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.export.card import MODELFILE, card, summary, usage, verdict
from evoprune.problems.language_model.gguf.export.facts import GgufFacts
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.models.device import release_memory
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.load import convert
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.results.result import LanguageModelResult

_TOLERANCE, _OF_LOST = 0.02, 0.05
"""Tolerance in nats a token, as llama.cpp rounds activations; and its increase by this share of the divergence."""

_BROKEN = 0.5  # nats a token between runtimes, more than rounding causes

_BETWEEN = ("loss_error", "runtime_divergence", "runtime_error")  # keys of comparisons of runtimes
_TYPES, _IMPORTANCE = "evoprune.types.txt", "evoprune.imatrix.gguf"  # inputs of llama-quantize
_KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class Writer:
    """Writes the final model of an export ``format`` as a .gguf file and its card."""

    def __init__(self, format: ExportFormat) -> None:
        self.format, self.final, self.session, self.options = format, format.final, format.session, format.options

    def draft(self, place: Path) -> bool:
        """Write the file alone, and run a window in llama.cpp."""
        base = self.base()
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
        """See :meth:`.ExportFormat.write`."""
        base = self.base()  # first: it names packages that the following imports need
        from evoprune.problems.language_model.gguf.export.comparison import Comparison
        from evoprune.problems.language_model.gguf.runtime import memory

        session, timed, deadline = self.session, not self.options.untimed, self.format.deadline()
        facts, predictions = self._write(run, base, place)
        session.transform.apply(session.transform.dense)
        release_memory(session.resident.device)  # llama.cpp needs about as much as the final model
        start = time.monotonic()
        check = predictions.check(place, timed)
        comparison = Comparison(session, base, self._half, place, timed, deadline, time.monotonic() - start, run.folder)
        check |= {
            "run_perplexity": run.final_perplexity,
            "bits_per_byte": comparison.bits_per_byte(check["perplexity"]),
        }
        facts["recipe"] = self._write_recipe(base, place, facts["matrices"])
        facts["check"] = {name: finite(value) if isinstance(value, float) else value for name, value in check.items()}
        facts |= comparison.facts(check, preset=timed and not run.baseline and self.options.against_preset != "none")
        if self.options.context and "failure" not in check:
            asked = self.options.model_dump(include={"context", "kv", "fits"})
            facts["memory"] = memory(place, self.options.context, self.options.kv) | asked
        typed = GgufFacts.read(facts)
        sidecar(place, MODELFILE).write_text(f"FROM ./{place.name}\n", encoding="utf-8")
        sidecar(place, CARD).write_text("\n".join([*card(typed, place.name), ""]), encoding="utf-8")
        faults = [typed.check.fault] if typed.check.fault else []
        return Exported(facts, list(summary(typed)), faults, verdict(typed), usage(typed, place.name))

    def _write(self, run: LanguageModelResult, base: Any, place: Path) -> tuple[Json, _Predictions]:
        """Write the file; return facts about it, and the predictions of its model, which is freed."""
        from evoprune.problems.language_model.gguf.write import contents

        session, final = self.session, self.final
        from_dense = session.fitness.divergence_on(session.texts.report, final.genome)
        model, encoded = final.copy() if final.recovered else final.make_resident()
        file = contents(model, self._with_tokens(base), encoded, self._half)
        file.write(place)
        own, device = session.fitness.measure, session.resident.device
        if final.recovered:
            if Placement.of("a copy", device, sum(parameter.nbytes for parameter in model.parameters())).resident:
                convert(model, device, model.dtype)
            own = Measure(Forward(model), session.settings.batch_tokens)
        size, parameters = place.stat().st_size, sum(parameter.numel() for parameter in model.parameters())
        facts = self.format.facts(run, model, [place]) | {
            "bits_per_weight": 8 * size / parameters,
            "kinds": dict(Counter(file.kinds.values())),
            "matrices": {
                spec.name: _matrix(file.kinds[spec.name], spec.shape) for spec in file.layout.specs if spec.shape[1:]
            },
            "architecture": file.layout.architecture,
        }
        return facts, _Predictions(session, from_dense, own)

    @property
    def _half(self) -> str | None:
        return _KINDS[self.options.dtype] if self.options.dtype else None

    def _with_tokens(self, base: Any) -> Any:
        return base.with_tokens(self.session.transform.remaining_tokens(self.final.genome))

    def base(self) -> Any:
        """Return the base of the final model, which is resident afterwards."""
        if lacking := self.format.missing():
            raise InputError(lacking)
        from evoprune.problems.language_model.gguf.base import find_base
        from evoprune.problems.language_model.gguf.layout import lay_out

        transform, resident = self.session.transform, self.session.resident
        types = transform.find(Types)
        path = self.options.base or (types.settings.base if types else None)
        base = find_base(resident, path, lambda: transform.apply(transform.dense))
        transform.apply(self.final.genome)
        lay_out(resident.model, base)
        return base

    def _write_recipe(self, base: Any, place: Path, matrices: Mapping[str, Json]) -> str | None:
        """Write files next to ``place``; return llama.cpp's command that gives a model the types of ``matrices``.

        None for a genome that changes more than types. The dense model is resident.
        """
        from evoprune.problems.language_model.gguf.recipe import write_importance
        from evoprune.problems.language_model.gguf.types.importance import by_tensor

        transform, texts = self.session.transform, self.session.texts
        own = transform.find(Types)
        if own is None or not transform.differ_in_form_only(self.final.genome, transform.dense):
            return None
        types, weighed = sidecar(place, _TYPES), sidecar(place, _IMPORTANCE)
        lines = (f"{name}={matrix['type']}\n" for name, matrix in matrices.items())
        types.write_text("".join(lines), encoding="utf-8")
        command = ["llama-quantize", "--allow-requantize", "--tensor-type-file", types.name]
        if importance := by_tensor(self.session.resident, base, own.errors.importance):
            tokens = texts.calibration.tokens.numel() if texts.calibrates else 1
            write_importance(weighed, {name: each.numpy() for name, each in importance.items()}, tokens)
            command += ["--imatrix", weighed.name]
        return shlex.join([*command, "SOURCE.gguf", "OUT.gguf", "Q8_0"])


class _Predictions:
    """The predictions of the final model on the report text in PyTorch, with which llama.cpp's are compared."""

    def __init__(self, session: Session, from_dense: Divergence, measure: Measure) -> None:
        """``from_dense``: knows the predictions of the dense model. ``measure``: of the final model."""
        report = session.texts.report
        read = self._read = session.texts.retokenised(report)
        self._begins, self._from_dense = report.bos_token is not None, from_dense
        self._final = Divergence(read.predictions, from_dense.top, session.resident.forward.device)

        def both(logits: Tensor, targets: Tensor, first: int) -> Tensor:
            self._final.store(logits, targets, first)
            return from_dense.add(logits, targets, first)

        lost = measure.total(read.tokens, both, label="measuring")
        self._lost = from_dense.value(read.loss_scale * lost, read.predictions)

    def check(self, place: Path, timed: bool) -> Json:
        """Run the file ``place`` in llama.cpp; return its scores, in nats a token of the run's tokenizer."""
        from evoprune.problems.language_model.gguf.runtime import measure_file

        read, dense, final = self._read, self._from_dense, self._final
        check = measure_file(
            place, read.first_text, read.tokens, self._begins, dense.top_predictions, timed, final.top_predictions
        )
        check |= {
            "perplexity": check["perplexity"] ** read.loss_scale,
            "divergence": dense.value(read.loss_scale * check["divergence"], 1),
        }
        check |= {name: read.loss_scale * check[name] for name in _BETWEEN if name in check}
        if table := check["predictions"]:
            table |= {name: read.loss_scale * table[name] for name in ("error", "behind", "behind_error")}
            table["behind"] += dense.offset
        tolerance = _TOLERANCE + _OF_LOST * max(0.0, finite(self._lost) or 0.0)
        return check | {"run_divergence": self._lost, "kl_top": dense.top, "tolerance": tolerance}


def _matrix(kind: str, shape: tuple[int, ...]) -> Json:
    """Return the keys of :class:`.StoredMatrix`."""
    *rows, width = shape
    return {"type": kind, "rows": prod(rows), "width": width, "bits": 8 * ggml.row_bytes(kind, width) / width}
