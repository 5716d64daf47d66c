"""Carries out an ablation: a run for each variant and seed, in a folder that can be continued."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from evoprune.ablation.campaign import Campaign, held
from evoprune.ablation.outcome import Finished, finished
from evoprune.backends.evaluation import ProblemRef
from evoprune.backends.execution import Execution
from evoprune.errors import InputError
from evoprune.experiment import config
from evoprune.experiment.resolve import Resolved, resolve_file
from evoprune.experiment.spec import NO_END
from evoprune.problem import Evaluation
from evoprune.records import recorded, run_folder
from evoprune.records.recorded import Key
from evoprune.search.resume import resume
from evoprune.search.run import run
from evoprune.search.toolbox import problem_ref

Memo = dict[Key, Evaluation]


def carry_out(campaign: Campaign, folder: Path, how: Execution) -> Iterator[Finished]:
    """Run every variant on every seed to the budget; what is in ``folder`` already is not run again.

    All variants, and what is there already, are checked before anything runs or is written. Runs
    on the same problem share their scores; what a score costs is counted in each all the same.
    """
    stop = [f"budget={campaign.budget}", f"generations={NO_END}"]
    plans = [
        (
            variant,
            seed,
            folder / place,
            resolve_file(campaign.file, [*campaign.settings, *variant.settings, *stop, f"seed={seed}"]),
        )
        for variant, seed, place in campaign.places()
    ]
    for _, _, place, resolved in plans:
        _refuse_other(resolved, place)
    memos: dict[ProblemRef, Memo] = {}
    with held(folder, campaign):
        for variant, seed, place, resolved in plans:
            print(f"{variant.name}, seed {seed}: {place}", file=sys.stderr)
            memo = memos.setdefault(problem_ref(resolved), {})
            _run_to_its_end(resolved, place, how, memo)
            weights = resolved.problem.weights_of(resolved.settings)
            scores = recorded.read(place, weights).candidates
            memo |= {key: replace(score, seconds=0.0) for key, score in scores.items()}  # others spend no time on it
            yield finished(variant.name, seed, place, weights[0], campaign)


def _run_to_its_end(resolved: Resolved, place: Path, how: Execution, memo: Memo) -> None:
    if (place / "result.json").exists():
        return
    if (place / "environment.json").exists():
        resume(place, (), how)
        return
    if place.exists():  # it ended before it scored anything
        run_folder.discard(place)
    run(resolved, place, how, memo)


def _refuse_other(resolved: Resolved, place: Path) -> None:
    """Raise :class:`InputError` if the run in ``place``, finished or not, is of another experiment."""
    path = place / "config.yaml"
    if path.exists() and config.read(path) != json.loads(json.dumps(resolved.config())):
        raise InputError("holds a run of another experiment; give the ablation another --name", str(place))
