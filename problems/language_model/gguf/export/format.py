"""The export format of .gguf files for llama.cpp. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import Exported
from evoprune.plugins import Shown, Table
from evoprune.problems.language_model.export.format import ExportFormat, Json
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.export.facts import GgufFacts
from evoprune.problems.language_model.gguf.export.options import GgufOptions
from evoprune.problems.language_model.gguf.export.page import comparison, results, types_map
from evoprune.problems.language_model.results.result import LanguageModelResult

if TYPE_CHECKING:  # these import torch
    from evoprune.problems.language_model.gguf.export.writer import Writer
    from evoprune.problems.language_model.models.resident import Resident
    from evoprune.problems.language_model.texts.windows import Windows


class GgufFormat(ExportFormat):
    """A .gguf file and its card, checked in llama.cpp."""

    Options = GgufOptions
    Facts: ClassVar[type[GgufFacts]] = GgufFacts

    @classmethod
    def missing(cls) -> str | None:
        return ggml.missing()

    @classmethod
    def shown(cls, facts: Any) -> Shown:
        return Shown([*comparison(facts)], [types_map(facts.matrices)], results(facts))

    @classmethod
    def compare(cls, file: Path, resident: Resident, texts: Sequence[Windows], protocol: Json) -> Table:
        from evoprune.problems.language_model.gguf.export.against import compare

        return compare(file, resident, texts, protocol)

    def check(self) -> None:
        super().check()
        self._writer.base()

    def draft(self, place: Path) -> bool:
        return self._writer.draft(place)

    def write(self, run: LanguageModelResult, place: Path) -> Exported:
        return self._writer.write(run, place)

    @property
    def _writer(self) -> Writer:
        from evoprune.problems.language_model.gguf.export.writer import Writer

        return Writer(self)
