"""Scores genomes on a resident model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property

import torch

from evoprune import Evaluation, InputError
from problems.pruning.groups import group
from problems.pruning.masks import BASE, LEVEL, Masks
from problems.pruning.measure import Measure
from problems.pruning.model.blocks import Matrix, find_matrices
from problems.pruning.model.device import keep_freed_memory
from problems.pruning.model.forward import Forward
from problems.pruning.model.load import load_model
from problems.pruning.objectives import Divergence, Objective, Perplexity
from problems.pruning.ranks import levels, ranks_in_matrix, ranks_in_rows
from problems.pruning.scores.magnitude import magnitude
from problems.pruning.settings import PruningSettings, TextSettings
from problems.pruning.shared import Tensors, shared
from problems.pruning.states import States, prefix_names
from problems.pruning.text.windows import Windows, cut


class Evaluator:
    """One model on one device: masks it as a genome says and measures what is left of it."""

    def __init__(self, settings: PruningSettings) -> None:
        self.settings = settings
        self.model, self.tokenizer = load_model(settings)
        self.device: torch.device = self.model.device  # type: ignore[assignment]
        self.matrices = find_matrices(self.model)
        self.groups = group(self.matrices, settings.genes)
        self.search = self.windows(settings.search_text, "search_text")
        self.weights_sha256 = self._hash_weights()
        self.masks = Masks(self.groups, self._stored())
        if self.device.type == "cpu":
            keep_freed_memory()
        self._forward = Forward(self.model)
        if settings.compile:
            self._forward.compile()
        self.measure = Measure(self._forward, settings.batch_tokens)
        state_bytes = self.search.tokens.numel() * self._forward.bytes_per_state
        self._states = States(self._forward.depth, state_bytes, settings.reuse_mib * 2**20)
        self.objective = self._objective()

    @cached_property
    def report(self) -> Windows:
        """The windows that score the result; read by the process that reports, and by no search."""
        report = self.windows(self.settings.report_text, "report_text")
        if report.sha256 == self.search.sha256:
            raise InputError("problem.report_text holds the very tokens of search_text; give another text")
        return report

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        """The objective for ``genome`` on the first ``fidelity``, in (0, 1], of the search windows.

        At least one window is scored; work is counted in tokens.
        """
        sparsity = self.masks.apply(genome)
        tokens = self.search.tokens[: max(1, math.ceil(fidelity * self.search.tokens.shape[0]))]
        names = prefix_names(self.masks.block_cuts())
        total = self.measure.total(tokens, self.objective.add, self._states, names)
        value = self.objective.value(total, _predictions(tokens))
        self._states.judge(names, value)
        return Evaluation((value,), work=tokens.numel(), measures={"sparsity": sparsity})

    def perplexity(self, genome: Sequence[float], tokens: torch.Tensor) -> float:
        """The perplexity of ``genome`` on ``tokens`` ``(windows, window)``, int64."""
        self.masks.apply(genome)
        perplexity = Perplexity()
        return perplexity.value(self.measure.total(tokens, perplexity.add), _predictions(tokens))

    def _objective(self) -> Objective:
        if self.settings.objective == "perplexity":
            return Perplexity()
        divergence = Divergence(_predictions(self.search.tokens), min(self.settings.kl_top, self._forward.vocabulary))
        self.masks.apply([0.0] * len(self.groups))
        self.measure.total(self.search.tokens, divergence.learn)
        return divergence

    def _stored(self) -> Tensors:
        """The original weights and their levels: of all evaluators on a host, or of this device."""
        if self.device.type != "cpu":
            return self._build_stored()
        what = f"{self.weights_sha256} {self.settings.score} {self.settings.scope}"
        return shared(hashlib.sha256(what.encode()).hexdigest()[:32], self._build_stored)

    def _build_stored(self) -> Tensors:
        stored = {BASE + matrix.name: matrix.weight.detach().clone() for matrix in self.matrices}
        return stored | {LEVEL + matrix.name: self._levels(matrix) for matrix in self.matrices}

    def _levels(self, matrix: Matrix) -> torch.Tensor:
        score = magnitude(matrix.weight)
        by_row = self.settings.scope == "row"
        return levels(ranks_in_rows(score, matrix.transposed) if by_row else ranks_in_matrix(score))

    def _hash_weights(self) -> str:
        """Of the prunable weights as they are, dtype and all."""
        digest = hashlib.sha256()
        for matrix in self.matrices:
            digest.update(f"{matrix.name} {tuple(matrix.weight.shape)} {matrix.weight.dtype}".encode())
            digest.update(matrix.weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def windows(self, text: TextSettings, role: str) -> Windows:
        """The windows of ``text``; ``role`` names its settings in errors. Raises :class:`evoprune.InputError`."""
        longest = getattr(self.model.config, "max_position_embeddings", None)
        if longest and text.window > longest:
            raise InputError(f"problem.{role}.window: {text.window} is longer than the model's {longest} positions")
        return cut(text, self.tokenizer, role)


def _predictions(tokens: torch.Tensor) -> int:
    """How many next tokens are predicted: one fewer than tokens in each window."""
    return tokens.shape[0] * (tokens.shape[1] - 1)
