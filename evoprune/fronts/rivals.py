"""Exports what the results of a front are compared with; what is there already is not made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.backends import evaluation
from evoprune.console.phase import note
from evoprune.errors import InputError, Stopped
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.resolve import Resolved
from evoprune.exports.recovering import recover_into
from evoprune.fronts.run import PlannedExport, export_of, tell
from evoprune.interfaces.export import Exported, Rival
from evoprune.interfaces.parts import Outcome
from evoprune.interfaces.result import Best


def add_rivals(plans: Sequence[PlannedExport], front: Path, options: Mapping[str, Any]) -> None:
    """Export the rivals of each run of ``plans`` into folders of ``front``.

    One that cannot be made, or fails its check, is told, and the others are made. ``options``: of each export.
    """
    for number, point in enumerate(plans):
        problem: Any = point.resolved.problem
        for rival in _rivals(point, first=number == 0):
            family = rival.family if rival.name else f"{point.out.parent.name}, {rival.family}"
            out, facts = export_of(problem, front / family, rival.name or point.place.name)
            if not facts.exists():
                try:
                    note("\n".join([f"{out}:", *_export(rival, point.resolved, out, options).summary]))
                except (InputError, Stopped) as error:
                    tell(out, error)
            del rival  # it may hold a problem, and the next one makes another


def _rivals(point: PlannedExport, first: bool) -> Iterator[Rival]:
    """Those of the run of ``point``. The problem lives as long as they need it: there may be no room for two."""
    evaluation.this_worker.forget()
    problem: Any = Run.open(point.place).problem
    rivals: Iterator[Rival] = problem.rivals(first)
    return rivals


def _export(rival: Rival, like: Resolved, out: Path, options: Mapping[str, Any]) -> Exported:
    """Export ``rival`` as if a run of ``like`` had found it."""
    problem, genome, others = rival.make()
    config = like.config()
    config["problem"] = {"use": config["problem"]["use"], **problem.settings.model_dump(mode="json")}
    made_by = {"seed": config["seed"], "best": {"genome": list(genome)}}
    known = {name: (list(own), problem.evaluate(own)) for name, own in others.items()}
    outcome = Outcome(list(genome), problem.evaluate(genome), known)
    checked = check_parameters(problem.ExportOptions, options, "options")

    def write(workplace: Path, place: Path) -> Exported:
        own = problem.report(outcome, workplace)  # an interrupted recovery goes on from there
        best = Best.model_construct(genome=list(genome), fitness=list(outcome.best_evaluation.values))  # maybe infinite
        named = {"best": best, "seed": config["seed"], "folder": workplace, "rival": f"{out.parent.name}/{out.stem}"}
        result = problem.Result.model_validate({**own, **named})
        exported: Exported = problem.export(genome, result, place, checked)
        return exported

    return recover_into(out, write, made_by, config, problem.writes_file(out))
