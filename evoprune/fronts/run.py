"""Carries out a front: a run for each limit, its export, and exports to compare with; none is made twice."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evoprune.ablation.grid import Variant
from evoprune.api import Run
from evoprune.backends import evaluation
from evoprune.backends.execution import Execution
from evoprune.console.phase import note
from evoprune.errors import InputError, Stopped
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.resolve import Resolved
from evoprune.exports.exporting import FACTS, described_in, recover_into
from evoprune.interfaces.export import Exported, Exporting, Rival
from evoprune.interfaces.parts import Outcome
from evoprune.interfaces.result import Best
from evoprune.search.run import refuse_other, run_to_its_end


@dataclass(frozen=True)
class PlannedExport:
    """One point: the experiment, the ``place`` of its run, where its export goes, and the ``facts`` beside that."""

    resolved: Resolved
    place: Path
    out: Path
    facts: Path


def plan(experiments: Mapping[str, Resolved], family: Path, options: Mapping[str, Any]) -> list[PlannedExport]:
    """Return a point for each of ``experiments``, by its name, in the folder ``family``, and check the ``options``."""
    plans = []
    for name, resolved in experiments.items():
        problem, place = resolved.problem, family / "runs" / name
        if not issubclass(problem, Exporting) or not problem.quantities:
            raise InputError(f"the problem {resolved.experiment.problem.use} has no exports that are compared")
        check_parameters(problem.ExportOptions, options, "options")  # before hours of searching
        refuse_other(resolved, place, "give another --family, or another --out")
        plans.append(PlannedExport(resolved, place, *export_of(problem, family, name)))
    return plans


def export_of(problem: type[Exporting], family: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of the export ``name`` of ``problem`` in the folder ``family``, and of the facts about it."""
    suffix = next(iter(problem.file_suffixes()), "")
    out = family / f"{name}{suffix}"
    return out, described_in(out, FACTS, bool(suffix))


def names(variants: Sequence[Variant]) -> list[str]:
    """Return a file name for each of ``variants``: the values that it gives its keys."""
    values = [[setting.partition("=")[2] for setting in variant.settings] for variant in variants]
    found = ["-".join(re.sub(r"[^\w.]+", "_", value) for value in own) for own in values]
    if len(set(found)) < len(found):
        raise InputError("two values would have the same file name; give one of them another --family", "--vary")
    return found


def carry_out(plans: Sequence[PlannedExport], how: Execution, options: Mapping[str, Any]) -> None:
    """Run and export each of ``plans``; an export that cannot be made, or fails its check, is told; others are made."""
    for point in plans:
        run_to_its_end(point.resolved, point.place, how)
        if point.facts.exists():
            continue
        evaluation.this_worker.forget()  # there may be no room for two
        _note_export(point.out, partial(_export_run, point, options))


def _export_run(point: PlannedExport, options: Mapping[str, Any]) -> Exported:
    return Run.open(point.place).export(point.out, **options)


def add_rivals(plans: Sequence[PlannedExport], front: Path, options: Mapping[str, Any]) -> None:
    """Export the rivals of each run of ``plans`` into folders of ``front``; failures are told as in carry_out."""
    for number, point in enumerate(plans):
        problem: Any = point.resolved.problem
        for rival in _rivals(point, first=number == 0):
            family = rival.family if rival.name else f"{point.out.parent.name}, {rival.family}"
            out, facts = export_of(problem, front / family, rival.name or point.place.name)
            if not facts.exists():
                _note_export(out, partial(_export, rival, point.resolved, out, options))
            del rival  # it may hold a problem, and the next one makes another


def _rivals(point: PlannedExport, first: bool) -> Iterator[Rival]:
    """The rivals of the run of ``point``. The problem lives as long as they need it: there may be no room for two."""
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


def _note_export(out: Path, export: Callable[[], Exported]) -> None:
    """Note the summary of an export to ``out``, or why it could not be made; some errors begin with its name."""
    try:
        note("\n".join([f"{out}:", *export().summary]))
    except (InputError, Stopped) as error:
        note(str(error) if str(error).startswith(str(out)) else f"{out}: {error}")
