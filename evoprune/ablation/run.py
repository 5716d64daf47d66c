"""Carries out an ablation: a run for each variant and seed, in a folder that can be continued."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from evoprune.ablation.campaign import Campaign, held
from evoprune.ablation.outcome import Finished, finished
from evoprune.backends.evaluation import ProblemRef
from evoprune.backends.execution import Execution
from evoprune.experiment.resolve import resolve_file
from evoprune.experiment.spec import NO_END
from evoprune.interfaces.problem import Evaluation
from evoprune.records import recorded
from evoprune.records.recorded import Key
from evoprune.records.run_folder import MEASURED
from evoprune.search.run import refuse_other, run_to_its_end
from evoprune.search.toolbox import problem_ref

Memo = dict[Key, Evaluation]


def carry_out(campaign: Campaign, folder: Path, how: Execution) -> Iterator[Finished]:
    """Run every variant on every seed to the budget; what is in ``folder`` already is not run again.

    All variants, and what is there already, are checked before anything runs or is written. Runs
    on the same problem share their scores, unless they have a measured.json; what a score costs is counted in each
    all the same.
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
        refuse_other(resolved, place, "give the ablation another --name")
    memos: dict[ProblemRef, Memo] = {}
    with held(folder, campaign):
        for variant, seed, place, resolved in plans:
            print(f"{variant.name}, seed {seed}: {place}", file=sys.stderr)
            memo = memos.setdefault(problem_ref(resolved), {})
            run_to_its_end(resolved, place, how, memo)
            weights = resolved.problem.weights_of(resolved.settings)
            scores = recorded.read(place, weights).candidates
            if not (place / MEASURED).exists():  # a run that measured has levels of its own
                # others spend no time on it; what failed, for want of memory say, is tried again
                memo |= {key: replace(score, seconds=0.0) for key, score in scores.items() if score.failure is None}
            yield finished(variant.name, seed, place, weights[0], campaign)
