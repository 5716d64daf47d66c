"""The report of a finished search: scores on unseen texts, their protocol, and figures."""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evoprune import Budget, InputError
from evoprune.plugins import EVOLVED, Choice, Outcome, finite
from evoprune.problems.language_model.budgets import ReportedBudget
from evoprune.problems.language_model.budgets.amounts import file_bytes
from evoprune.problems.language_model.budgets.limits import Limits
from evoprune.problems.language_model.evaluation.answers import accuracy
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.results.figures import draw_cliff
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.result import Text, gap_closed
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.weights.transform import Weights

Perplexities = dict[str, float | None]
"""Perplexities of the references by name, and of the best genome as ``evolved``; None if infinite."""


def report(
    session: Session, outcome: Outcome, folder: Path, limits: Limits, uniform: Sequence[float] | None
) -> dict[str, Any]:
    """Score the references and the best genome on every text; return the problem's keys of ``result.json``.

    ``uniform``: the reference that is reported as uniform.
    """
    texts, transform, best = session.texts, session.transform, outcome.best
    session.fitness.require_memory("the report", texts.report)
    scores = _Scores(session, outcome, uniform)
    perplexity, compared = scores.reported, scores.compared
    result: dict[str, Any] = {"protocol": _protocol(session), "cost": cost(session, best)}
    shown = (f"{each:.1%}" if isinstance(each, float) else str(each) for each in transform.genes.chosen(best))
    result["genes"] = dict(zip(transform.genes.names, shown, strict=True))
    chosen, budget = limits.chosen, limits.budget
    if isinstance(budget, ReportedBudget):
        result["cost"][budget.unit] = dict(budget.cost(transform, best))
        result["protocol"][budget.unit] = budget.description
    if chosen and budget:
        result["asked"] = _goal(session, best, chosen, budget, result)
    if not transform.form:  # which round few weights to zero
        result |= _zeros(session, best)
    if transform.facts.updates:
        perplexity |= reconstructed(session, {name: genome for name, genome in compared.items() if name != "dense"})
    result |= _against_uniform(perplexity)
    if len(transform.transforms) == 1 and transform.find(Weights):
        result |= _sparsities(outcome, folder, result, scores.by_text)
    if texts.second:
        result["second"] = scores.second()
    if texts.report.lines:
        result["accuracy"] = {}
        for name, genome in compared.items():
            FinalModel(session, genome).make_resident()
            result["accuracy"][name] = accuracy(texts.report, texts.tokenizer, session.fitness.measure)
    return result | {"notes": transform.notes(best)}


class _Scores:
    """The perplexities of the references and of the best genome, and a selection that is reported.

    ``by_text``: all perplexities. ``compared``: genomes by the names that are reported: dense, uniform and evolved.
    """

    def __init__(self, session: Session, outcome: Outcome, uniform: Sequence[float] | None) -> None:
        texts = self._texts = session.texts
        genomes = {name: genome for name, (genome, _) in outcome.references.items()} | {EVOLVED: outcome.best}
        same = next((name for name, genome in genomes.items() if genome == uniform), "")
        names = {"dense": "dense", UNIFORM: same, EVOLVED: EVOLVED}
        self._names = {name: reference for name, reference in names.items() if reference in genomes}
        self.compared = {name: genomes[reference] for name, reference in self._names.items()}
        is_fitness = session.settings.objective == "perplexity"
        asked: dict[str, tuple[Windows | None, Collection[str]]] = {
            "search": (texts.search, [] if is_fitness else genomes),
            "report": (texts.report, genomes),
            "held_out": (texts.held_out, self._names.values()),
            **{str(at): (windows, self._names.values()) for at, windows in enumerate(texts.second)},
        }
        self.by_text = perplexities(session, genomes, asked)
        if is_fitness:
            self.by_text["search"] = search_perplexities(outcome)

    @property
    def reported(self) -> dict[str, Perplexities]:
        """The perplexities of :attr:`compared` on the texts of the run."""
        roles = ("search", "report", *(["held_out"] if self._texts.held_out else []))
        return {role: self._of_names(role) for role in roles}

    def second(self) -> list[dict[str, Any]]:
        """Return the bits per byte of :attr:`compared` on the other texts."""
        rows = []
        for at, windows in enumerate(self._texts.second):
            row = windows.protocol_with_bytes(self._texts.tokenizer)
            bits = Text.model_validate(row).bits_per_byte
            found = self._of_names(str(at))
            rows.append({"text": row, "bits_per_byte": {name: bits(value) for name, value in found.items()}})
        return rows

    def _of_names(self, role: str) -> Perplexities:
        return {name: self.by_text[role][reference] for name, reference in self._names.items()}


