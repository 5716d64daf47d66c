"""The part of a report on sparsities of weights: the uniform curve, allocations without search, and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune import Outcome
from problems.evaluation.session import Session
from problems.models.blocks import Matrix
from problems.results import sparsity_figures as figures
from problems.results.result import gap_closed
from problems.transforms.weights.transform import Weights

TOLERANCE = 1e-4  # largest distance at which a sparsity counts as the target

Perplexities = Mapping[str, float | None]


@dataclass(frozen=True)
class SparsityTarget:
    """The share of the prunable weights to remove, and the names of the references that are no uniform ones."""

    sparsity: float
    allocations: Sequence[str]


def sparsity_report(
    session: Session, outcome: Outcome, folder: Path, target: SparsityTarget, found: Mapping[str, Any],
    searched: Perplexities, reported: Perplexities, by_matrix: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """Return ``curve``, ``allocations``, ``by_matrix``, ``figures`` and, after updates, ``gap_closed_reconstructed``.

    ``found``: the report so far. ``searched``, ``reported``: perplexities of all references and of ``evolved``.
    ``by_matrix``: sparsities of the evolved model.
    """
    genomes = {name: genome for name, (genome, _) in outcome.references.items()}
    uniform = [name for name in genomes if name not in target.allocations]
    perplexity, evolved = found["perplexity"], found["sparsity"]["prunable"]
    rebuilt = perplexity.get("report_reconstructed", {})
    captions = _draw_sparsities(session, outcome, folder, target.sparsity, uniform, by_matrix)
    drawn = _drawable(reported)
    captions["cliff"] = figures.draw_cliff(
        [(genomes[name][0], drawn[name]) for name in uniform],
        (target.sparsity, _drawable(perplexity["report"])["uniform"]),
        (evolved, drawn["evolved"]),
        folder,
        allocations={name: drawn[name] for name in target.allocations},
        reconstructed=_drawable(rebuilt),
        about=outcome.title,
    )
    scores = {"search": searched, "report": reported}
    added = {
        "curve": {"sparsity": [genomes[name][0] for name in uniform]}
        | {text: [of[name] for name in uniform] for text, of in scores.items()},
        "allocations": {
            name: {"genome": genomes[name]} | {text: of[name] for text, of in scores.items()}
            for name in target.allocations
        },
        "by_matrix": dict(by_matrix),
        "figures": captions,
    }
    if rebuilt:
        comparable = on_target(outcome, evolved, target)
        three = {"dense": perplexity["report"]["dense"]} | rebuilt
        added["gap_closed_reconstructed"] = gap_closed(**three) if comparable else None
    return added


def on_target(outcome: Outcome, sparsity: float, target: SparsityTarget | None) -> bool:
    """True if the evolved model, of ``sparsity``, and the uniform one have one size; so it is without a ``target``."""
    return target is None or (not outcome.front and abs(sparsity - target.sparsity) <= TOLERANCE)


def _draw_sparsities(
    session: Session, outcome: Outcome, folder: Path, target: float, uniform: Sequence[str],
    by_matrix: Mapping[str, float],
) -> dict[str, str]:  # fmt: skip
    """Draw the sparsities found, and the front beside the references named ``uniform``; return the captions."""
    cut, title = session.transform, outcome.title
    assert isinstance(cut, Weights)
    by_block = _by_block(cut.matrices, by_matrix)
    captions = {"sparsity_by_layer": figures.draw_allocation(by_block, target, folder, title)}
    if cut.settings.genes != "block":
        captions["sparsity_by_matrix"] = figures.draw_matrices(cut.matrices, by_matrix, folder, title)
    if outcome.front:
        captions["front"] = figures.draw_front(
            [values for _, values in outcome.front],
            [outcome.references[name][1].values for name in uniform],
            session.settings.objective_label,
            folder,
            title,
        )
    return captions


def _by_block(matrices: Sequence[Matrix], by_matrix: Mapping[str, float]) -> list[float]:
    """The sparsity of each block."""
    removed: dict[int, float] = {}
    sizes: dict[int, int] = {}
    for matrix in matrices:
        removed[matrix.block] = removed.get(matrix.block, 0.0) + by_matrix[matrix.name] * matrix.size
        sizes[matrix.block] = sizes.get(matrix.block, 0) + matrix.size
    return [removed[block] / sizes[block] for block in sizes]


def _drawable(perplexities: Perplexities) -> dict[str, float]:
    return {name: math.inf if value is None else value for name, value in perplexities.items()}
