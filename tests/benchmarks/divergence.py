"""What the divergence from the dense model loses by keeping a part of its probabilities."""

from __future__ import annotations

from random import Random
from typing import Any

import torch

from problems.evaluation.objectives import Divergence
from problems.language_model.problem import Pruning
from problems.language_model.settings import PruningSettings
from problems.texts.windows import predictions
from tests.benchmarks.candidates import unrelated

TOPS = (16, 64, 256)


def divergence(settings: PruningSettings, candidates: int, windows: int) -> dict[str, Any]:
    """The divergence by how many probabilities are kept, and its largest relative error against all of them.

    On the first ``windows`` of the search text, for the uniform allocation and unrelated candidates.
    """
    session = Pruning(settings).session
    transform, measure = session.transform, session.fitness.measure
    tokens = session.texts.search.tokens[:windows]
    predicted = predictions(tokens)
    vocabulary = session.resident.forward.vocabulary
    kept = {top: Divergence(predicted, top) for top in (*(t for t in TOPS if t < vocabulary), vocabulary)}

    def learn(logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:
        return torch.stack([objective.learn(logits, targets, first) for objective in kept.values()]).sum()

    genes, rng = len(transform.genes), Random(0)
    transform.apply(transform.dense)
    measure.total(tokens, learn)
    values: dict[int, list[float]] = {top: [] for top in kept}
    uniform = [settings.sparsity] * genes
    for genome in [uniform, *(unrelated(rng, genes, settings.sparsity) for _ in range(candidates - 1))]:
        transform.apply(genome)
        for top, objective in kept.items():
            values[top].append(objective.value(measure.total(tokens, objective.add), predicted))
    whole = values[vocabulary]
    return {
        "predictions": predicted,
        "vocabulary": vocabulary,
        "values": {str(top): found for top, found in values.items()},
        "largest_relative_error": {
            str(top): max(abs(v / w - 1) for v, w in zip(found, whole, strict=True)) for top, found in values.items()
        },
    }
