"""Pruning as a problem: genes are sparsities, fitness is perplexity."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from evoprune import Bounds, Evaluation, Exported, Outcome, Problem, Table, find_plugin
from problems.pruning.settings import (
    ALLOCATIONS,
    SCORES,
    TOLERANCE,
    UNIFORM,
    EvalSettings,
    ExportSettings,
    PruningSettings,
    uniform_name,
)
from problems.pruning.summary import summary


class _Found(NamedTuple):
    """An allocation without search, and what finding it took."""

    genome: list[float]
    tokens: int
    """Of the search text."""


class Pruning(Problem):
    """Choose how much of each layer a causal language model loses, at a given global sparsity.

    A gene is the sparsity of a transformer block (or of a matrix); fitness is perplexity on
    the search text, or divergence from the dense model. The protocol is that of the ESILV report (2025).
    """

    Settings = PruningSettings
    ExportOptions = ExportSettings
    EvalOptions = EvalSettings
    packages = ("torch", "transformers")
    supplies = frozenset({"weights", "target", "advice"})
    groups = MappingProxyType({"score": SCORES, "allocations": ALLOCATIONS})
    has_fidelities = True
    work_unit = "tokens"
    words = MappingProxyType(
        {
            "unseen": "perplexity on the report text",
            "gap_closed": "gap to dense closed (log-perplexity, report text), %",
            "gap_closed_reconstructed": "gap to dense closed, both reconstructed, %",
        }
    )
    settings: PruningSettings

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        from problems.pruning.evaluation.evaluator import Evaluator  # torch, which checking an experiment needs not

        self.evaluator = Evaluator(settings)
        """The resident model. It is loaded here: what is wrong with it is no fault of the first candidate's."""

    @classmethod
    def weights_of(cls, settings: PruningSettings) -> tuple[float, ...]:
        """Less perplexity; and more sparsity, where that is the ``second_objective``."""
        return (-1.0, 1.0) if settings.second_objective == "sparsity" else (-1.0,)

    @classmethod
    def needs(cls, settings: PruningSettings) -> Mapping[str, str]:
        """A repair, where there is a budget."""
        if settings.second_objective == "sparsity":
            return {}
        return {
            "repair": "without it nothing keeps candidates at problem.sparsity; give shift, or look for trade-offs "
            "with algorithm: nsga2 and problem.second_objective: sparsity"
        }

    @classmethod
    def labels_of(cls, settings: PruningSettings) -> tuple[str, ...]:
        """The objectives in the order of :meth:`weights_of`, the first with the text it is taken on."""
        labels = (settings.objective_label, "sparsity of the prunable weights")
        return labels[: len(cls.weights_of(settings))]

    @property
    def _trades_off(self) -> bool:
        return len(self.weights) > 1

    @cached_property
    def _found(self) -> dict[str, _Found]:
        """The allocations without search by name, for the process that breeds."""
        return {name: self._find(name) for name in self.settings.found}

    def _find(self, name: str) -> _Found:
        before = self.evaluator.tokens_scored
        genome = find_plugin(ALLOCATIONS, name)(self.evaluator)
        return _Found(genome, self.evaluator.tokens_scored - before)

    @property
    def preparation(self) -> float:  # type: ignore[override]
        """The tokens of the search text that the ``starts`` and the ``advice`` took; calibration is no part of it."""
        used = {*self.settings.starts, self.settings.advice}
        return float(sum(self._found[name].tokens for name in self.settings.found if name in used))

    def bounds(self) -> Bounds:
        """``min_sparsity`` and ``max_sparsity``, for genes that are sparsities."""
        return self.evaluator.genes.bounds

    def context(self) -> dict[str, Any]:
        """The number of weights under each gene, what the global sparsity asks of their mean, and the ``advice``."""
        genes, settings = self.evaluator.genes, self.settings
        budget = {} if self._trades_off else {"target": genes.target(settings.sparsity)}
        advice = {"advice": self._found[settings.advice].genome} if settings.advice else {}
        return {"weights": genes.weights} | budget | advice

    def random_genome(self) -> list[float]:
        """Genes drawn evenly within ``initial_spread`` of the uniform allocation at the target.

        Without a budget, at a sparsity drawn evenly from those that there are.
        """
        genes, settings = self.evaluator.genes, self.settings
        drawn = random.uniform(settings.min_sparsity, settings.max_sparsity) if self._trades_off else settings.sparsity
        centre = self._uniform(drawn)
        return [
            random.uniform(max(low, gene - spread), min(up, gene + spread))
            for gene, spread, low, up in zip(centre, genes.spreads, *genes.bounds, strict=True)
        ]

    def starting_genomes(self) -> list[list[float]]:
        """The ``starts``; where there is no budget, uniform at all sparsities of the curve."""
        settings = self.settings
        sparsities = {settings.sparsity, *(settings.curve if self._trades_off else ())}
        within = [s for s in sorted(sparsities) if settings.min_sparsity <= s <= settings.max_sparsity]
        uniform = [self._uniform(sparsity) for sparsity in within]
        return [
            genome
            for name in settings.starts
            for genome in (uniform if name == UNIFORM else [self._found[name].genome])
        ]

    def references(self) -> dict[str, list[float]]:
        """Dense, the uniform curve, uniform at the target, and the ``allocations`` without search."""
        target = self.settings.sparsity
        sparsities = [*sorted({*self.settings.curve, target}), target]  # last again, for one may round to its name
        curve = {uniform_name(sparsity): self._uniform(sparsity) for sparsity in sparsities if sparsity}
        found = {name: self._found[name].genome for name in self.settings.allocations}
        return {"dense": self._uniform(0.0)} | curve | found

    def evaluate(self, genome: Sequence[float]) -> Evaluation:
        """The objective on the search text."""
        return self.evaluator.evaluate(genome)

    def evaluate_partly(self, genome: Sequence[float], fidelity: float) -> Evaluation:
        """The objective on the first ``fidelity`` of the search text's windows."""
        return self.evaluator.evaluate(genome, fidelity)

    def watch(self, genome: Sequence[float]) -> float | None:
        """The perplexity on the held-out windows; None where there are none."""
        held_out = self.evaluator.held_out
        return self.evaluator.perplexity(genome, held_out.tokens) if held_out else None

    def describe(self) -> str:
        """The model, how many weights may go, the genes, and what computes."""
        from problems.pruning.model.device import device_of, dtype_of  # torch, as above

        evaluator = self.evaluator
        return (
            f"{self.settings.model}, {evaluator.masks.total:,} prunable weights, {len(evaluator.genes.names)} genes, "
            f"{dtype_of(evaluator.model)} on {device_of(evaluator.model)}"
        )

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the weights and of the texts' tokens.

        The report text is read here first: by the process that breeds, before anything is
        written, and not by its workers. Raises :class:`evoprune.InputError` if it cannot be used.
        """
        evaluator = self.evaluator
        hashes = {
            "weights": evaluator.weights_sha256,
            "search_text": evaluator.search.sha256,
            "report_text": evaluator.report.sha256,
        }
        more = {
            "calibration_text": evaluator.calibration if evaluator.calibrates else None,
            "held_out_text": evaluator.held_out,
        }
        return hashes | {name: windows.sha256 for name, windows in more.items() if windows}

    @classmethod
    def devices(cls) -> list[str]:
        """Every CUDA device that PyTorch sees."""
        import torch

        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]

    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """The best by the first objective of those that reach the target; the sparsest if none does.

        Of a front, the best by perplexity alone would be a model that is hardly pruned.
        """
        reached = [at for at, (_, sparsity) in enumerate(front) if sparsity >= self.settings.sparsity - TOLERANCE]
        if reached:
            return min(reached, key=lambda at: front[at][0])
        return max(range(len(front)), key=lambda at: front[at][1])

    def finish(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        """Score the result on the report text and draw it."""
        from problems.pruning.report import report

        return report(self.evaluator, outcome, folder)

    @classmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """The perplexities on the report text."""
        return summary(result)

    def export(
        self, genome: Sequence[float], result: Mapping[str, Any], folder: Path, options: ExportSettings
    ) -> Exported:
        """Write the pruned model as ``save_pretrained`` does, and check it in a fresh process."""
        from problems.pruning.export.write import export

        return export(self.evaluator, genome, result, folder, options)

    def compare(self, genome: Sequence[float], options: EvalSettings) -> Table:
        """Dense, uniform and ``genome``: perplexity, and tasks where asked."""
        from problems.pruning.eval import compare

        genomes = {"dense": self._uniform(0.0), "uniform": self._uniform(self.settings.sparsity), "evolved": genome}
        return compare(self.evaluator, genomes, options)

    @classmethod
    def measure(cls, source: str, options: EvalSettings) -> Table:
        """Perplexity, and tasks where asked, of a model: folder, hub id or .gguf file."""
        from problems.pruning.eval import measure

        return measure(source, options)

    def _uniform(self, sparsity: float) -> list[float]:
        return self.evaluator.genes.uniform(sparsity)
