"""Carries out an ablation: a run for each variant and seed, in a folder that can be gone on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evoprune.ablation import record
from evoprune.ablation.record import Campaign
from evoprune.backends.evaluation import ProblemRef
from evoprune.backends.execution import Execution
from evoprune.errors import InputError
from evoprune.experiment import config
from evoprune.experiment.resolve import Resolved, resolve_file
from evoprune.experiment.spec import NO_END
from evoprune.problem import Evaluation
from evoprune.records import recorded, run_folder
from evoprune.records.history import HISTORY, Line
from evoprune.records.recorded import Key
from evoprune.search.resume import resume
from evoprune.search.run import run
from evoprune.search.toolbox import reference

Memo = dict[Key, Evaluation]


@dataclass(frozen=True)
class Curve:
    """The best fitness so far of one run against the work done: ``work`` rises, ``best`` is what that much gave."""

    work: list[float]
    best: list[float]

    def at(self, budget: float) -> float:
        """The best fitness that at most ``budget`` of work gave; not a number where it gave none."""
        within = [best for work, best in zip(self.work, self.best, strict=True) if work <= budget]
        return within[-1] if within else float("nan")


@dataclass(frozen=True)
class Finished:
    """One run of an ablation."""

    variant: str
    seed: int
    curve: Curve
    spent: float
    """The work it did: the budget, and what its last generation took beyond it."""
    unseen: float | None
    """The result's score on data that the search never saw; None where the problem gives none, or no finite one."""


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
    with record.held(folder, campaign):
        for variant, seed, place, resolved in plans:
            print(f"{variant.name}, seed {seed}: {place}", file=sys.stderr)
            memo = memos.setdefault(reference(resolved), {})
            _run_to_its_end(resolved, place, how, memo)
            weights = resolved.problem.weights_of(resolved.settings)
            memo |= recorded.read(place, weights).candidates
            yield finished(variant.name, seed, place, weights[0], campaign)


def finished(variant: str, seed: int, place: Path, weight: float, campaign: Campaign) -> Finished:
    """What the finished run in ``place`` gave. ``weight``: negative if its first objective is minimised.

    Raises :class:`InputError` for what holds no score, or none that the budget bought.
    """
    result = run_folder.read_json(place / "result.json")
    before, spent, unseen = (recorded.number(result.get(key)) for key in ("preparation", "work", "unseen"))
    found = curve(recorded.lines(place / HISTORY), weight, before or 0.0)
    if not found.work:
        raise InputError("holds no candidate that was scored on all the data", str(place / HISTORY))
    if found.work[0] > campaign.budget:
        raise InputError(
            f"{campaign.budget:,.0f} {campaign.unit} buy no score on all the data: the first came after "
            f"{found.work[0]:,.0f}; give a larger --budget, and another --name",
            str(place),
        )
    return Finished(variant, seed, found, spent or found.work[-1], unseen)


def curve(lines: Iterable[Line], weight: float, before: float = 0.0) -> Curve:
    """The curve of a run with these history ``lines``; ``weight`` as in :func:`finished`.

    ``before``: the work that was done before the search.
    """
    found = list(improvements(lines, weight))
    return Curve([before + work for work, _ in found], [line["fitness"][0] for _, line in found])


def improvements(lines: Iterable[Line], weight: float) -> Iterator[tuple[float, Line]]:
    """Each candidate scored on all the data that is better than all before it, and the work that was done by then.

    ``lines`` are a run's history; ``weight`` as in :func:`finished`.
    """
    spent, best = 0.0, None
    for line in lines:
        if "candidate" not in line or line["memo"]:
            continue
        spent += line["work"]
        value = line["fitness"][0]
        if value is None or line.get("fidelity", 1.0) < 1:
            continue
        if best is None or weight * value > weight * best:
            best = value
            yield spent, line


def _run_to_its_end(resolved: Resolved, place: Path, how: Execution, memo: Memo) -> None:
    if (place / "result.json").exists():
        return
    if (place / "environment.json").exists():
        resume(place, (), how)
        return
    if place.exists():  # it ended before it wrote anything of worth
        run_folder.discard(place)
    run(resolved, place, how, memo)


def _refuse_other(resolved: Resolved, place: Path) -> None:
    """Raise :class:`InputError` if the run in ``place``, finished or not, is of another experiment."""
    path = place / "config.yaml"
    if path.exists() and config.read(path) != json.loads(json.dumps(resolved.config())):
        raise InputError("holds a run of another experiment; give the ablation another --name", str(place))
