"""The finals: the best few of a search, and known solutions, are judged once more; the best of them wins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evoprune.errors import InputError
from evoprune.files.json_files import finite
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.parts import Finals, part
from evoprune.interfaces.problem import Evaluation, Problem
from evoprune.search.evaluator import Evaluator

Json = dict[str, Any]

EVOLVED = "evolved"  # the name of what the search found, beside those of known solutions


@dataclass(frozen=True)
class Held:
    """Numbers of finalists (0 for no finals), the cost of judging one, and known solutions: genome to name."""

    number: int
    cost: float
    known: Mapping[tuple[float, ...], str]

    @property
    def most(self) -> int:
        return self.number + len(self.known)

    @property
    def reserve(self) -> float:
        return self.most * self.cost if self.most > 1 else 0.0


def finals_of(problem: Problem) -> Held:
    """The finals of ``problem``, as it is set up."""
    finals = part(problem, Finals)
    if finals is None or not finals.finalists:
        return Held(0, 0.0, {})
    known = {tuple(genome): name for name, genome in finals.contenders.items()}
    return Held(finals.finalists, finals.judging_cost, known)


def check_finals(problem: Problem, budget: float | None) -> None:
    """Raise :class:`InputError` if ``problem`` cannot hold its finals, or not within the run's ``budget``."""
    held = finals_of(problem)
    if held.number and len(problem.weights) > 1:
        raise InputError(f"finals: with {len(problem.weights)} objectives there is no single best to choose")
    if budget is not None and held.reserve and held.reserve >= budget:
        raise InputError(
            f"budget: judging {held.most} finalists costs {held.reserve:,.0f} {problem.work_unit}, so that "
            f"{budget:,.0f} leave nothing for the search; give a larger budget, or fewer or cheaper finalists"
        )


def hold(problem: Problem, best: Individual, evaluator: Evaluator) -> tuple[Individual, Json]:
    """The winner, and the result's keys about the finals; ``best`` and nothing where there are none.

    The finalists are ``best``, then those with the best fitness, then other known solutions. The first of equal ones
    wins, and ``best`` where none could be judged.
    """
    held = finals_of(problem)
    if not held.number:
        return best, {}
    others = (one for one in evaluator.leading if one.genome != best.genome and one.fitness.violation < math.inf)
    ours = [best, *others][: held.number]
    there = {one.genome for one in ours}
    theirs = [genome for genome in held.known if genome not in there and not evaluator.evaluation_of(genome).failure]
    finalists = [*ours, *map(evaluator.known, theirs)]
    if len(finalists) == 1:
        return best, _chosen(best, held)
    names = [*(one.ident or 0 for one in ours), *(held.known[genome] for genome in theirs)]
    judged = evaluator.judge(dict(zip(names, (one.genome for one in finalists), strict=True)), held.cost)
    winner = _winner(finalists, judged, problem.weights[0])
    rows = {
        name if isinstance(name, str) else f"candidate {name}": {
            "fitness": finite(one.fitness.values[0]),
            "judged": finite(evaluation.values[0]),
        }
        for name, one, evaluation in zip(names, finalists, judged, strict=True)
    }
    return winner, _chosen(winner, held) | {"finalists": rows, "finals_changed_the_result": winner is not best}


def _chosen(winner: Individual, held: Held) -> Json:
    return {"chosen": held.known.get(winner.genome, EVOLVED)} if held.known else {}


def _winner(finalists: Sequence[Individual], judged: Sequence[Evaluation], weight: float) -> Individual:
    sound = [at for at, evaluation in enumerate(judged) if evaluation.failure is None]
    return finalists[max(sound, key=lambda at: (-judged[at].violation, weight * judged[at].values[0]), default=0)]
