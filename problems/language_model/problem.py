"""The problem of making a language model smaller, and its preset for pruning single weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import Budget, Evaluation, Genes, InputError, Problem, Settings
from evoprune.plugins import find_plugin
from evoprune.problems.language_model import parts
from evoprune.problems.language_model.budgets import BUDGETS
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.results.recovery import RECOVERIES
from evoprune.problems.language_model.results.result import LanguageModelResult
from evoprune.problems.language_model.scores import SCORES
from evoprune.problems.language_model.settings import LanguageModelSettings, ProblemSettings, PruningSettings
from evoprune.problems.language_model.transforms import TRANSFORMS

if TYPE_CHECKING:  # these import torch, which checking an experiment does not need
    from evoprune.problems.language_model.results.recovery import Recovery


class LanguageModel(Problem):
    """Make a causal language model smaller by transforms, at the least loss on a text.

    Fitness is perplexity on the search text, or divergence from the dense model.
    """

    Settings: ClassVar[type[Settings]] = LanguageModelSettings
    settings: ProblemSettings
    Result = LanguageModelResult
    parts = (parts.Judge, parts.Machine, parts.Report, parts.Export, parts.Measurement)
    plugin_groups: ClassVar[Mapping[str, str]] = MappingProxyType({"transforms": TRANSFORMS, "budget": BUDGETS})
    has_fidelities = True
    work_unit = "tokens"

    def __init__(self, settings: Any) -> None:
        """Load the model here: an error must not be recorded as a failure of the first candidate."""
        super().__init__(settings)
        from evoprune.problems.language_model.evaluation.session import Session

        self.session = Session.start(settings, settings.chosen_transforms)
        self.use_measurements({})

    def use_measurements(self, facts: Mapping[str, Any]) -> None:
        """Use ``facts``, the measurements of a budget, for limits and baselines."""
        from evoprune.problems.language_model.baselines import Baselines
        from evoprune.problems.language_model.budgets.limits import Limits

        self.limits = Limits(self.settings.budget, self.session.transform, facts)
        self.baselines = Baselines(self.session, self.limits, self.settings.uniform)

    @property
    def genes(self) -> Genes:
        return self.session.transform.genes

    @property
    def budget(self) -> Budget | None:
        return self.limits.budget

    @cached_property
    def recovery(self) -> Recovery | None:
        """The training of the result, if the run has one."""
        recover = self.settings.recover
        return find_plugin(RECOVERIES, "training")(self.session, recover, self.baselines.compared) if recover else None

    def initial_genomes(self) -> list[list[float]]:
        return self.baselines.initial_genomes()

    def random_genome(self) -> list[float]:
        return self.baselines.random_genome()

    def references(self) -> dict[str, list[float]]:
        return self.baselines.references

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        return self.evaluate_batch([genome], fidelity)[0]

    @property
    def batch(self) -> bool:
        """True if all genomes of a batch pass a block before the next block is loaded."""
        return self.session.fitness.together

    def evaluate_batch(self, genomes: Sequence[Sequence[float]], fidelity: float = 1.0) -> Sequence[Evaluation]:
        fitness, transform, evaluations = self.session.fitness, self.session.transform, []
        together = self.batch  # this process may have more memory than that of the search
        scores = fitness.values(genomes, fidelity) if together else (fitness.value(each, fidelity) for each in genomes)
        for genome, (value, tokens) in zip(genomes, scores, strict=True):
            if together:  # otherwise it is applied
                transform.apply(genome)
            evaluations.append(Evaluation((value,), tokens, transform.facts.measures()))
        return evaluations

    def describe(self) -> str:
        resident = self.session.resident
        model = (
            f"{self.settings.model}, {resident.prunable_weights:,} prunable weights, {len(self.genes)} genes, "
            f"{resident.dtype} on {resident.place}"
        )
        return "; ".join([model, *self.session.transform.facts.remarks()])

    def fingerprint(self) -> dict[str, str]:
        """Hash the weights and the texts' tokens. Raises :class:`evoprune.InputError` for texts that cannot be used."""
        from evoprune.problems.language_model.texts.text_splits import refuse_task_file

        texts = self.session.texts
        hashes = {"weights": self.session.resident.weights_sha256} | texts.fingerprint()
        read = [texts.search, texts.report, *texts.second]
        if self.recovery:
            self.recovery.check()
            read.append(self.recovery.text.whole)
        for windows in read if self.session.transform.facts.prunes_vocabulary else ():
            refuse_task_file(windows)
        return hashes

    @classmethod
    def labels_of(cls, settings: Any) -> tuple[str, ...]:
        return (settings.objective_label,)

    @classmethod
    def needs(cls, settings: Any) -> Mapping[str, str]:
        return {"repair": "without it candidates would not keep to the limit; give shift"} if settings.budget else {}

    @classmethod
    def unscored(cls, settings: Any) -> list[str]:  # noqa: ARG003
        return ["memory", "second_text", "recover"]

    @classmethod
    def missing(cls, settings: Any) -> list[str]:
        return list(settings.missing)

    @classmethod
    def devices(cls) -> list[str]:
        from evoprune.problems.language_model.models.device import accelerators

        return accelerators()

    @classmethod
    def has_device(cls, name: str) -> bool:
        from evoprune.problems.language_model.models.device import pick_device

        try:
            pick_device(ModelSettings(device=name).device)
        except (InputError, ValueError):  # missing, or not a device for models
            return False
        return True


class Pruning(LanguageModel):
    """Choose the sparsity of each layer of a causal language model, at a given global sparsity.

    A gene is the sparsity of a transformer block (or of a matrix); fitness is perplexity on the search text, or
    divergence from the dense model. The protocol is that of the ESILV report (2025).
    """

    Settings = PruningSettings
    plugin_groups = MappingProxyType({"score": SCORES})
