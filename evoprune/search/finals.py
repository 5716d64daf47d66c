"""The finals: the best of a search and known solutions are judged on other data; the best of them is the result."""

from typing import Any

from evoprune.files.json_files import finite
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.parts import Finals, part
from evoprune.interfaces.problem import Problem
from evoprune.search.evaluator import Evaluator

Json = dict[str, Any]

EVOLVED = "evolved"  # the name of what the search found, beside those of known solutions


def hold(problem: Problem, best: Individual, evaluator: Evaluator) -> tuple[Individual, Json]:
    """The winner, and the result's keys about the finals; ``best`` and nothing where there are none.

    The first of equal ones wins, and ``best`` where none could be judged.
    """
    finals = part(problem, Finals)
    known = {tuple(genome): name for name, genome in finals.contenders.items()} if finals else {}
    if not known:
        return best, {}
    others = [genome for genome in known if genome != best.genome and not evaluator.evaluation_of(genome).failure]
    if not others:
        return best, {"chosen": known.get(best.genome, EVOLVED)}
    finalists = {best.ident or 0: best} | {known[genome]: evaluator.known(genome) for genome in others}
    judged = evaluator.judge({name: one.genome for name, one in finalists.items()})
    sound = [name for name, evaluation in judged.items() if evaluation.failure is None]

    def worth(name: int | str) -> tuple[float, float]:
        return -finalists[name].fitness.violation, problem.weights[0] * judged[name].values[0]

    winner = finalists[max(sound, key=worth)] if sound else best
    rows = {
        key if isinstance(key, str) else f"candidate {key}": {
            "fitness": finite(one.fitness.values[0]),
            "judged": finite(judged[key].values[0]),
        }
        for key, one in finalists.items()
    }
    return winner, {"chosen": known.get(winner.genome, EVOLVED), "finalists": rows}
