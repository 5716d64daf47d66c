"""The optional parts of a problem on a language model. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import Exported, Finals, InputError, Measured, Reporting
from evoprune.plugins import EVOLVED, Exporting, Measuring, Outcome, Shown, Table, find_plugin, plugin_names
from evoprune.problems.language_model.export import FORMATS
from evoprune.problems.language_model.export.format import ExportFormat, checked_result, export_options, format_of
from evoprune.problems.language_model.models.settings import ModelSettings, model_fault
from evoprune.problems.language_model.results.recovery import recovery_settings
from evoprune.problems.language_model.results.result import LanguageModelResult, ResultFacts
from evoprune.problems.language_model.results.summary import EXPLANATIONS, LABELS, PERCENTAGES, about, summary
from evoprune.problems.language_model.settings import EvalOptions
from evoprune.problems.language_model.transforms import UNIFORM

if TYPE_CHECKING:  # these import torch, which checking an experiment does not need
    from evoprune.problems.language_model.evaluation.session import Session


_COMPARED = 3  # models measured on other texts than the report text: dense, uniform and evolved


class _Part:
    def __init__(self, problem: Any) -> None:
        self._problem = problem
        self._session: Session = problem.session


class Judge(_Part, Finals):
    """Chooses the result among the best candidates and the uniform model, in the form that is exported.

    It is the best on held-out windows of the search text, which the search does not see.
    """

    @property
    def contenders(self) -> Mapping[str, Sequence[float]]:
        """The uniform model, if there are held-out windows."""
        return self._problem.baselines.uniform if self._session.texts.held_out else {}

    def judge(self, genome: Sequence[float]) -> float:
        """Return the objective of the final model of ``genome`` on held-out windows; leave the dense one resident."""
        from evoprune.problems.language_model.results.final_model import FinalModel

        session = self._session
        assert session.texts.held_out is not None
        if session.transform.facts.updates:
            objective = session.fitness.objective_on(session.texts.held_out, genome)
            FinalModel(session, genome).make_resident()
            value = session.fitness.score_model(session.texts.held_out, objective).value
        else:
            value = session.fitness.scores(genome, [session.texts.held_out])[0].value
        session.transform.apply(session.transform.dense)
        return value


class Machine(_Part, Measured):
    """Measures the times of a budget on this machine."""

    def take_measurements(self) -> Mapping[str, Any]:
        budget = self._problem.limits.measured_budget
        return budget.measure(self._session.transform) if budget else {}

    def use_measurements(self, facts: Mapping[str, Any]) -> None:
        self._problem.use_measurements(facts)


class Report(_Part, Reporting):
    """Reports the result, after its recovery if the run has one."""

    packages = ("torch", "transformers")
    words: ClassVar[Mapping[str, str]] = LABELS
    shares = PERCENTAGES
    explained: ClassVar[Mapping[str, str]] = EXPLANATIONS

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        from evoprune.problems.language_model.results.report import report

        problem, begun = self._problem, time.perf_counter()
        uniform = problem.baselines.uniform.get(UNIFORM)
        result = report(self._session, outcome, folder, problem.limits, uniform)
        if problem.recovery:
            result = problem.recovery.in_run(outcome, result, folder, time.perf_counter() - begun, self.work())
        return result | {"bits_per_byte": ResultFacts.model_validate(result).final_bits_per_byte}

    def work(self) -> float:
        texts, references = self._session.texts, len(self._problem.references())
        held_out = texts.held_out.tokens.numel() if texts.held_out else 0
        others = held_out + sum(windows.tokens.numel() for windows in texts.second)
        return (references + 1) * texts.report.tokens.numel() + _COMPARED * others

    @classmethod
    def settled(cls, settings: Mapping[str, Any], result: LanguageModelResult) -> Mapping[str, Any]:
        recover, row = settings.get("recover"), (result.recovered or {}).get(EVOLVED)
        return {**settings, "recover": recovery_settings().settled(recover, row)} if recover else settings

    def delete_checkpoints(self, folder: Path) -> None:
        if self._problem.recovery:
            self._problem.recovery.delete_checkpoints(folder)

    @classmethod
    def about(cls, settings: Any) -> str:
        return about(settings, settings.about)

    @classmethod
    def drawn_references(cls) -> Sequence[str]:
        return ("dense", UNIFORM)

    @classmethod
    def summary(cls, result: LanguageModelResult) -> list[str]:
        return summary(result)

    @classmethod
    def shown(cls, result: LanguageModelResult, facts: Mapping[str, Any] | None) -> Shown:
        return format_of(facts).shown(format_of(facts).Facts.read(facts)) if facts else ExportFormat.shown(result)


class Export(_Part, Exporting):
    """Writes the result as a folder, or as a file of a registered format."""

    ExportOptions = export_options()

    @classmethod
    def file_suffixes(cls) -> list[str]:
        return [f".{name}" for name in plugin_names(FORMATS)]

    @classmethod
    def format(cls, place: Path) -> type[ExportFormat]:
        from evoprune.problems.language_model.export.folder import Folder

        return find_plugin(FORMATS, place.suffix[1:]) if cls.writes_file(place) else Folder

    def export(self, genome: Sequence[float], result: LanguageModelResult, place: Path, options: Any) -> Exported:
        from evoprune.problems.language_model.results.final_model import final_model

        final = final_model(self._session, genome, result)
        return self.format(place)(final, options).write(checked_result(final, result), place)

    def draft(self, genome: Sequence[float], place: Path, options: Any) -> bool:
        from evoprune.problems.language_model.results.final_model import FinalModel

        return self.format(place)(FinalModel(self._session, genome), options).draft(place)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> tuple[Any, Any]:
        from evoprune.problems.language_model.export.ragged_model import load_any

        return load_any(ModelSettings(model=str(folder), device="cpu", dtype=facts["dtype"]))

    @classmethod
    def compared(cls, facts: Mapping[str, Any]) -> tuple[Mapping[str, float], str]:
        return format_of(facts).Facts.read(facts).compared()


class Measurement(_Part, Measuring):
    """Measures runs, and any model."""

    EvalOptions = EvalOptions

    def compare(self, genome: Sequence[float], result: LanguageModelResult, options: Any) -> Table:
        if options.against:
            raise InputError("is for an exported file, not for a run", "--against")
        from evoprune.problems.language_model.eval import compare
        from evoprune.problems.language_model.results.final_model import final_model

        return compare(final_model(self._session, genome, result), self._problem.baselines.compared, options)

    @classmethod
    def measure(cls, source: str, options: Any) -> Table:
        if options.against and not Export.writes_file(Path(source)):
            formats = ", ".join(Export.file_suffixes()) or "no format is installed"
            raise InputError(f"compares an exported file ({formats}), and '{source}' is none", "--against")
        if options.against and (lacking := Export.format(Path(source)).missing()):
            raise InputError(lacking, "--against")
        for argument, model in (("SOURCE", source), ("--against", options.against)):
            if model and not Path(model).is_dir() and (fault := model_fault(model)):
                raise InputError(fault, argument)
        from evoprune.problems.language_model.eval import measure

        return measure(source, options)

    @classmethod
    def measures(cls, source: str) -> bool:  # noqa: ARG003 - a model's name may be any
        """Any source may name a model: a path, or a name on the hub."""
        return True
