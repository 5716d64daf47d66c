"""What a finished search leaves: scores on text it never saw, under a stated protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evoprune import Outcome, finite
from problems.pruning import figures, protocol
from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.reconstruct.sequential import reconstruct
from problems.pruning.settings import TOLERANCE, uniform_name

Three = dict[str, float | None]
"""The perplexities of ``dense``, ``uniform`` at the target and ``evolved``; None where infinite."""


def report(evaluator: Evaluator, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Score dense, the uniform curve and the best genome on the report text; draw the figures.

    Returns ``sparsity``, ``perplexity``, ``unseen``, ``overfitting``, ``gap_closed``, ``curve``,
    ``allocations``, ``genes``, ``by_matrix``, ``protocol`` and ``figures`` for ``result.json``; with
    reconstruction also ``gap_closed_reconstructed``.
    """
    target = evaluator.settings.sparsity
    allocations = evaluator.settings.allocations
    genomes = {name: genome for name, (genome, _) in outcome.references.items()}
    searched, evolved_searched = _on_search_text(evaluator, outcome)
    reported = {name: evaluator.perplexity(genome, evaluator.report.tokens) for name, genome in genomes.items()}
    evolved = evaluator.perplexity(outcome.best, evaluator.report.tokens)
    zeros = evaluator.masks.zeros()  # of the model as it stands now: evolved
    sparsity = {
        "prunable": zeros / evaluator.masks.total,
        "model": zeros / evaluator.model_size,
    }
    perplexity = {
        "search": _three(searched, target, evolved_searched),
        "report": _three(reported, target, evolved),
    }
    if evaluator.held_out:
        perplexity["held_out"] = _held_out(evaluator, outcome, evaluator.held_out.tokens)
    uniform = [name for name in genomes if name not in allocations]
    sparsities = [genomes[name][0] for name in uniform]
    curve = {
        "sparsity": sparsities,
        "search": [finite(searched[name]) for name in uniform],
        "report": [finite(reported[name]) for name in uniform],
    }
    by_matrix = evaluator.masks.sparsities()
    captions = _draw_sparsities(evaluator, outcome, uniform, by_matrix, folder)
    if evaluator.settings.reconstruct != "none":
        perplexity |= _reconstructed(evaluator, outcome.best)
    rebuilt = perplexity.get("report_reconstructed", {})
    captions["cliff"] = figures.draw_cliff(
        [(genomes[name][0], reported[name]) for name in uniform],
        (target, reported[_uniform_at(target)]),
        (sparsity["prunable"], evolved),
        folder,
        allocations={name: reported[name] for name in allocations},
        reconstructed={name: _infinite(value) for name, value in rebuilt.items()},
    )
    comparable = not outcome.front and abs(sparsity["prunable"] - target) <= TOLERANCE
    shares = {"gap_closed": perplexity["report"]}
    if rebuilt:
        shares["gap_closed_reconstructed"] = {"dense": perplexity["report"]["dense"]} | rebuilt
    return {
        "sparsity": sparsity,
        "perplexity": perplexity,
        "unseen": perplexity["report"]["evolved"],
        "overfitting": {
            text: overfitting(perplexity["search"], perplexity[text])
            for text in ("held_out", "report")
            if text in perplexity
        },
        **{name: gap_closed(**three) if comparable else None for name, three in shares.items()},
        "curve": curve,
        "allocations": {
            name: {"genome": genomes[name], "search": finite(searched[name]), "report": finite(reported[name])}
            for name in allocations
        },
        "genes": evaluator.genes.names,
        "by_matrix": by_matrix,
        "protocol": protocol.of_run(evaluator),
        "figures": captions,
    }


def _draw_sparsities(
    evaluator: Evaluator, outcome: Outcome, uniform: Sequence[str], by_matrix: Mapping[str, float], folder: Path
) -> dict[str, str]:
    """Draw the sparsities found, and the front beside the references named ``uniform``; return the captions."""
    settings = evaluator.settings
    captions = {
        "sparsity_by_layer": figures.draw_allocation(_by_block(evaluator, by_matrix), settings.sparsity, folder)
    }
    if settings.genes != "block":
        captions["sparsity_by_matrix"] = figures.draw_matrices(evaluator.matrices, by_matrix, folder)
    if outcome.front:
        captions["front"] = figures.draw_front(
            [values for _, values in outcome.front],
            [outcome.references[name][1].values for name in uniform],
            settings.objective_label,
            folder,
        )
    return captions


