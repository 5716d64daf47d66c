"""Compares an exported .gguf file with its source, and with llama.cpp's preset that is nearest in size."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evoprune import InputError
from evoprune.console.phase import note
from evoprune.files.json_files import finite
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.runtime import compared, milliseconds, presets, quantise
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.results.result import Text
from evoprune.problems.language_model.transforms.gguf_types.importance import by_tensor, cached_importance

_TIMING = 10.0  # seconds of the speeds, besides reading about as many tokens as the report text has
_PRESET = 2.0  # times as long as scoring the file that making and scoring a preset take, about
_GENERATING = 2.0  # seconds of generating, of the file and the preset

Json = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Compares the file at ``place``, exported from ``session``, with others; ``score`` measures one in llama.cpp.

    ``base``: of the model. ``half``: the type of matrices that are not quantised; None: that of ``base``.
    ``scoring``: seconds that it took for the file. ``left``: seconds that it may still take.
    """

    session: Session
    base: Base
    half: str | None
    place: Path
    score: Callable[[Path], Json]
    scoring: float
    left: Callable[[], float]

    def facts(self, check: Json, timed: bool, preset: bool) -> Json:
        """Return the keys of :class:`.facts.ExportFacts` on source, preset and runtime, as far as there is time.

        ``check``: the measurements of the exported file. ``timed``: whether to time both files, ``preset``: to make
        one, which comes first. The dense model is resident afterwards.
        """
        session = self.session
        own = Path(session.settings.model) if session.settings.model.endswith(".gguf") else None
        found: Json = {"source": None, "preset": None, "runtime": None}
        if not timed and own is None:
            return found
        session.transform.apply(session.transform.dense)
        with tempfile.TemporaryDirectory(dir=self.place.parent) as scratch:  # files may be larger than /tmp
            source = own or Path(scratch) / f"{self.half or self.base.half}.gguf"
            if own is None:
                contents(session.resident.model, self.base, {}, self.half).write(source)
            if preset:
                found |= self._preset(source, Path(scratch) / "preset.gguf")
            if self.left() > self.scoring:
                score = self.score(source)
                found["source"] = self._row(source.stem if own is None else source.name, source, score)
                if timed and self.left() > self.scoring + _TIMING:
                    found["runtime"] = compared(source, self.place, score, check, timeout=self.left())
        return found

    def bits_per_byte(self, perplexity: float | None) -> float | None:
        """Bits per byte of the report text."""
        return self._text.bits_per_byte(perplexity)

    @cached_property
    def _text(self) -> Text:
        texts = self.session.texts
        return Text.model_validate(texts.report.measured(texts.tokenizer))

    def _preset(self, source: Path, path: Path) -> Json:
        texts, resident = self.session.texts, self.session.resident
        if self.left() < _PRESET * self.scoring:
            return {"no_preset": "no time"}
        name = nearest_preset(resident.model, self.base, self.place.stat().st_size, self.left() < math.inf)
        note(f"making llama.cpp's {name}")
        text = texts.calibration if texts.calibrates else texts.search
        importance = self.session.transform.importance or cached_importance(resident, text)
        try:
            quantise(source, path, name, by_tensor(resident, self.base, importance), self.left() - self.scoring)
        except InputError as error:
            return {"no_preset": ", ".join(error.problems)}
        score = self.score(path)
        row = self._row(name, path, score)
        if row and self.left() > self.scoring + _GENERATING:
            with suppress(InputError):  # the comparison is no reason to lose the file
                generating = Load("decode", length=texts.report.tokens.shape[1] // 2)
                own, other = milliseconds([self.place, path], generating, _GENERATING)
                row["speed"] = other / own
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
    """Return the name of llama.cpp's preset of the dense ``model`` whose file is nearest to ``size`` bytes.

    It is the largest of at most ``size`` bytes, or the smallest if all are larger. ``quick``: none of IQ-types, which
    take minutes for a billion weights.
    """
    plain = contents(model, base, {})
    sizes = {}
    for name, kinds in presets(model, base, importance=True).items():
        if quick and name.startswith("IQ"):
            continue
        own = {slot.name: kinds[slot.parameter] for slot in plain.layout.slots if slot.parameter in kinds}
        sizes[name] = replace(plain, kinds={**plain.kinds, **own}).bytes
    below = [name for name, own in sizes.items() if own <= size]
    return max(below, key=sizes.__getitem__) if below else min(sizes, key=sizes.__getitem__)
