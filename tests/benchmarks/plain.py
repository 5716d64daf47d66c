"""The plain way: what a newcomer writes with DEAP, in float32."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from problems.language_model.settings import PruningSettings
from problems.models.blocks import find_matrices
from problems.models.load import load_model
from problems.texts.windows import cut_windows
from tests.benchmarks.ways import Way


class Plain(Way):
    """The dense weights copied, a threshold sought in each matrix, the whole forward with all its logits."""

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        self._model, tokenizer = load_model(settings.model_copy(update={"dtype": "float32"}))
        self._tokens = cut_windows(settings.search_text, tokenizer, "search_text").tokens
        self._matrices = find_matrices(self._model)
        self._dense = {matrix.name: matrix.weight.clone() for matrix in self._matrices}
        self._batch = 1

    def genes(self) -> int:
        """See :meth:`Way.genes`."""
        return 1 + self._matrices[-1].block

    def prepare(self, genomes: list[list[float]]) -> None:
        """Find out which batch is faster here."""
        self._batch = self._faster()

    def score(self, genome: list[float], windows: int | None = None) -> float:
        """See :meth:`Way.score`."""
        for matrix in self._matrices:
            matrix.weight.copy_(self._dense[matrix.name])
            prune(matrix.weight, genome[matrix.block])
        return perplexity(self._model, self._tokens[:windows], self._batch)

    def _faster(self) -> int:
        """Windows in a batch: eight (or all) or one, whichever runs faster here."""
        tokens = self._tokens[:8]
        seconds = {}
        perplexity(self._model, tokens[:1])  # the first is slower
        for batch in (len(tokens), 1):
            start = time.perf_counter()
            perplexity(self._model, tokens, batch)
            seconds[batch] = time.perf_counter() - start
        return min(seconds, key=lambda batch: seconds[batch])


@torch.no_grad()
def prune(weight: torch.Tensor, sparsity: float) -> None:
    """Zero the share ``sparsity`` of ``weight`` with the lowest magnitudes, by a threshold."""
    count = round(sparsity * weight.numel())
    if count:
        threshold = weight.abs().flatten().kthvalue(count).values
        weight[weight.abs() <= threshold] = 0


@torch.inference_mode()
def perplexity(model: Any, tokens: torch.Tensor, batch: int = 1) -> float:
    """By the model's own forward; ``batch`` windows of ``tokens`` ``(windows, window)`` at a time."""
    total = 0.0
    for part in tokens.split(batch):
        logits = model(part).logits[:, :-1].flatten(0, 1)
        total += float(cross_entropy(logits.float(), part[:, 1:].flatten(), reduction="sum"))
    return math.exp(total / (tokens.shape[0] * (tokens.shape[1] - 1)))
