"""The report of a finished search: scores on text that it never saw, their protocol, and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune import Outcome, finite
from problems.language_model import protocol
from problems.language_model.report import (
    named,
    on_search_text,
    on_text,
    overfitting,
    perplexities,
    reconstructed,
)
from problems.language_model.report import sparsity as counted_sparsity
from problems.language_model.session import Session
from problems.language_model.verdict import gap_closed
from problems.language_model.writing import written
from problems.pruning import figures
from problems.pruning.cuts.weights.transform import Weights
from problems.pruning.settings import TOLERANCE, PruningSettings, uniform_name


def report(session: Session, cut: Weights, settings: PruningSettings, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Score dense, the uniform curve and the best genome on the report text; draw the figures.

    Returns ``sparsity``, ``perplexity``, ``unseen``, ``overfitting``, ``gap_closed``, ``curve``,
    ``allocations``, ``written``, ``genes``, ``by_matrix``, ``protocol`` and ``figures`` for ``result.json``; with
    reconstruction also ``gap_closed_reconstructed``.
    """
    target, allocations = settings.sparsity, settings.allocations
    names = {"dense": "dense", "uniform": _uniform_at(target)}
    genomes = {name: genome for name, (genome, _) in outcome.references.items()}
    searched, evolved_searched = on_search_text(session, outcome)
    report_tokens = session.texts.report.tokens
    reported = perplexities(session, genomes, report_tokens)
    evolved = session.fitness.perplexity(outcome.best, report_tokens)
    sparsity = counted_sparsity(session)  # of the evolved model, which is resident now
    perplexity = {
        "search": named(searched, names, evolved_searched),
        "report": named(reported, names, evolved),
    }
    if session.texts.held_out:
        perplexity["held_out"] = on_text(session, outcome, session.texts.held_out.tokens, names)
    uniform = [name for name in genomes if name not in allocations]
    sparsities = [genomes[name][0] for name in uniform]
    curve = {
        "sparsity": sparsities,
        "search": [finite(searched[name]) for name in uniform],
        "report": [finite(reported[name]) for name in uniform],
    }
    by_matrix = cut.masks.sparsities()
    captions = _draw_sparsities(cut, settings, outcome, uniform, by_matrix, folder)
    if cut.updates:
        perplexity |= reconstructed(session, {"uniform": cut.meaning.uniform(target), "evolved": outcome.best})
    rebuilt = perplexity.get("report_reconstructed", {})
    captions["cliff"] = figures.draw_cliff(
        [(genomes[name][0], reported[name]) for name in uniform],
        (target, reported[_uniform_at(target)]),
        (sparsity["prunable"], evolved),
        folder,
        allocations={name: reported[name] for name in allocations},
        reconstructed={name: _infinite(value) for name, value in rebuilt.items()},
        about=outcome.title,
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
        "written": written(
            session, {name: genomes[reference] for name, reference in names.items()} | {"evolved": outcome.best}
        ),
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


def _uniform_at(target: float) -> str:
    """The name of uniform pruning at ``target`` among the references."""
    return "dense" if target == 0 else uniform_name(target)


def _infinite(value: float | None) -> float:
    return math.inf if value is None else value
