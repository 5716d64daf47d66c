"""The report of a finished search: scores on text that it never saw, their protocol, and figures."""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from evoprune import Budget, InputError
from evoprune.files.json_files import finite
from evoprune.interfaces.parts import Outcome
from evoprune.problems.language_model.budgets import ReportedBudget
from evoprune.problems.language_model.budgets.amounts import LENGTH, file_bytes, of_model
from evoprune.problems.language_model.evaluation.accuracy import accuracy
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.models.blocks import attentions_numbered, max_positions
from evoprune.problems.language_model.models.late import runs_on
from evoprune.problems.language_model.models.token_mask import ids
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.result import EVOLVED, Text, gap_closed
from evoprune.problems.language_model.results.sparsity_report import sparsity_report
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.weights.transform import Weights

Perplexities = dict[str, float | None]
"""Of the references by name, and of the best genome as ``evolved``; None if infinite."""

PROMPTS = 3  # at most: one for each five windows of the report text
_GIVEN, _WRITTEN = 16, 24  # tokens of a prompt, and of its continuation, if windows and model are long enough


def report(
    session: Session, outcome: Outcome, folder: Path, budgets: Sequence[Budget], uniform: Sequence[float] | None
) -> dict[str, Any]:
    """Score the references and the best genome on every text; return what ``result.json`` has beside the engine's keys.

    ``budgets``: of the limit, or of the objectives. ``uniform``: the reference that is reported as uniform, if any.
    """
    genomes, texts, transform = genomes_of(outcome), session.texts, session.transform
    session.fitness.ask("the report", texts.report)
    same = next((name for name, genome in genomes.items() if genome == uniform), None)
    known = {"dense": "dense", UNIFORM: same, EVOLVED: EVOLVED}
    names = {name: reference for name, reference in known.items() if reference in genomes and reference is not None}
    compared = {name: genomes[reference] for name, reference in names.items()}
    is_fitness = session.settings.objective == "perplexity"
    scores = perplexities(
        session,
        genomes,
        {
            "search": (texts.search, [] if is_fitness else genomes),
            "report": (texts.report, genomes),
            "held_out": (texts.held_out, names.values()),
            **{str(at): (windows, names.values()) for at, windows in enumerate(texts.second)},
        },
    )
    if is_fitness:
        scores["search"] = known_perplexities(outcome)
    perplexity = {
        role: {name: scores[role][reference] for name, reference in names.items()}
        for role in ("search", "report", *(["held_out"] if texts.held_out else []))
    }
    stated = session.protocol() | {
        "objective": session.settings.objective,
        "search_text": texts.search.protocol(),
        "held_out_text": texts.held_out.protocol() if texts.held_out else None,
        "report_text": texts.report.measured(texts.tokenizer),
        "source_bytes": bytes_of(weight_files(session.settings)) or None,
    }
    found: dict[str, Any] = {"protocol": stated, "genes": transform.genes.names, "cost": cost(session, outcome.best)}
    for budget in budgets:
        if isinstance(budget, ReportedBudget):
            found["cost"][budget.unit] = dict(budget.cost(transform, outcome.best))
            stated[budget.unit] = budget.of
    transform.apply(outcome.best)
    found["sparsity"] = sparsity(session)
    if goal := asked(session, outcome.best, budgets, found):
        found["asked"] = goal
    pruned = transform.part(Weights) if len(transform.transforms) == 1 else None
    by_matrix = pruned.masks.sparsities() if pruned else {}
    if transform.updates:
        perplexity |= reconstructed(session, {name: genome for name, genome in compared.items() if name != "dense"})
    against_uniform = [role for role in ("held_out", "report") if UNIFORM in perplexity.get(role, {})]
    found |= {
        "perplexity": perplexity,
        "unseen": perplexity["report"][EVOLVED],
        "overfitting": {role: overfitting(perplexity["search"], perplexity[role]) for role in against_uniform},
        "gap_closed": gap_closed(**{"dense": None, UNIFORM: None} | perplexity["report"]),
    }
    if UNIFORM in (rebuilt := perplexity.get("report_reconstructed", {})):
        found["gap_closed_reconstructed"] = gap_closed(perplexity["report"]["dense"], **rebuilt)
    if pruned:
        found |= sparsity_report(pruned, outcome, folder, found, scores["search"], scores["report"], by_matrix)
    for at, windows in enumerate(texts.second):
        row = windows.measured(texts.tokenizer)
        second = Text.model_validate(row)
        bits = {name: second.bits_per_byte(scores[str(at)][reference]) for name, reference in names.items()}
        found.setdefault("second", []).append({"text": row, "bits_per_byte": bits})
    if texts.report.lines:
        found["accuracy"] = accuracies(session, compared)
    shown = {name: compared[name] for name in compared if name != UNIFORM}
    return found | {"told": transform.notes(outcome.best), "written": written(session, shown)}


