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
    searched = {name: evaluation.values[0] for name, (_, evaluation) in outcome.references.items()}
    reported = {name: evaluator.report_perplexity(genome) for name, (genome, _) in outcome.references.items()}
    evolved = evaluator.report_perplexity(outcome.best)
    zeros = evaluator.masks.zeros()  # of the model as it stands now: evolved
    sparsity = {
        "prunable": zeros / evaluator.masks.total,
        "model": zeros / sum(parameter.numel() for parameter in evaluator.model.parameters()),
    }
    perplexity = {
        "search": _three(searched, target, outcome.best_evaluation.values[0]),
        "report": _three(reported, target, evolved),
    }
    sparsities = [genome[0] for genome, _ in outcome.references.values()]
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
        "dtype": settings.dtype,
        "device": str(evaluator.model.device),
        "threads": torch.get_num_threads(),
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
