"""Compares an exported .gguf file with its source, and with llama.cpp's preset that is nearest in size."""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evoprune import InputError, Stopped
from evoprune.plugins import finite, note
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.runtime import compare_speeds, latencies, measure_file, presets, quantise
from evoprune.problems.language_model.gguf.types.importance import by_tensor, cached_importance
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.results.result import Text

_TIMING = 10.0  # seconds of timing, besides a pass over the report text
_PRESET = 2.0  # time to make and score a preset, as a multiple of that to score the file
_GENERATING = 2.0  # seconds to time the generation of file and preset

Json = dict[str, Any]

_NO_TIME: Json = {"no_preset": "no time"}


@dataclass(frozen=True)
class Comparison:
    """Compares the file at ``place``, exported from ``session``, with others in llama.cpp.

    ``base``: of the model. ``half``: type of unquantised matrices; None: that of ``base``. ``timed``: time files.
    ``deadline``: by ``time.monotonic``. ``scoring``: seconds that scoring a file takes.
    """

    session: Session
    base: Base
    half: str | None
    place: Path
    timed: bool
    deadline: float
    scoring: float

    def facts(self, check: Json, preset: bool) -> Json:
        """Return the keys of :class:`.facts.ExportFacts` on source, preset and runtime, as far as time and room allow.

        ``check``: the measurements of the exported file. ``preset``: make one first. The dense model is resident
        afterwards.
        """
        session = self.session
        model = Path(session.settings.model) if session.settings.model.endswith(".gguf") else None
        facts: Json = {"source": None, "preset": None, "runtime": None}
        if not self.timed and model is None:
            return facts
        session.transform.apply(session.transform.dense)
        if self._left <= self.scoring:
            return facts | (_NO_TIME if preset else {})
        with tempfile.TemporaryDirectory(dir=self.place.parent) as scratch:  # files may be larger than /tmp
            source = model or Path(scratch) / f"{self.half or self.base.half}.gguf"
            if model is None:
                contents(session.resident.model, self.base, {}, self.half).write(source)
            if preset:
                facts |= self._preset(source, Path(scratch) / "preset.gguf")
            if self._left > self.scoring:
                score = self._score(source)
                facts["source"] = self._row(source.name if model else source.stem, source, score)
                sound = facts["source"] and "failure" not in check
                if sound and self.timed and self._left > self.scoring + _TIMING:
                    facts["runtime"] = compare_speeds(source, self.place, score, check, timeout=self._left)
        return facts

    def bits_per_byte(self, perplexity: float | None) -> float | None:
        """Return the bits per byte of the report text."""
        return self._text.bits_per_byte(perplexity)

    @cached_property
    def _text(self) -> Text:
        texts = self.session.texts
        return Text.model_validate(texts.report.protocol_with_bytes(texts.tokenizer))

    @property
    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _score(self, path: Path) -> Json:
        report = self.session.texts.report
        dense = self.session.fitness.divergence_on(report, self.session.transform.dense).top_predictions
        begins, limit = report.bos_token is not None, max(1.0, self._left)
        try:
            return measure_file(path, report.first_text, report.tokens, begins, dense, self.timed, timeout=limit)
        except Stopped as stopped:  # no room; the export is complete without it
            return {"failure": f"was not run: {stopped}"}

    def _preset(self, source: Path, path: Path) -> Json:
        texts, resident = self.session.texts, self.session.resident
        if self._left < _PRESET * self.scoring:
            return _NO_TIME
        name = nearest_preset(resident.model, self.base, self.place.stat().st_size, self._left < math.inf)
        note(f"making llama.cpp's {name}")
        text = texts.calibration if texts.calibrates else texts.search
        types = self.session.transform.find(Types)
        importance = (types and types.errors.importance) or cached_importance(resident, text)
        if self._left <= self.scoring:
            return _NO_TIME
        try:
            quantise(source, path, name, by_tensor(resident, self.base, importance), self._left - self.scoring)
        except InputError as error:
            return {"no_preset": ", ".join(error.problems)}
        score = self._score(path)
        row = self._row(name, path, score)
        if row and self._left > self.scoring + _GENERATING:
            with suppress(InputError, Stopped):  # the export is complete without it
                generating = Load("decode", length=texts.report.tokens.shape[1] // 2)
                limit = self._left - self.scoring
                exported, preset = latencies([self.place, path], generating, _GENERATING, limit)
                row["speed"] = preset / exported
        return {"preset": row, "no_preset": score.get("failure")}

    def _row(self, name: str, path: Path, score: Json) -> Json | None:
        if "failure" in score:
            note(f"{name} {score['failure']}")
            return None
        perplexity = finite(score["perplexity"])
        return {
            "name": name,
            "bytes": path.stat().st_size,
            "divergence": finite(score["divergence"]),
            "predictions": score["predictions"],
            "perplexity": perplexity,
            "bits_per_byte": self.bits_per_byte(perplexity),
        }


def nearest_preset(model: Any, base: Base, size: int, quick: bool = False) -> str:
    """Return the largest of llama.cpp's presets of the dense ``model`` of at most ``size`` bytes, or the smallest.

    ``quick``: no IQ-types, which take minutes for a billion weights.
    """
    plain = contents(model, base, {})
    sizes = {}
    for name, kinds in presets(model, base, importance=True).items():
        if quick and name.startswith("IQ"):
            continue
        changed = {spec.name: kinds[spec.parameter] for spec in plain.layout.specs if spec.parameter in kinds}
        sizes[name] = replace(plain, kinds={**plain.kinds, **changed}).bytes
    below = [name for name, bytes_ in sizes.items() if bytes_ <= size]
    return max(below, key=sizes.__getitem__) if below else min(sizes, key=sizes.__getitem__)