def genomes_of(outcome: Outcome) -> dict[str, list[float]]:
    """Return the references by name, and the best genome as ``evolved``."""
    return {name: genome for name, (genome, _) in outcome.references.items()} | {"evolved": outcome.best}


def reconstructed(session: Session, genomes: Mapping[str, Sequence[float]]) -> dict[str, Perplexities]:
    """The perplexities of ``genomes`` by name, with their remaining weights updated, on search and report text."""
    texts = {"search_reconstructed": session.texts.search, "report_reconstructed": session.texts.report}
    scores: dict[str, Perplexities] = {role: {} for role in texts}
    for name, genome in genomes.items():
        FinalModel(session, genome).reside()
        for role, windows in texts.items():
            scores[role][name] = finite(session.fitness.perplexity(windows))
    return scores


def accuracies(session: Session, genomes: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The accuracy of ``genomes`` by name, in the form that is exported, on the lines of the report text."""
    found = {}
    for name, genome in genomes.items():
        FinalModel(session, genome).reside()
        found[name] = accuracy(session.texts.report, session.texts.tokenizer, session.fitness.measure)
    return found


def sparsity(session: Session) -> dict[str, float]:
    """The weights of the blocks' matrices that are removed now, as shares of these and of the whole model."""
    resident = session.resident
    removed = resident.removed_weights
    return {"prunable": removed / resident.prunable_weights, "model": removed / resident.parameters}


def asked(
    session: Session, best: list[float], budgets: Sequence[Budget], found: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the goal of the run and the result's value, in the unit of the goal; None for a run without a goal."""
    chosen = getattr(session.settings, "budget", None)
    if chosen is None or not budgets:
        return None
    (budget,), given = budgets, dict(chosen.parameters)
    assert budget.limit is not None  # of a chosen budget
    if removed := given.get("removed"):
        dense, got = budget.spent(session.transform.dense), budget.spent(best)
        share = float(removed) * (dense - got) / (dense - budget.limit)
        return {"unit": chosen.use, "wanted": float(removed), "got": share, "share": True}
    if speedup := given.get("speedup"):
        times = found["cost"][budget.unit]
        return {"unit": "speedup", "wanted": float(speedup), "got": times["dense"] / times["evolved"]}
    return {"unit": budget.unit, "wanted": budget.limit, "got": budget.spent(best)}


def cost(session: Session, best: list[float]) -> dict[str, dict[str, float]]:
    """Amounts that the dense model and that of ``best``, which stays resident, store and compute, by unit."""
    found: dict[str, dict[str, float]] = {}
    for name, genome in {"dense": session.transform.dense, "evolved": best}.items():
        session.transform.apply(genome)
        for unit, amount in _amounts(session, genome).items():
            found.setdefault(unit, {})[name] = amount
    return found


def _amounts(session: Session, genome: Sequence[float]) -> dict[str, float]:
    resident, chosen = session.resident, getattr(session.settings, "budget", None)
    parameters = sum(parameter.numel() for parameter in resident.model.parameters())
    stored = parameters * resident.model.dtype.itemsize
    with suppress(InputError):  # of a transform that leaves zeros, which take room
        stored = round(file_bytes(session.transform).spent(genome))
    amounts = {"parameters": parameters, "bytes": stored, "bits_per_weight": 8 * stored / parameters}
    with suppress(InputError):
        asked = chosen.parameters if chosen and chosen.use == "operations" else {}
        amounts["operations"] = of_model(resident, asked.get("length", LENGTH))
    return amounts


def known_perplexities(outcome: Outcome) -> Perplexities:
    """The perplexities on the search text, where they are the fitness."""
    known = {name: evaluation for name, (_, evaluation) in outcome.references.items()}
    known["evolved"] = outcome.best_evaluation
    return {name: finite(evaluation.values[0]) for name, evaluation in known.items()}


def perplexities(
    session: Session,
    genomes: Mapping[str, Sequence[float]],
    texts: Mapping[str, tuple[Windows | None, Collection[str]]],
) -> dict[str, Perplexities]:
    """By the name of a text, the perplexity on its windows of each of ``genomes`` that it is for, by its name."""
    found: dict[str, Perplexities] = {name: {} for name in texts}
    for name, genome in genomes.items():
        wanted = {text: windows for text, (windows, names) in texts.items() if windows and name in names}
        measured = session.fitness.perplexities(genome, [*wanted.values()])
        for text, perplexity in zip(wanted, measured, strict=True):
            found[text][name] = finite(perplexity)
    return found


def overfitting(searched: Perplexities, unseen: Perplexities) -> float | None:
    """The part of the gain over uniform, log(evolved / uniform) in nats a token, that an ``unseen`` text lacks."""
    logs = []
    for scores in (unseen, searched):
        uniform, evolved = scores["uniform"], scores["evolved"]
        if uniform is None or evolved is None:
            return None
        logs.append(math.log(evolved / uniform))
    return logs[0] - logs[1]


def written(session: Session, genomes: Mapping[str, Sequence[float]]) -> dict[str, dict[str, str]]:
    """Return the likeliest continuations of the report text's first windows, by prompt and by name of the genome."""
    resident, report = session.resident, session.texts.report
    tokens = ids(report.tokens)
    given = tokens[: min(PROMPTS, len(tokens) // 5), : min(_GIVEN, tokens.shape[1])]
    if not len(given):
        return {}
    most = min(
        _WRITTEN, (max_positions(resident.model) or _WRITTEN + _GIVEN) - given.shape[1] + 1
    )  # the last is not read
    prompts = [session.texts.tokenizer.decode(row, skip_special_tokens=True) for row in given]
    found: dict[str, dict[str, str]] = {prompt: {} for prompt in prompts}
    for name, genome in genomes.items():
        FinalModel(session, genome).reside()
        for prompt, row in zip(prompts, given, strict=True):
            found[prompt][name] = _continued(session, prompt, row, most)
    return found


def _continued(session: Session, prompt: str, row: torch.Tensor, most: int) -> str:
    """The continuation of ``prompt``, which is ``row`` in the tokens of the dense model, by the model as it is now."""
    resident, texts = session.resident, session.texts
    if texts.read(texts.report) is not texts.report:
        row = torch.tensor(resident.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    (written,) = greedy(resident.model, row[None], most)
    return str(resident.tokenizer.decode(written, skip_special_tokens=True))


@torch.inference_mode()
def greedy(model: Any, tokens: torch.Tensor, count: int) -> torch.Tensor:
    """Return the ``count`` tokens that ``model`` writes after each row of ``tokens`` ``(rows, length)``, on the CPU."""
    text = read = tokens.to(runs_on(model))
    takes = signature(model.forward).parameters
    named = next((name for name in ("cache", "past_key_values") if name in takes), None)  # as transformers' versions do
    kept: dict[str, Any] = {}
    with attentions_numbered(model):
        for _ in range(count):
            found = model(input_ids=read, use_cache=named is not None, **kept)
            kept = {named: found[named]} if named and found.get(named) is not None else {}
            chosen = found.logits[:, -1].argmax(1, keepdim=True)
            text = torch.cat([text, chosen], dim=1)
            read = chosen if kept else text
    return text[:, tokens.shape[1] :].cpu()