def _by_block(evaluator: Evaluator, by_matrix: Mapping[str, float]) -> list[float]:
    """The sparsity of each block, of all its prunable weights."""
    removed: dict[int, float] = {}
    sizes: dict[int, int] = {}
    for matrix in evaluator.matrices:
        removed[matrix.block] = removed.get(matrix.block, 0.0) + by_matrix[matrix.name] * matrix.size
        sizes[matrix.block] = sizes.get(matrix.block, 0) + matrix.size
    return [removed[block] / sizes[block] for block in sizes]


def _on_search_text(evaluator: Evaluator, outcome: Outcome) -> tuple[dict[str, float], float]:
    """The perplexities on the search text of the references by name, and of the best genome."""
    if evaluator.settings.objective == "perplexity":  # then they are the fitness
        searched = {name: evaluation.values[0] for name, (_, evaluation) in outcome.references.items()}
        return searched, outcome.best_evaluation.values[0]
    tokens = evaluator.search.tokens
    searched = {name: evaluator.perplexity(genome, tokens) for name, (genome, _) in outcome.references.items()}
    return searched, evaluator.perplexity(outcome.best, tokens)


def _reconstructed(evaluator: Evaluator, best: list[float]) -> dict[str, dict[str, float | None]]:
    """The perplexities of uniform at the target and of ``best`` with their remaining weights updated."""
    texts = {"search_reconstructed": evaluator.search, "report_reconstructed": evaluator.report}
    scores: dict[str, dict[str, float | None]] = {role: {} for role in texts}
    for name, genome in {"uniform": evaluator.genes.uniform(evaluator.settings.sparsity), "evolved": best}.items():
        reconstruct(evaluator, genome)
        for role, windows in texts.items():
            scores[role][name] = finite(evaluator.measure.perplexity(windows.tokens))
    return scores


def _held_out(evaluator: Evaluator, outcome: Outcome, tokens: torch.Tensor) -> Three:
    """The perplexities of dense, uniform at the target and the best on ``tokens`` ``(windows, window)``."""
    target = evaluator.settings.sparsity
    names = {"dense", _uniform_at(target)}
    scores = {name: evaluator.perplexity(outcome.references[name][0], tokens) for name in names}
    return _three(scores, target, evaluator.perplexity(outcome.best, tokens))


def overfitting(searched: Three, unseen: Three) -> float | None:
    """How much of the gain over uniform pruning on the searched text is missing on an ``unseen`` one, in nats a token.

    ``log(evolved / uniform)`` on the unseen text less the same on the searched one. 0: all of the
    gain carries over; as large as the gain itself: none of it does. Each text is compared with
    uniform pruning on itself, so that it does not matter which is the harder to predict. None
    where a perplexity is infinite.
    """
    logs = []
    for scores in (unseen, searched):
        uniform, evolved = scores["uniform"], scores["evolved"]
        if uniform is None or evolved is None:
            return None
        logs.append(math.log(evolved / uniform))
    return logs[0] - logs[1]


def gap_closed(dense: float | None, uniform: float | None, evolved: float | None) -> float | None:
    """The share of the gap in log-perplexity between uniform and dense that evolved closes.

    1 is as good as dense, 0 as bad as uniform; None where there is no finite gap. All but dense are of one sparsity.
    """
    if dense is None or uniform is None or evolved is None or uniform <= dense:
        return None
    return math.log(uniform / evolved) / math.log(uniform / dense)


def _three(scores: dict[str, float], target: float, evolved: float) -> Three:
    uniform = scores[_uniform_at(target)]
    return {"dense": finite(scores["dense"]), "uniform": finite(uniform), "evolved": finite(evolved)}


def _uniform_at(target: float) -> str:
    """What uniform pruning at ``target`` is called among the references."""
    return "dense" if target == 0 else uniform_name(target)


def _infinite(value: float | None) -> float:
    return math.inf if value is None else value
