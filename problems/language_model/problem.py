"""Problems on a language model: genes are those of a transform, fitness is measured on a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import (
    Budget,
    Evaluation,
    Exported,
    Foreseeing,
    Genes,
    InputError,
    Measured,
    Outcome,
    Problem,
    Recovering,
    Reporting,
    Result,
    Rival,
    Settings,
    Table,
    check_parameters,
    find_plugin,
    plugin_names,
)
from problems.budgets import BUDGETS
from problems.budgets.measured import MeasuredBudget
from problems.distillation.judged_models import JudgedModels
from problems.distillation.settings import RecoverOptions
from problems.export import FORMATS
from problems.export.settings import ExportOptions
from problems.language_model.settings import LanguageModelSettings, chosen_transforms, missing
from problems.models.settings import ModelSettings
from problems.results.comparison import ComparedExports
from problems.results.labels import EXPLAINED, SHARES, WORDS, about
from problems.results.settings import EvalOptions
from problems.results.summary import summary
from problems.transforms import TRANSFORMS

if TYPE_CHECKING:  # these import torch, which checking an experiment does not need
    from problems.export.format import ExportFormat
    from problems.models.resident import Resident
    from problems.texts.text_splits import Texts
    from problems.transforms.transform import Transform


class LanguageModel(JudgedModels, ComparedExports, Problem, Foreseeing, Reporting, Measured, Recovering):
    """Make a causal language model smaller by a transform, at the least loss on a text.

    Fitness is perplexity on the search text, or divergence from the dense model.
    """

    Settings: ClassVar[type[Settings]] = LanguageModelSettings
    ExportOptions, EvalOptions, RecoverOptions = ExportOptions, EvalOptions, RecoverOptions
    packages = ("torch", "transformers")
    plugin_groups: ClassVar[Mapping[str, str]] = MappingProxyType({"transforms": TRANSFORMS, "budget": BUDGETS})
    has_fidelities = True
    work_unit = "tokens"
    words: ClassVar[Mapping[str, str]] = WORDS
    shares = SHARES
    explained: ClassVar[Mapping[str, str]] = EXPLAINED

    def __init__(self, settings: Any) -> None:
        """Load the model here, so that a fault in it is not recorded as a failure of the first candidate."""
        super().__init__(settings)
        from problems.evaluation.session import Session

        self._measurements: Mapping[str, Any] = {}
        self.session = Session.start(settings, self._calibrates(settings), self._make_transform)

    @classmethod
    def _calibrates(cls, settings: Any) -> bool:
        """Whether the calibration text is used."""
        return any(kind.calibrates(own) for kind, own in cls._transforms(settings))

    def _make_transform(self, resident: Resident, texts: Texts) -> Transform:
        from problems.transforms.stack import combined

        return combined([kind(resident, own, texts) for kind, own in self._transforms(self.settings)])

    @property
    def genes(self) -> Genes:
        """The genes of the transform."""
        return self.session.transform.genes

    @cached_property
    def budget(self) -> Budget | None:
        """What the transform's genes spend."""
        if isinstance(self._budget, MeasuredBudget):
            return self._budget.budget(self.session.transform, self._measurements)
        return self._budget(self.session.transform) if self._budget else None

    @cached_property
    def _budget(self) -> MeasuredBudget | partial[Budget] | None:
        """The budget that the settings choose, with its parameters: one that measures, or a function."""
        chosen = getattr(self.settings, "budget", None)  # a subclass may have a budget of its own
        if chosen is None:
            return None
        kind = find_plugin(BUDGETS, chosen.use)
        given = check_parameters(kind, chosen.parameters, "problem.budget")
        return given if isinstance(given, MeasuredBudget) else partial(kind, **dict(given))

    def take_measurements(self) -> Mapping[str, Any]:
        """What the budget needs to know of this machine."""
        return self._budget.measure(self.session.transform) if isinstance(self._budget, MeasuredBudget) else {}

    def use_measurements(self, facts: Mapping[str, Any]) -> None:
        """Hand ``facts`` to the budget, by which levels of the transform may be left out.

        Raises :class:`evoprune.InputError` where the budget measures nothing, or something else.
        """
        if not isinstance(self._budget, MeasuredBudget):
            raise InputError("holds what another problem.budget measured", "measured.json")
        self._budget.settle(self.session.transform, facts)
        self._measurements = facts
        for known in ("budget", "_uniform_on_budget"):  # those of other facts
            vars(self).pop(known, None)

    def initial_genomes(self) -> list[list[float]]:
        """Where there is a budget, the uniform model and some that the transform knows to be good.

        No result is worse than these on the search text.
        """
        if (budget := self.budget) is None:
            return []
        from problems.transforms.transform import known_within

        return [*self._uniform_on_budget.values(), *known_within(self.session.transform, budget)]

    def references(self) -> dict[str, list[float]]:
        """The dense model and, where there is a budget, the uniform one."""
        return {"dense": self.session.transform.dense} | self._uniform_on_budget

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        """The objective on the first ``fidelity`` of the search text's windows; work is counted in tokens."""
        value, tokens = self.session.fitness.value(genome, fidelity)
        return Evaluation((value,), work=tokens, measures=self.session.transform.measures())

    @property
    def contenders(self) -> Mapping[str, Sequence[float]]:
        """The uniform model, where there is a budget."""
        return self._uniform_on_budget

    def describe(self) -> str:
        """The model, the number of weights in its blocks and of genes, the dtype and the device; and remarks."""
        resident = self.session.resident
        model = (
            f"{self.settings.model}, {resident.prunable_weights:,} prunable weights, {len(self.genes)} genes, "
            f"{resident.dtype} on {resident.place}"
        )
        return "; ".join([model, *self.session.transform.remarks()])

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the weights and of the texts' tokens; of the recovery's where finalists are judged on it.

        The main process reads the report text here, before anything is written; workers do
        not read it. Raises :class:`evoprune.InputError` if it cannot be used.
        """
        known = {"weights": self.session.resident.weights_sha256} | self.session.texts.fingerprint()
        if self.settings.recover is None:
            return known
        from problems.distillation.phase import check_before_run

        check_before_run(self.session, self.settings.recover, self.recovery_text, self._compared())
        return known | ({"recovery_text": self.recovery_text.whole.sha256} if self._select else {})

    @classmethod
    def needs(cls, settings: Any) -> Mapping[str, str]:
        """A repair, if there is a budget: nothing else keeps candidates to it."""
        if settings.budget is None:
            return {}
        return {"repair": "without it candidates would not keep to problem.budget; give shift, or no budget"}

    @classmethod
    def unscored(cls, settings: Any) -> list[str]:
        """The recovery, unless finalists are judged by it."""
        return [] if settings.recover and settings.recover.select else ["recover"]

    @classmethod
    def about(cls, settings: Any) -> str:
        """The model, what is done to it, and the texts."""
        return about(settings, [chosen.use for chosen in settings.transforms])

    @classmethod
    def drawn_references(cls, settings: Any) -> tuple[str, str]:  # noqa: ARG003 - the same for all
        """Dense, and uniform at the limit."""
        return ("dense", "uniform")

    @classmethod
    def labels_of(cls, settings: Any) -> tuple[str, ...]:
        """The objective, and the text on which it is measured."""
        return (settings.objective_label,)

    @classmethod
    def missing(cls, settings: Any) -> list[str]:
        """The model and the texts, if they are paths; and packages."""
        of_transforms = (fault for kind, own in cls._transforms(settings) for fault in kind.missing(own))
        return [*missing(settings), *of_transforms]

    @classmethod
    def foresee(cls, settings: Any, work: float | None, evaluations: int) -> Mapping[str, str]:
        """From the speed of the dense model, measured on some windows."""
        from problems.evaluation.cost_estimate import estimate

        return estimate(settings, cls._transforms(settings), cls._calibrates(settings), work, evaluations)

    @classmethod
    def _transforms(cls, settings: Any) -> list[tuple[Any, Any]]:
        """The class of each transform, and its settings."""
        return chosen_transforms(settings)

    @classmethod
    def devices(cls) -> list[str]:
        """Every CUDA device that PyTorch sees."""
        import torch

        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        """Score the result on the report text, and recover it if the settings say so."""
        from problems.results.report import report

        return self._recovered(report(self.session, outcome, self.budget), outcome, folder)

    def _recovered(self, result: dict[str, Any], outcome: Outcome, folder: Path) -> dict[str, Any]:
        """``result``, and what the last part of the run adds to it."""
        if self.settings.recover is None:
            return result
        from problems.distillation.phase import recover_in_run

        return recover_in_run(
            self.session, self.settings.recover, self.recovery_text, outcome, self._compared(), result, folder
        )

    @classmethod
    def summary(cls, result: Result) -> list[str]:
        """The perplexities on the report text."""
        return summary(result.as_json())

    @classmethod
    def file_suffixes(cls) -> list[str]:
        """A suffix for each registered format."""
        return [f".{name}" for name in plugin_names(FORMATS)]

    def export(self, genome: Sequence[float], result: Result, place: Path, options: ExportOptions) -> Exported:
        """Write the smaller model as ``save_pretrained`` does, or in a registered format; check it in a new process."""
        from problems.distillation.phase import weights_in

        told = _told(result)
        return self._format(place)(self.session, genome, options).write(told, place, weights_in(told))

    def rivals(self, first: bool) -> Iterator[Rival]:
        """The known solutions; of the first run also dense, and what transforms know, such as llama.cpp's presets."""
        from problems.results.baselines import of_others, own

        transforms = self._transforms(self.settings) if first else []
        others = of_others(type(self), self.settings, transforms)
        return chain(own(self, self.references(), first), others)  # others do not need this one's model any more

    def _format(self, place: Path) -> type[ExportFormat]:
        """The form of a model in ``place``: a registered one, or a folder."""
        from problems.export.write import Folder

        return find_plugin(FORMATS, place.suffix[1:]) if self.writes_file(place) else Folder

    def recover(
        self,
        genome: Sequence[float],
        result: Result,
        workplace: Path,
        place: Path,
        options: RecoverOptions,
    ) -> Exported:
        """Train the smaller model to predict what the dense one predicts, then as :meth:`export`."""
        from problems.distillation.phase import recover_and_export

        kind = self._format(place)
        return recover_and_export(
            self.session, genome, self._compared(), _told(result), workplace, place, options, kind
        )

    @classmethod
    def recover_export(
        cls,
        source: Path,
        facts: Mapping[str, Any] | None,
        workplace: Path,
        folder: Path,
        options: RecoverOptions,
    ) -> Exported:
        """As :meth:`recover`, for a folder that an export or ``save_pretrained`` wrote."""
        from problems.distillation.export import recover_export

        return recover_export(source, facts, workplace, folder, options)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> tuple[Any, Any]:
        """The model, in evaluation mode, and the tokenizer of an export, whatever shapes its layers have."""
        from problems.export.ragged_model import load_any

        return load_any(ModelSettings(model=str(folder), device="cpu", dtype=facts["dtype"]))

    def compare(self, genome: Sequence[float], result: Result, options: EvalOptions) -> Table:
        """The known solutions and ``genome``, also as the run recovered it: perplexity, and tasks if requested."""
        from problems.distillation.phase import weights_in
        from problems.language_model.eval import compare

        return compare(self.session, self._compared() | {"evolved": list(genome)}, options, weights_in(_told(result)))

    def _compared(self) -> dict[str, list[float]]:
        if isinstance(self._budget, MeasuredBudget):  # what it measured may be of another machine
            return {"dense": self.session.transform.dense}
        return self.references()

    @cached_property
    def _uniform_on_budget(self) -> dict[str, list[float]]:
        """The uniform genome that takes the least from each gene and keeps the budget; none without one."""
        if (budget := self.budget) is None:
            return {}
        from problems.transforms.transform import uniform_within

        return {"uniform": uniform_within(self.session.transform, budget)}

    @classmethod
    def measures(cls, source: str) -> bool:  # noqa: ARG003 - a model's name may be any
        """Any source may name a model: a path, or a name on the hub. Subclasses leave it to this one."""
        return cls is LanguageModel

    @classmethod
    def measure(cls, source: str, options: EvalOptions) -> Table:
        """Perplexity, and tasks if requested, of a model: folder, hub id or .gguf file."""
        from problems.language_model.eval import measure

        return measure(source, options)


def _told(result: Result) -> dict[str, Any]:
    return result.as_json() | {"folder": str(result.folder)}
