"""The problem of making a language model smaller: genes are those of transforms, fitness is measured on a text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import (
    Budget,
    Evaluation,
    Exported,
    Genes,
    InputError,
    Measured,
    Problem,
    Reporting,
    Settings,
    Together,
    TradeOffs,
)
from evoprune.console.phase import note
from evoprune.experiment.registry import find_plugin
from evoprune.experiment.registry import names as plugin_names
from evoprune.interfaces.export import Recovering, Table
from evoprune.interfaces.parts import Foreseeing, Outcome
from evoprune.problems.language_model.allocations import ALLOCATIONS
from evoprune.problems.language_model.budgets import BUDGETS, MeasuredBudget
from evoprune.problems.language_model.distillation.finals import JudgedModels
from evoprune.problems.language_model.distillation.settings import RecoverOptions
from evoprune.problems.language_model.export import FORMATS, ExportOptions
from evoprune.problems.language_model.export.facts import ExportFacts
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.results.result import LanguageModelResult, Reported
from evoprune.problems.language_model.results.summary import EXPLAINED, SHARES, WORDS, about, summary
from evoprune.problems.language_model.scores import SCORES
from evoprune.problems.language_model.settings import (
    CompressionSettings,
    EvalOptions,
    LanguageModelSettings,
    PruningSettings,
    budget_of,
)
from evoprune.problems.language_model.transforms import TRANSFORMS

if TYPE_CHECKING:  # these import torch, which checking an experiment does not need
    from evoprune.problems.language_model.baselines import Baselines
    from evoprune.problems.language_model.export.format import ExportFormat

_MEASURED = 1.0  # seconds that measuring a recovery takes, for each second of the report
_AFTER = 0.3  # of these the report text, of the trained model alone


class LanguageModel(JudgedModels, Problem, Foreseeing, Reporting, Measured, Recovering, Together, TradeOffs):
    """Make a causal language model smaller by transforms, at the least loss on a text.

    Fitness is perplexity on the search text, or divergence from the dense model.
    """

    Settings: ClassVar[type[Settings]] = LanguageModelSettings
    Result = LanguageModelResult
    ExportOptions, EvalOptions, RecoverOptions = ExportOptions, EvalOptions, RecoverOptions
    packages = ("torch", "transformers")
    plugin_groups: ClassVar[Mapping[str, str]] = MappingProxyType({"transforms": TRANSFORMS, "budget": BUDGETS})
    has_fidelities = True
    work_unit = "tokens"
    words: ClassVar[Mapping[str, str]] = WORDS
    shares = SHARES
    first = ("written",)
    explained: ClassVar[Mapping[str, str]] = EXPLAINED

    def __init__(self, settings: Any) -> None:
        """Load the model here, so that a fault in it is not recorded as a failure of the first candidate."""
        super().__init__(settings)
        from evoprune.problems.language_model.evaluation.session import Session

        self._measurements: Mapping[str, Any] = {}
        self.session = Session.start(settings, settings.calibrates, settings.chosen_transforms)

    @property
    def genes(self) -> Genes:
        return self.session.transform.genes

    @cached_property
    def budget(self) -> Budget | None:
        if (chosen := self.settings.budget) is None:
            return None
        budget = self._counted(budget_of(chosen, "problem.budget"))
        if budget.limit is None:
            raise InputError("names no limit: give one of its parameters", "problem.budget")
        return budget

    @cached_property
    def traded(self) -> list[Budget]:
        """The budgets whose amounts are objectives; their limits, if they have any, choose the result."""
        return [self._counted(budget_of(each, "problem.trade_offs")) for each in self.settings.traded]

    def _counted(self, chosen: MeasuredBudget | partial[Budget]) -> Budget:
        transform = self.session.transform
        return chosen.budget(transform, self._measurements) if isinstance(chosen, MeasuredBudget) else chosen(transform)

    @cached_property
    def _measuring(self) -> MeasuredBudget | None:
        settings = self.settings
        named = [budget_of(each, "problem.budget") for each in (settings.budget, *settings.traded) if each]
        return next((each for each in named if isinstance(each, MeasuredBudget)), None)

    def take_measurements(self) -> Mapping[str, Any]:
        return self._measuring.measure(self.session.transform) if self._measuring else {}

    def use_measurements(self, facts: Mapping[str, Any]) -> None:
        if self._measuring is None:
            raise InputError("holds what another problem.budget measured", "measured.json")
        self._measuring.settle(self.session.transform, facts)
        self._measurements = facts
        for known in ("budget", "traded", "baselines"):  # those of other facts
            vars(self).pop(known, None)

    @cached_property
    def baselines(self) -> Baselines:
        from evoprune.problems.language_model.baselines import Baselines, SparsityBaselines

        if isinstance(self.settings, PruningSettings):
            return SparsityBaselines(self.session, self.budget, self.settings)
        return Baselines(self.session, self.budget, bool(self.settings.trade_offs))

    def initial_genomes(self) -> list[list[float]]:
        return self.baselines.initial_genomes()

    def random_genome(self) -> list[float]:
        return self.baselines.random_genome()

    def references(self) -> dict[str, list[float]]:
        return self.baselines.references

    @property
    def contenders(self) -> Mapping[str, Sequence[float]]:
        return self.baselines.contenders

    def prior(self) -> list[float] | None:
        return self.baselines.prior

    @property
    def setup_cost(self) -> float:
        return self.baselines.setup_cost

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        if self.together:
            return self.evaluate_together([genome], fidelity)[0]
        return self._evaluation(genome, fidelity, *self.session.fitness.value(genome, fidelity))

    @property
    def together(self) -> bool:
        return self.session.fitness.together

    def evaluate_together(self, genomes: Sequence[Sequence[float]], fidelity: float = 1.0) -> list[Evaluation]:
        if not self.together:  # this process has more memory than the one that asks
            return [self.evaluate(genome, fidelity) for genome in genomes]
        found = []
        for genome, score in zip(genomes, self.session.fitness.values(genomes, fidelity), strict=True):
            self.session.transform.apply(genome)
            found.append(self._evaluation(genome, fidelity, *score))
        return found

    def _evaluation(self, genome: Sequence[float], fidelity: float, value: float, tokens: int) -> Evaluation:
        """The evaluation of ``genome``, which is applied now."""
        measures = self.session.transform.measures()
        violation, more = self.session.fitness.violation(genome, fidelity)
        values = (value, *(budget.spent(genome) for budget in self.traded))
        return Evaluation(values, tokens + more, measures, violation=violation)

    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        from evoprune.problems.language_model.baselines import choose

        return choose(front, self.traded)

    def describe(self) -> str:
        resident = self.session.resident
        model = (
            f"{self.settings.model}, {resident.prunable_weights:,} prunable weights, {len(self.genes)} genes, "
            f"{resident.dtype} on {resident.place}"
        )
        return "; ".join([model, *self.session.transform.remarks()])

    def fingerprint(self) -> dict[str, str]:
        """Hash the weights and the texts' tokens, also those of a recovery that judges finalists.

        Raises :class:`evoprune.InputError` for any text of the run that cannot be used.
        """
        from evoprune.problems.language_model.texts.text_splits import refuse_lines

        texts = self.session.texts
        known = {"weights": self.session.resident.weights_sha256} | texts.fingerprint()
        read = [texts.search, texts.report, *texts.second]
        if self.recovery is not None:
            from evoprune.problems.language_model.recovery import check_before_run

            check_before_run(self.session, self.recovery, self._compared())
            self.check_tasks()
            read.append(self.recovery_text.whole)  # raises an error for one that leaves too little
            known |= {"recovery_text": read[-1].sha256} if self._select else {}
        for windows in read if self.loses_tokens else ():
            refuse_lines(windows)
        return known

    @classmethod
    def weights_of(cls, settings: Any) -> tuple[float, ...]:
        return (-1.0,) * (1 + len(settings.trade_offs))

    @classmethod
    def labels_of(cls, settings: Any) -> tuple[str, ...]:
        return (settings.objective_label, *settings.traded_labels)

    @classmethod
    def needs(cls, settings: Any) -> Mapping[str, str]:
        if settings.budget is None:
            return {}
        key, instead = "problem.budget", "no budget"
        if isinstance(settings, PruningSettings):
            key = "problem.sparsity"
            instead = "search trade-offs with algorithm: nsga2 and problem.trade_offs: [weights]"
        return {"repair": f"without it candidates would not keep to {key}; give shift, or {instead}"}

    @classmethod
    def unscored(cls, settings: Any) -> list[str]:
        limited = any(text.at_most is not None for text in settings.second_text)
        selects = settings.recover and settings.recover.select
        return [*([] if limited else ["second_text"]), *([] if selects else ["recover"])]

    @classmethod
    def about(cls, settings: Any) -> str:
        return about(settings, settings.about)

    @classmethod
    def drawn_references(cls, settings: Any) -> tuple[str, str]:
        return ("dense", settings.uniform)

    @classmethod
    def missing(cls, settings: Any) -> list[str]:
        return list(settings.missing)

    @classmethod
    def foresee(cls, settings: Any, work: float | None, evaluations: int) -> Mapping[str, str]:
        from evoprune.problems.language_model.evaluation.cost_estimate import estimate

        return estimate(settings, work, evaluations)

    @classmethod
    def devices(cls) -> list[str]:
        import torch

        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]

    @classmethod
    def has_device(cls, name: str) -> bool:
        from evoprune.problems.language_model.models.device import pick_device

        try:
            pick_device(ModelSettings(device=name).device)
        except (InputError, ValueError):  # it is not there, or no device of a model
            return False
        return True

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        from evoprune.problems.language_model.results.report import report
        from evoprune.problems.language_model.results.sparsity_report import SparsityTarget

        settings = self.settings
        pruned = isinstance(settings, PruningSettings)
        target = SparsityTarget(settings.sparsity, settings.allocations) if pruned else None
        begun = time.perf_counter()
        budgets = [self.budget] if self.budget else self.traded
        result = report(self.session, outcome, folder, budgets, settings.uniform, target)
        result["protocol"]["finals"] = self.judged_by
        if self.recovery is not None:
            from evoprune.problems.language_model.recovery import recover_in_run

            recovery, reporting = self.recovery, time.perf_counter() - begun
            left = None if outcome.seconds_left is None else outcome.seconds_left - reporting
            if left is not None:
                recovery = recovery.lasting(left - _AFTER * reporting)
            if left is None or left > _MEASURED * reporting:
                result = recover_in_run(
                    self.session, recovery, self.recovery_text, outcome, self._compared(), result, folder
                )
            else:
                note("no time is left to train the result: give a longer one, or the command recover")
        return result | {"bits_per_byte": Reported.model_validate(result).measured_bits}

    @classmethod
    def summary(cls, result: LanguageModelResult) -> list[str]:
        return summary(result)

    @classmethod
    def file_suffixes(cls) -> list[str]:
        return [f".{name}" for name in plugin_names(FORMATS)]

    def _format(self, place: Path) -> type[ExportFormat]:
        from evoprune.problems.language_model.export.folder import Folder

        return find_plugin(FORMATS, place.suffix[1:]) if self.writes_file(place) else Folder

    def export(self, genome: Sequence[float], result: LanguageModelResult, place: Path, options: Any) -> Exported:
        from evoprune.problems.language_model.export.format import run_of
        from evoprune.problems.language_model.results.final_model import final_model

        final = final_model(self.session, genome, result)
        return self._format(place)(final, options).write(run_of(final, result), place)

    def draft(self, genome: Sequence[float], place: Path, options: Any) -> bool:
        from evoprune.problems.language_model.results.final_model import FinalModel

        return self._format(place)(FinalModel(self.session, genome), options).draft(place)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> tuple[Any, Any]:
        from evoprune.problems.language_model.export.ragged_model import load_any

        return load_any(ModelSettings(model=str(folder), device="cpu", dtype=facts["dtype"]))

    @classmethod
    def drawn(cls, facts: Mapping[str, Any]) -> Mapping[str, tuple[Any, str]]:
        from evoprune.problems.language_model.export.figures import drawn

        return drawn(ExportFacts.read(facts))

    @classmethod
    def compared(cls, facts: Mapping[str, Any]) -> tuple[Mapping[str, float], str]:
        return ExportFacts.read(facts).compared()

    def recover(
        self, genome: Sequence[float], result: LanguageModelResult, workplace: Path, place: Path, options: Any
    ) -> Exported:
        from evoprune.problems.language_model.recovery import recover_and_export
        from evoprune.problems.language_model.results.final_model import final_model

        final, kind = final_model(self.session, genome, result), self._format(place)
        return recover_and_export(final, self._compared(), result, workplace, place, options, kind)

    @classmethod
    def recover_export(
        cls, source: Path, facts: Mapping[str, Any] | None, workplace: Path, folder: Path, options: Any
    ) -> Exported:
        from evoprune.problems.language_model.recovery import recover_export

        return recover_export(source, facts, workplace, folder, options)

    def delete_checkpoints(self, folder: Path) -> None:
        if self.settings.recover:
            from evoprune.problems.language_model.recovery import delete_checkpoints

            delete_checkpoints(folder)

    def compare(self, genome: Sequence[float], result: LanguageModelResult, options: Any) -> Table:
        from evoprune.problems.language_model.eval import compare
        from evoprune.problems.language_model.results.final_model import final_model

        return compare(final_model(self.session, genome, result), self._compared(), options)

    def _compared(self) -> dict[str, list[float]]:
        if self._measuring:  # what it measured may be of another machine
            return {"dense": self.session.transform.dense}
        return self.baselines.compared

    @classmethod
    def measure(cls, source: str, options: Any) -> Table:
        from evoprune.problems.language_model.eval import measure

        return measure(source, options)

    @classmethod
    def measures(cls, source: str) -> bool:  # noqa: ARG003 - a model's name may be any
        """Any source may name a model: a path, or a name on the hub. Presets leave it to this class."""
        return cls is LanguageModel


class Pruning(LanguageModel):
    """Choose how much of each layer a causal language model loses, at a given global sparsity.

    A gene is the sparsity of a transformer block (or of a matrix); fitness is perplexity on
    the search text, or divergence from the dense model. The protocol is that of the ESILV report (2025).
    """

    Settings = PruningSettings
    plugin_groups = MappingProxyType({"score": SCORES, "allocations": ALLOCATIONS})
    shares = LanguageModel.shares | {"genes", "by_matrix"}


class Compression(LanguageModel):
    """Make a causal language model small by several transforms under one limit, at the least divergence from dense.

    Cuts come first, recovery may follow, and types are laid on what is left: all is one genome, and one file.
    """

    Settings = CompressionSettings
