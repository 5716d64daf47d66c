"""Scores genomes on a resident model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evoprune import Evaluation, InputError
from problems.pruning.groups import group
from problems.pruning.masks import Masks
from problems.pruning.model.blocks import Matrix, find_matrices
from problems.pruning.model.load import load_model
from problems.pruning.perplexity import Perplexity
from problems.pruning.ranks import ranks_in_matrix, ranks_in_rows
from problems.pruning.scores.magnitude import magnitude
from problems.pruning.settings import PruningSettings, TextSettings
from problems.pruning.text.windows import Windows, cut


class Evaluator:
    """One model on one device: masks it as a genome says and measures perplexity."""

    def __init__(self, settings: PruningSettings) -> None:
        self.settings = settings
        self.model, self._tokenizer = load_model(settings)
        self.groups = group(find_matrices(self.model), settings.genes)
        self.search = self._windows(settings.search_text, "search_text")
        self.masks = Masks(self.groups, self._rank)
        self.perplexity = Perplexity(self.model, settings.batch_tokens)
        self._report: Windows | None = None

    @property
    def report(self) -> Windows:
        """The windows that score the result; read by the process that reports, and by no search."""
        if self._report is None:
            self._report = self._windows(self.settings.report_text, "report_text")
            if self._report.sha256 == self.search.sha256:
                raise InputError("problem.report_text holds the very tokens of search_text; give another text")
        return self._report

    def evaluate(self, genome: Sequence[float]) -> Evaluation:
        """The perplexity of ``genome`` on the search text; work is counted in tokens."""
        sparsity = self.masks.apply(genome)
        value = self.perplexity(self.search.tokens)
        return Evaluation((value,), work=self.search.tokens.numel(), measures={"sparsity": sparsity})

    def report_perplexity(self, genome: Sequence[float]) -> float:
        """The perplexity of ``genome`` on the report text."""
        self.masks.apply(genome)
        return self.perplexity(self.report.tokens)

    def _rank(self, matrix: Matrix) -> torch.Tensor:
        score = magnitude(matrix.weight)
        return ranks_in_rows(score, matrix.transposed) if self.settings.scope == "row" else ranks_in_matrix(score)

    def _windows(self, text: TextSettings, role: str) -> Windows:
        longest = getattr(self.model.config, "max_position_embeddings", None)
        if longest and text.window > longest:
            raise InputError(f"problem.{role}.window: {text.window} is longer than the model's {longest} positions")
        return cut(text, self._tokenizer, role)
