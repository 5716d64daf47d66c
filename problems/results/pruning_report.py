"""The report of a finished search: scores on text that it never saw, their protocol, and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune import Outcome
from problems.evaluation.session import Session
from problems.language_model.settings import TOLERANCE, PruningSettings, uniform_name
from problems.results import protocol
from problems.results import pruning_figures as figures
from problems.results.continuations import written
from problems.results.report import Perplexities, genomes_of, judged, on_search_text, perplexities, reconstructed
from problems.results.report import sparsity as sparsity_of
from problems.results.verdict import gap_closed
from problems.transforms.weights.transform import Weights


def report(session: Session, cut: Weights, settings: PruningSettings, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Score dense, the uniform curve and the best genome on the report text; draw the figures.

    Returns ``sparsity``, ``perplexity``, ``unseen``, ``overfitting``, ``gap_closed``, ``curve``,
    ``allocations``, ``written``, ``genes``, ``by_matrix``, ``protocol`` and ``figures`` for ``result.json``; with
    reconstruction also ``gap_closed_reconstructed``.
    """
    target, allocations, texts = settings.sparsity, settings.allocations, session.texts
    genomes = genomes_of(outcome)
    names = {"dense": "dense", "uniform": "dense" if target == 0 else uniform_name(target), "evolved": "evolved"}
    searched, reported = on_search_text(session, outcome), perplexities(session, genomes, texts.report.tokens)
    sparsity, by_matrix = sparsity_of(session), cut.masks.sparsities()  # of the evolved model, which is resident now
    compared = {name: genomes[reference] for name, reference in names.items()}
    perplexity = {
        role: {name: scores[reference] for name, reference in names.items()}
        for role, scores in (("search", searched), ("report", reported))
    }
    if texts.held_out:
        perplexity["held_out"] = perplexities(session, compared, texts.held_out.tokens)
    uniform = [name for name in outcome.references if name not in allocations]
    captions = _draw_sparsities(cut, settings, outcome, uniform, by_matrix, folder)
    if cut.updates:
        perplexity |= reconstructed(session, {name: compared[name] for name in ("uniform", "evolved")})
    rebuilt = perplexity.get("report_reconstructed", {})
    drawn = _drawable(reported)
    captions["cliff"] = figures.draw_cliff(
        [(genomes[name][0], drawn[name]) for name in uniform],
        (target, drawn[names["uniform"]]),
        (sparsity["prunable"], drawn["evolved"]),
        folder,
        allocations={name: drawn[name] for name in allocations},
        reconstructed=_drawable(rebuilt),
        about=outcome.title,
    )
    comparable = not outcome.front and abs(sparsity["prunable"] - target) <= TOLERANCE
    found = {"sparsity": sparsity, **judged(perplexity, comparable)}
    if rebuilt:
        three = {"dense": perplexity["report"]["dense"]} | rebuilt
        found["gap_closed_reconstructed"] = gap_closed(**three) if comparable else None
    return {
        **found,
        "curve": {
            "sparsity": [genomes[name][0] for name in uniform],
            "search": [searched[name] for name in uniform],
            "report": [reported[name] for name in uniform],
        },
        "allocations": {
            name: {"genome": genomes[name], "search": searched[name], "report": reported[name]} for name in allocations
        },
        "written": written(session, compared),
        "genes": cut.genes.names,
        "by_matrix": by_matrix,
        "protocol": protocol.of_run(session),
        "figures": captions,
    }


def _draw_sparsities(
    cut: Weights,
    settings: PruningSettings,
    outcome: Outcome,
    uniform: Sequence[str],
    by_matrix: Mapping[str, float],
    folder: Path,
) -> dict[str, str]:
    """Draw the sparsities found, and the front beside the references named ``uniform``; return the captions."""
    captions = {
        "sparsity_by_layer": figures.draw_allocation(
            _by_block(cut, by_matrix), settings.sparsity, folder, outcome.title
        )
    }
    if settings.genes != "block":
        captions["sparsity_by_matrix"] = figures.draw_matrices(cut.matrices, by_matrix, folder, outcome.title)
    if outcome.front:
        captions["front"] = figures.draw_front(
            [values for _, values in outcome.front],
            [outcome.references[name][1].values for name in uniform],
            settings.objective_label,
            folder,
            outcome.title,
        )
    return captions


def _by_block(cut: Weights, by_matrix: Mapping[str, float]) -> list[float]:
    """The sparsity of each block, of all its prunable weights."""
    removed: dict[int, float] = {}
    sizes: dict[int, int] = {}
    for matrix in cut.matrices:
        removed[matrix.block] = removed.get(matrix.block, 0.0) + by_matrix[matrix.name] * matrix.size
        sizes[matrix.block] = sizes.get(matrix.block, 0) + matrix.size
    return [removed[block] / sizes[block] for block in sizes]


def _drawable(perplexities: Perplexities) -> dict[str, float]:
    """``perplexities`` with infinity in place of None."""
    return {name: math.inf if value is None else value for name, value in perplexities.items()}
