"""The finals: after a search, its best few are judged once more by something dearer, and the best of them wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evoprune.errors import InputError
from evoprune.individual import Individual
from evoprune.json_numbers import finite
from evoprune.parts import Finals
from evoprune.problem import Evaluation, Problem

if TYPE_CHECKING:
    from evoprune.search.evaluator import Evaluator

Json = dict[str, Any]


@dataclass(frozen=True)
class Held:
    """How many finalists are judged, 0 where there are no finals, and what one costs in the problem's unit of work."""

    number: int
    cost: float

    @property
    def reserve(self) -> float:
        """What of a run's budget is kept back for them."""
        return self.number * self.cost


def finals_of(problem: Problem) -> Held:
    """The finals of ``problem``, as it is set up."""
    if not isinstance(problem, Finals) or not problem.finalists:
        return Held(0, 0.0)
    return Held(problem.finalists, problem.judging_cost)


def check_finals(problem: Problem, budget: float | None) -> None:
    """Raise :class:`InputError` if ``problem`` cannot hold its finals, or not within the run's ``budget``."""
    held = finals_of(problem)
    if held.number and len(problem.weights) > 1:
        raise InputError(f"finals: with {len(problem.weights)} objectives there is no single best to choose")
    if budget is not None and held.number and held.reserve + problem.setup_cost >= budget:
        raise InputError(
            f"budget: judging {held.number} finalists costs {held.reserve:,.0f} {problem.work_unit}, so that "
            f"{budget:,.0f} leave nothing for the search; give a larger budget, or fewer or cheaper finalists"
        )


def hold(problem: Problem, best: Individual, evaluator: Evaluator) -> tuple[Individual, Json]:
    """The winner, and what the result says of the finals; ``best`` and nothing where there are none.

    The finalists are ``best``, which the search would choose, and then those with the best fitness. The first of equal
    ones wins, and ``best`` where none could be judged.
    """
    held = finals_of(problem)
    if not held.number:
        return best, {}
    others = [one for one in evaluator.leading if one.genome != best.genome]
    finalists = [best, *others][: held.number]
    judged = evaluator.judge(finalists, held.cost)
    winner = _winner(finalists, judged, problem.weights[0])
    rows = {
        f"candidate {one.ident}": {"fitness": finite(one.fitness.values[0]), "judged": finite(evaluation.values[0])}
        for one, evaluation in zip(finalists, judged, strict=True)
    }
    return winner, {"finalists": rows, "finals_changed_the_result": winner is not best}


def _winner(finalists: Sequence[Individual], judged: Sequence[Evaluation], weight: float) -> Individual:
    sound = [at for at, evaluation in enumerate(judged) if evaluation.failure is None]
    return finalists[max(sound, key=lambda at: weight * judged[at].values[0], default=0)]
