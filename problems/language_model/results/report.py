"""The report of a finished search: scores on unseen texts, their protocol, and figures."""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evoprune import Budget, InputError
from evoprune.files.json_files import finite
from evoprune.interfaces.parts import Outcome
from evoprune.problems.language_model.budgets import ReportedBudget
from evoprune.problems.language_model.budgets.amounts import file_bytes
from evoprune.problems.language_model.evaluation.answers import accuracy
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.results.figures import draw_cliff
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.result import EVOLVED, Text, gap_closed
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.weights.transform import Weights

Perplexities = dict[str, float | None]
"""Perplexities of the references by name, and of the best genome as ``evolved``; None if infinite."""


def report(
    session: Session, outcome: Outcome, folder: Path, budgets: Sequence[Budget], uniform: Sequence[float] | None
) -> dict[str, Any]:
    """Score the references and the best genome on every text; return the problem's keys of ``result.json``.

    ``budgets``: of the limit, or of the objectives. ``uniform``: the reference that is reported as uniform.
    """
    texts, transform = session.texts, session.transform
    genomes = {name: genome for name, (genome, _) in outcome.references.items()} | {EVOLVED: outcome.best}
    session.fitness.require_memory("the report", texts.report)
    same = next((name for name, genome in genomes.items() if genome == uniform), "")
    models = {"dense": "dense", UNIFORM: same, EVOLVED: EVOLVED}
    names = {name: reference for name, reference in models.items() if reference in genomes}
    compared = {name: genomes[reference] for name, reference in names.items()}
    is_fitness = session.settings.objective == "perplexity"
    asked_of: dict[str, tuple[Windows | None, Collection[str]]] = {
        "search": (texts.search, [] if is_fitness else genomes),
        "report": (texts.report, genomes),
        "held_out": (texts.held_out, names.values()),
        **{str(at): (windows, names.values()) for at, windows in enumerate(texts.second)},
    }
    scores = perplexities(session, genomes, asked_of)
    if is_fitness:
        scores["search"] = search_perplexities(outcome)
    perplexity = {
        role: {name: scores[role][reference] for name, reference in names.items()}
        for role in ("search", "report", *(["held_out"] if texts.held_out else []))
    }
    stated = session.protocol() | {
        "objective": session.settings.objective,
        "search_text": texts.search.protocol(),
        "held_out_text": texts.held_out.protocol() if texts.held_out else None,
        "report_text": texts.report.protocol_with_bytes(texts.tokenizer),
        "source_bytes": bytes_of(weight_files(session.settings)) or None,
    }
    result: dict[str, Any] = {"protocol": stated, "cost": cost(session, outcome.best)}
    shown = (f"{each:.1%}" if isinstance(each, float) else str(each) for each in transform.genes.chosen(outcome.best))
    result["genes"] = dict(zip(transform.genes.names, shown, strict=True))
    for budget in budgets:
        if isinstance(budget, ReportedBudget):
            result["cost"][budget.unit] = dict(budget.cost(transform, outcome.best))
            stated[budget.unit] = budget.description
    if reached := goal(session, outcome.best, budgets, result):
        result["asked"] = reached
    if not transform.has_types:  # which round few weights to zero
        transform.apply(transform.dense)
        sizes = {matrix.name: matrix.size for matrix in session.resident.all_matrices}
        transform.apply(outcome.best)
        left = session.resident.nonzero_weights
        removed = session.resident.prunable_weights - sum(left.values())
        wholes = {"prunable": session.resident.prunable_weights, "model": session.resident.parameters}
        result["sparsity"] = {name: removed / whole for name, whole in wholes.items()}
        result["by_matrix"] = {name: 1 - left.get(name, 0) / size for name, size in sizes.items()}
    if transform.updates:
        perplexity |= reconstructed(session, {name: genome for name, genome in compared.items() if name != "dense"})
    against_uniform = [role for role in ("held_out", "report") if UNIFORM in perplexity.get(role, {})]
    result |= {
        "perplexity": perplexity,
        "unseen": perplexity["report"][EVOLVED],
        "overfitting": {role: overfitting(perplexity["search"], perplexity[role]) for role in against_uniform},
    }
    if UNIFORM in perplexity["report"]:
        result["gap_closed"] = gap_closed(**perplexity["report"])
    if UNIFORM in (rebuilt := perplexity.get("report_reconstructed", {})):
        result["gap_closed_reconstructed"] = gap_closed(perplexity["report"]["dense"], **rebuilt)
    if len(transform.transforms) == 1 and transform.find(Weights):
        result |= _sparsities(outcome, folder, result, scores)
    for at, windows in enumerate(texts.second):
        row = windows.protocol_with_bytes(texts.tokenizer)
        second = Text.model_validate(row)
        bits = {name: second.bits_per_byte(scores[str(at)][reference]) for name, reference in names.items()}
        result.setdefault("second", []).append({"text": row, "bits_per_byte": bits})
    if texts.report.lines:
        result["accuracy"] = {}
        for name, genome in compared.items():
            FinalModel(session, genome).make_resident()
            result["accuracy"][name] = accuracy(texts.report, texts.tokenizer, session.fitness.measure)
    return result | {"told": transform.notes(outcome.best)}


