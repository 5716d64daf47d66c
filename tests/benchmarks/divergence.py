"""What the divergence from the dense model loses by keeping a part of its probabilities."""

from __future__ import annotations

from random import Random
from typing import Any

import torch

from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.evaluation.objectives import Divergence
from problems.pruning.settings import PruningSettings
from tests.benchmarks.candidates import unrelated

TOPS = (16, 64, 256)


def divergence(settings: PruningSettings, candidates: int, windows: int) -> dict[str, Any]:
    """The divergence by how many probabilities are kept, and its largest relative error against all of them.

    On the first ``windows`` of the search text, for the uniform allocation and unrelated candidates.
    """
    evaluator = Evaluator(settings)
    tokens = evaluator.search.tokens[:windows]
    predictions = tokens.shape[0] * (tokens.shape[1] - 1)
    vocabulary = evaluator.model.get_output_embeddings().weight.shape[0]
    kept = {top: Divergence(predictions, top) for top in (*(t for t in TOPS if t < vocabulary), vocabulary)}

    def learn(logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:
        return torch.stack([objective.learn(logits, targets, first) for objective in kept.values()]).sum()

    genes, rng = len(evaluator.groups), Random(0)
    evaluator.masks.apply([0.0] * genes)
    evaluator.measure.total(tokens, learn)
    values: dict[int, list[float]] = {top: [] for top in kept}
    uniform = [settings.sparsity] * genes
    for genome in [uniform, *(unrelated(rng, genes, settings.sparsity) for _ in range(candidates - 1))]:
        evaluator.masks.apply(genome)
        for top, objective in kept.items():
            values[top].append(objective.value(evaluator.measure.total(tokens, objective.add), predictions))
    whole = values[vocabulary]
    return {
        "predictions": predictions,
        "vocabulary": vocabulary,
        "values": {str(top): found for top, found in values.items()},
        "largest_relative_error": {
            str(top): max(abs(v / w - 1) for v, w in zip(found, whole, strict=True)) for top, found in values.items()
        },
    }
