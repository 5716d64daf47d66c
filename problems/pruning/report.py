"""What a finished search leaves: scores on text it never saw, under a stated protocol."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from evoprune import Outcome
from problems.pruning import figures
from problems.pruning.evaluator import Evaluator
from problems.pruning.problem import uniform_name


def report(evaluator: Evaluator, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Score dense, the uniform curve and the best genome on the report text; draw the figures.

    Returns ``sparsity``, ``perplexity``, ``gap_closed``, ``curve``, ``genes`` and
    ``protocol`` for ``result.json``.
    """
    target = evaluator.settings.sparsity
    genomes = {name: genome for name, (genome, _) in outcome.references.items()}
    searched, evolved_searched = _on_search_text(evaluator, outcome)
    reported = {name: evaluator.perplexity(genome, evaluator.report.tokens) for name, genome in genomes.items()}
    evolved = evaluator.perplexity(outcome.best, evaluator.report.tokens)
    zeros = evaluator.masks.zeros()  # of the model as it stands now: evolved
    sparsity = {
        "prunable": zeros / evaluator.masks.total,
        "model": zeros / sum(parameter.numel() for parameter in evaluator.model.parameters()),
    }
    perplexity = {
        "search": _three(searched, target, evolved_searched),
        "report": _three(reported, target, evolved),
    }
    sparsities = [genome[0] for genome in genomes.values()]
    curve = {
        "sparsity": sparsities,
        "search": [_finite(value) for value in searched.values()],
        "report": [_finite(value) for value in reported.values()],
    }
    figures.draw_cliff(sparsities, list(reported.values()), target, evolved, folder)
    names = [group.name for group in evaluator.groups]
    figures.draw_allocation(names, outcome.best, target, folder)
    return {
        "sparsity": sparsity,
        "perplexity": perplexity,
        "gap_closed": gap_closed(**perplexity["report"]),
        "curve": curve,
        "genes": names,
        "protocol": protocol(evaluator),
    }


def _on_search_text(evaluator: Evaluator, outcome: Outcome) -> tuple[dict[str, float], float]:
    """The perplexities on the search text of the references by name, and of the best genome."""
    if evaluator.settings.objective == "perplexity":  # then they are the fitness
        searched = {name: evaluation.values[0] for name, (_, evaluation) in outcome.references.items()}
        return searched, outcome.best_evaluation.values[0]
    tokens = evaluator.search.tokens
    searched = {name: evaluator.perplexity(genome, tokens) for name, (genome, _) in outcome.references.items()}
    return searched, evaluator.perplexity(outcome.best, tokens)


def gap_closed(dense: float | None, uniform: float | None, evolved: float | None) -> float | None:
    """The share of the gap in log-perplexity between uniform and dense that evolved closes.

    1 is as good as dense, 0 as bad as uniform; None where there is no finite gap.
    """
    if dense is None or uniform is None or evolved is None or uniform <= dense:
        return None
    return math.log(uniform / evolved) / math.log(uniform / dense)


def protocol(evaluator: Evaluator) -> dict[str, Any]:
    """What a perplexity means nothing without."""
    settings = evaluator.settings
    return {
        "perplexity": "exp of the mean next-token loss over non-overlapping windows, losses in float32, "
        "no special tokens added",
        "model": settings.model,
        "revision": settings.revision,
        "weights_sha256": evaluator.weights_sha256,
        "dtype": str(evaluator.model.dtype).removeprefix("torch."),
        "device": str(evaluator.model.device),
        "threads": torch.get_num_threads(),
        "batch_tokens": evaluator.measure.batch_tokens,
        "objective": settings.objective,
        "score": settings.score,
        "scope": settings.scope,
        "genes": settings.genes,
        "sparsity_denominators": {
            "prunable": evaluator.masks.total,
            "model": sum(parameter.numel() for parameter in evaluator.model.parameters()),
        },
        "search_text": evaluator.search.protocol(),
        "report_text": evaluator.report.protocol(),
    }


def _three(scores: dict[str, float], target: float, evolved: float) -> dict[str, float | None]:
    uniform = scores["dense"] if target == 0 else scores[uniform_name(target)]
    return {"dense": _finite(scores["dense"]), "uniform": _finite(uniform), "evolved": _finite(evolved)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
