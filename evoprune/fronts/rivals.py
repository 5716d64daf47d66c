"""Exports what the results of a front are compared with; what is there already is not made again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.backends import evaluation
from evoprune.errors import Stopped
from evoprune.experiment.plugin_parameters import check_parameters
from evoprune.exporting import export
from evoprune.fronts.campaign import Plan, export_of
from evoprune.parts import Exported, Outcome, Rival
from evoprune.phase import note


def add_rivals(plans: Sequence[Plan], front: Path, options: Mapping[str, Any]) -> None:
    """Export the rivals of each run of ``plans`` into folders of ``front``.

    One that fails its check is told, and the others are made. ``options`` and what is raised:
    :func:`evoprune.fronts.campaign.carry_out`.
    """
    for number, point in enumerate(plans):
        evaluation.this_worker.forget()  # there may be no room for two
        run = Run.open(point.place)
        problem: Any = run.problem
        for rival in problem.rivals(first=number == 0):
            family = rival.family if rival.name else f"{point.out.parent.name}, {rival.family}"
            out, facts = export_of(type(problem), front / family, rival.name or point.place.name)
            if facts.exists():
                continue
            try:
                note("\n".join([f"{out}:", *_export(rival, run, out, options).summary]))
            except Stopped as error:
                note(str(error))


def _export(rival: Rival, run: Run, out: Path, options: Mapping[str, Any]) -> Exported:
    """Export ``rival`` as if a run had found it."""
    problem, genome = rival.make()
    config = run.resolved.config()
    config["problem"] = {"use": config["problem"]["use"], **problem.settings.model_dump(mode="json")}
    outcome = Outcome(list(genome), problem.evaluate(genome), {})
    with tempfile.TemporaryDirectory() as scratch:
        result = problem.report(outcome, Path(scratch)) | {"seed": config["seed"], "folder": scratch}
        checked = check_parameters(problem.ExportOptions, options, "options")

        def write(place: Path) -> Exported:
            exported: Exported = problem.export(genome, result, place, checked)
            return exported

        return export(out, write, {"best": {"genome": list(genome)}}, config, problem.writes_file(out))
