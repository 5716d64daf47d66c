"""Compares an exported .gguf file with its source, and with a file of llama-quantize of as many bytes."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from evoprune import InputError, Stopped
from evoprune.plugins import command_on, finite, note
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import EMBEDDING, HEAD, Base
from evoprune.problems.language_model.gguf.runtime import compare_speeds, latencies, measure_file, presets, quantise
from evoprune.problems.language_model.gguf.types.importance import by_tensor, cached_importance
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.gguf.write import Contents, contents, tensor_bytes
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.results.result import Text

_TIMING = 10.0  # seconds of timing, besides a pass over the report text
_MAKING = 1.0  # seconds to make a file, at least, besides scoring it
_GENERATING = 2.0  # seconds to time the generation of file and preset
_SMALL = "Q4_0"  # type of embedding and head where no preset is small enough

Json = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Compares the file at ``place``, exported from ``session``, with others in llama.cpp.

    ``base``: of the model. ``half``: type of unquantised matrices; None: that of ``base``. ``timed``: time files.
    ``deadline``: by ``time.monotonic``. ``scoring``: seconds that scoring a file takes. ``folder``: of the run.
    """

    session: Session
    base: Base
    half: str | None
    place: Path
    timed: bool
    deadline: float
    scoring: float
    folder: Path | None = None

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
            return facts | (self._no_time if preset else {})
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

    @property
    def _no_time(self) -> Json:
        """The reason that there is no file of llama-quantize, with the command that makes it."""
        if not self.folder:
            return {"no_preset": "no time"}
        minutes = math.ceil((3 * self.scoring + _TIMING) / 60)
        command = command_on(self.folder, "export", "compared.gguf")
        return {"no_preset": f"no time, which about {minutes} min more would give: {command}"}

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
        if self._left < self.scoring + _MAKING:
            return self._no_time
        chosen = same_size(resident.model, self.base, self.place.stat().st_size, self._left < math.inf)
        note(f"making {chosen.name} by llama-quantize")
        text = texts.calibration if texts.calibrates else texts.search
        types = self.session.transform.find(Types)
        importance = (types and types.errors.importance) or cached_importance(resident, text)
        if self._left < self.scoring + _MAKING:
            return self._no_time
        try:
            by_name = by_tensor(resident, self.base, importance)
            quantise(source, path, chosen.preset, by_name, self._left - self.scoring, chosen.others)
        except InputError as error:
            return {"no_preset": ", ".join(error.problems)}
        score = self._score(path)
        row = self._row(chosen.name, path, score)
        if row and self._left > 2 * _GENERATING:
            with suppress(InputError, Stopped):  # the export is complete without it
                generating = Load("decode", length=texts.report.tokens.shape[1] // 2)
                exported, preset = latencies([self.place, path], generating, _GENERATING, self._left)
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


class Mixture(NamedTuple):
    """A ``preset`` of llama-quantize with the types of ``others``, by tensor, in place of its own."""

    name: str
    preset: str
    others: Mapping[str, str]


def same_size(model: Any, base: Base, size: int, quick: bool = False) -> Mixture:
    """Return types of llama-quantize for the dense ``model``, in at most ``size`` bytes if any are as small.

    They are the types of the largest preset that fits, or of one with embedding and head in 4 bits; the first tensors
    take the types of the next larger preset, as far as the file fits. ``quick``: no IQ-types, which take minutes for a
    billion weights.
    """
    plain, files = contents(model, base, {}), dict[str, tuple[str, Contents]]()
    for name, kinds in presets(model, base, importance=True).items():
        if not (quick and name.startswith("IQ")):
            changed = {spec.name: kinds[spec.parameter] for spec in plain.layout.specs if spec.parameter in kinds}
            files[name] = name, replace(plain, kinds={**plain.kinds, **changed})
    own = dict(files)
    if all(file.bytes > size for _, file in own.values()):
        for name, (_, file) in own.items():
            large = {each for each, kind in file.kinds.items() if ggml.bits(kind) > ggml.bits(_SMALL)}
            smaller = dict.fromkeys(large & {EMBEDDING, HEAD}, _SMALL)
            files[f"{name}, embedding {_SMALL}"] = name, replace(file, kinds={**file.kinds, **smaller})
    sizes = {name: file.bytes for name, (_, file) in files.items()}
    below, above = ([name for name, each in sizes.items() if (each <= size) == fits] for fits in (True, False))
    chosen = max(below, key=sizes.__getitem__) if below else min(above, key=sizes.__getitem__)
    preset, file = files[chosen]
    kinds, left, name = dict(file.kinds), size - sizes[chosen], chosen
    if below and above:
        larger = min(above, key=sizes.__getitem__)
        for tensor, kind, shape in file.tensors:
            other = files[larger][1].kinds.get(tensor, kind)
            if 0 < (more := tensor_bytes(other, shape) - tensor_bytes(kind, shape)) <= left:
                kinds[tensor] = other
                left -= more
        if count := sum(kind != file.kinds[tensor] for tensor, kind in kinds.items()):
            name += f", {count} tensors as in {files[larger][0]}"
    others = {tensor: kind for tensor, kind in kinds.items() if kind != own[preset][1].kinds[tensor]}
    return Mixture(name, preset, others)