def _protocol(session: Session) -> dict[str, Any]:
    texts = session.texts
    return session.protocol() | {
        "objective": session.settings.objective,
        "search_text": texts.search.protocol(),
        "held_out_text": texts.held_out.protocol() if texts.held_out else None,
        "report_text": texts.report.protocol_with_bytes(texts.tokenizer),
        "source_bytes": bytes_of(weight_files(session.settings)) or None,
    }


def _zeros(session: Session, best: Sequence[float]) -> dict[str, Any]:
    """Return ``sparsity``, and ``by_matrix`` the shares of zeros, of ``best``, which stays resident."""
    resident = session.resident
    session.transform.apply(session.transform.dense)
    sizes = {matrix.name: matrix.size for matrix in resident.all_matrices}
    session.transform.apply(best)
    left = resident.nonzero_weights
    removed = resident.prunable_weights - sum(left.values())
    wholes = {"prunable": resident.prunable_weights, "model": resident.parameters}
    return {
        "sparsity": {name: removed / whole for name, whole in wholes.items()},
        "by_matrix": {name: 1 - left.get(name, 0) / size for name, size in sizes.items()},
    }


def _against_uniform(perplexity: Mapping[str, Perplexities]) -> dict[str, Any]:
    """Return ``perplexity``, and how far the evolved genome is ahead of uniform on each text."""
    unseen = [role for role in ("held_out", "report") if UNIFORM in perplexity.get(role, {})]
    result: dict[str, Any] = {
        "perplexity": perplexity,
        "unseen": perplexity["report"][EVOLVED],
        "overfitting": {role: overfitting(perplexity["search"], perplexity[role]) for role in unseen},
    }
    if UNIFORM in perplexity["report"]:
        result["gap_closed"] = gap_closed(**perplexity["report"])
        result["gap_closed_search"] = gap_closed(**perplexity["search"])
    if UNIFORM in (rebuilt := perplexity.get("report_reconstructed", {})):
        result["gap_closed_reconstructed"] = gap_closed(perplexity["report"]["dense"], **rebuilt)
    return result


def reconstructed(session: Session, genomes: Mapping[str, Sequence[float]]) -> dict[str, Perplexities]:
    """Return the perplexities of ``genomes`` with updated weights on search and report text, by text and name."""
    texts = {"search_reconstructed": session.texts.search, "report_reconstructed": session.texts.report}
    scores: dict[str, Perplexities] = {role: {} for role in texts}
    for name, genome in genomes.items():
        FinalModel(session, genome).make_resident()
        for role, windows in texts.items():
            scores[role][name] = finite(session.fitness.score_model(windows).value)
    return scores


def _goal(
    session: Session, best: list[float], chosen: Choice, budget: Budget, result: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the :class:`.result.Goal` of the run."""
    parameters = dict(chosen.parameters)
    assert budget.limit is not None  # see baselines.Limits
    if (removed := parameters.get("removed")) is not None:
        dense, got = budget.spent(session.transform.dense), budget.spent(best)
        share = float(removed) * (dense - got) / ((dense - budget.limit) or 1.0)
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