def reconstructed(session: Session, genomes: Mapping[str, Sequence[float]]) -> dict[str, Perplexities]:
    """Return the perplexities of ``genomes`` with updated weights on search and report text, by text and name."""
    texts = {"search_reconstructed": session.texts.search, "report_reconstructed": session.texts.report}
    scores: dict[str, Perplexities] = {role: {} for role in texts}
    for name, genome in genomes.items():
        FinalModel(session, genome).make_resident()
        for role, windows in texts.items():
            scores[role][name] = finite(session.fitness.score_model(windows).value)
    return scores


def goal(
    session: Session, best: list[float], budgets: Sequence[Budget], result: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the :class:`.result.Goal` of the run; None without a budget."""
    chosen = getattr(session.settings, "budget", None)
    if chosen is None or not budgets:
        return None
    (budget,), parameters = budgets, dict(chosen.parameters)
    assert budget.limit is not None  # of a chosen budget
    if removed := parameters.get("removed"):
        dense, got = budget.spent(session.transform.dense), budget.spent(best)
        share = float(removed) * (dense - got) / (dense - budget.limit)
        return {"unit": chosen.use, "wanted": float(removed), "got": share, "share": True}
    if speedup := parameters.get("speedup"):
        times = result["cost"][budget.unit]
        return {"unit": "speedup", "wanted": float(speedup), "got": times["dense"] / times["evolved"]}
    amount: dict[str, Any] = {"unit": budget.unit, "wanted": budget.limit, "got": budget.spent(best)}
    return amount | ({"whole": budget.spent(session.transform.dense)} if budget.unit == "tokens" else {})


def cost(session: Session, best: list[float]) -> dict[str, dict[str, float]]:
    """Return the stored amounts of the dense model and that of ``best``, which stays resident, by unit."""
    result: dict[str, dict[str, float]] = {}
    resident, transform, budget = session.resident, session.transform, None
    transform.apply(best)
    with suppress(InputError):  # of a transform that leaves zeros, which take room
        budget = file_bytes(transform)
    left = sum(parameter.numel() for parameter in resident.model.parameters())
    for name, genome, parameters in (("dense", transform.dense, resident.parameters), (EVOLVED, best, left)):
        stored = round(budget.spent(genome)) if budget else parameters * resident.model.dtype.itemsize
        amounts = {"parameters": parameters, "bytes": stored, "bits_per_weight": 8 * stored / parameters}
        for unit, amount in amounts.items():
            result.setdefault(unit, {})[name] = amount
    return result


def search_perplexities(outcome: Outcome) -> Perplexities:
    """Return the perplexities on the search text, if they are the fitness."""
    scored = {name: evaluation for name, (_, evaluation) in outcome.references.items()}
    return {name: finite(each.values[0]) for name, each in (scored | {EVOLVED: outcome.best_evaluation}).items()}


def perplexities(
    session: Session, genomes: Mapping[str, Sequence[float]],
    texts: Mapping[str, tuple[Windows | None, Collection[str]]],
) -> dict[str, Perplexities]:  # fmt: skip
    """Return the perplexity of each genome by text and name; ``texts``: windows, and the names of their genomes."""
    result: dict[str, Perplexities] = {name: {} for name in texts}
    for name, genome in genomes.items():
        wanted = {text: windows for text, (windows, names) in texts.items() if windows and name in names}
        for text, score in zip(wanted, session.fitness.scores(genome, [*wanted.values()]), strict=True):
            result[text][name] = finite(score.perplexity)
    return result


def overfitting(searched: Perplexities, unseen: Perplexities) -> float | None:
    """Return the part of the gain over uniform, in nats a token, that an ``unseen`` text lacks."""
    logs = []
    for scores in (unseen, searched):
        uniform, evolved = scores[UNIFORM], scores[EVOLVED]
        if uniform is None or evolved is None:
            return None
        logs.append(math.log(evolved / uniform))
    return logs[0] - logs[1]


def _sparsities(
    outcome: Outcome, folder: Path, result: Mapping[str, Any], scores: Mapping[str, Perplexities]
) -> dict[str, Any]:
    """Return ``curve`` and ``figures`` of a search of sparsities. ``result``: the report so far."""
    evolved, reported = result["sparsity"]["prunable"], _drawable(scores["report"])
    curve = {name: of.measures["sparsity"] for name, (_, of) in outcome.references.items() if of.measures}
    target = result.get("asked", {}).get("wanted", evolved)
    places, perplexity = {UNIFORM: target, EVOLVED: evolved}, result["perplexity"]
    marks = {name: (target, value) for name, value in _drawable(perplexity["report"]).items() if name == UNIFORM}
    for name, value in _drawable(perplexity.get("report_reconstructed", {})).items():
        marks[f"{name}, reconstructed"] = places[name], value
    marks[EVOLVED] = evolved, reported[EVOLVED]
    texts = {text: scores[text] for text in ("search", "report")}
    return {
        "curve": {"sparsity": [*curve.values()]} | {text: [of[name] for name in curve] for text, of in texts.items()},
        "figures": {
            "cliff": draw_cliff([(at, reported[name]) for name, at in curve.items()], marks, folder, outcome.title)
        },
    }


def _drawable(perplexities: Perplexities) -> dict[str, float]:
    return {name: math.inf if value is None else value for name, value in perplexities.items()}
