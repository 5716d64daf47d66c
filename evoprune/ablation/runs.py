"""The runs of an ablation: carried out one after the other, or read from their folders."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evoprune.ablation.campaign import Campaign, held
from evoprune.backends.evaluation import ProblemRef
from evoprune.backends.execution import Execution
from evoprune.errors import InputError
from evoprune.experiment.resolve import resolve_file
from evoprune.experiment.spec import NO_END
from evoprune.interfaces.problem import Evaluation
from evoprune.interfaces.result import Result
from evoprune.records import recorded
from evoprune.records.history import Line, may_win
from evoprune.records.recorded import Key
from evoprune.records.run_folder import HISTORY, MEASURED
from evoprune.search.run import refuse_other, run_to_its_end
from evoprune.search.toolbox import problem_ref

Memo = dict[Key, Evaluation]


@dataclass(frozen=True)
class Curve:
    """The best fitness so far against the work done: ``best[i]`` was reached after ``work[i]``, which rises."""

    work: list[float]
    best: list[float]

    def at(self, budget: float) -> float:
        """The best fitness reached within ``budget`` of work; NaN where there was none."""
        within = [best for work, best in zip(self.work, self.best, strict=True) if work <= budget]
        return within[-1] if within else float("nan")


@dataclass(frozen=True)
class Finished:
    """One run of an ablation."""

    variant: str
    seed: int
    curve: Curve
    spent: float  # its work: the budget, plus the last generation's work beyond it
    unseen: float | None  # finite score on data that the search never saw, if the problem gives one


def carry_out(campaign: Campaign, folder: Path, how: Execution) -> Iterator[Finished]:
    """Run every variant on every seed to the budget, except what ``folder`` holds; runs on one problem share scores."""
    stop = [f"budget={campaign.budget}", f"generations={NO_END}"]
    plans = []
    for variant, seed, place in campaign.places():
        resolved = resolve_file(campaign.file, [*campaign.settings, *variant.settings, *stop, f"seed={seed}"])
        refuse_other(resolved, folder / place, "give the ablation another --name")
        plans.append((variant, seed, folder / place, resolved))
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


def finished(variant: str, seed: int, place: Path, weight: float, campaign: Campaign) -> Finished:
    """Read the finished run in ``place``. ``weight``: negative if its first objective is minimised."""
    result = recorded.read_result(place, Result)
    found = curve(recorded.lines(place / HISTORY), weight, result.setup_cost)
    if not found.work:
        raise InputError("holds no candidate that was scored on all the data", str(place / HISTORY))
    if found.work[0] > campaign.budget:
        raise InputError(
            f"{campaign.budget:,.0f} {campaign.unit} are too few for a score on all the data: the first came after "
            f"{found.work[0]:,.0f}; give a larger --budget, and another --name",
            str(place),
        )
    return Finished(variant, seed, found, result.work or found.work[-1], result.unseen)


def curve(lines: Iterable[Line], weight: float, before: float = 0.0) -> Curve:
    """The curve of a run with these history ``lines``, with ``before`` work done before the search."""
    found = list(improvements(lines, weight))
    return Curve([before + work for work, _ in found], [line["fitness"][0] for _, line in found])


def improvements(lines: Iterable[Line], weight: float) -> Iterator[tuple[float, Line]]:
    """Each candidate that could win and is better than all before it, and the work that was done by then."""
    spent, best = 0.0, None
    for line in lines:
        if "candidate" not in line:
            continue
        if not line["memo"]:  # a probe that was scored before may be a candidate now
            spent += line["work"]
        value = line["fitness"][0]
        if value is None or not may_win(line):
            continue
        if best is None or weight * value > weight * best:
            best = value
            yield spent, line
