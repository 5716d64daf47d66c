"""The finals: the best of a search and known solutions are judged on other data; the best one is the result."""

from collections.abc import Mapping
from typing import Any

from evoprune.files.json_files import finite
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.parts import Finals, part
from evoprune.interfaces.problem import Evaluation, Problem
from evoprune.records.history import scored
from evoprune.search.evaluator import Evaluator
from evoprune.search.scoring import Asked

Json = dict[str, Any]

EVOLVED = "evolved"  # the name of the search's own result

_DEARER = 30.0  # least ratio of the times of judging and of scoring: the final form may take long to make


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
    finalists = {best.ident or 0: best} | {known[genome]: evaluator.scored_individual(genome) for genome in others}
    judged = _judge(evaluator, {name: one.genome for name, one in finalists.items()})
    sound = [name for name, evaluation in judged.items() if evaluation.failure is None]

    def worth(name: int | str) -> tuple[float, float]:
        return -finalists[name].fitness.violation, problem.signs[0] * judged[name].values[0]

    winner = finalists[max(sound, key=worth)] if sound else best
    rows = {
        key if isinstance(key, str) else f"candidate {key}": {
            "fitness": finite(one.fitness.values[0]),
            "judged": finite(judged[key].values[0]),
        }
        for key, one in finalists.items()
    }
    return winner, {"chosen": known.get(winner.genome, EVOLVED), "finalists": rows}


def _judge(evaluator: Evaluator, genomes: Mapping[int | str, tuple[float, ...]]) -> dict[int | str, Evaluation]:
    """Judge finalists, by number or name."""
    scoring, judged = evaluator.scoring, {}
    asked = [Asked(f"finalist {n}", {"finalist": n, "genome": list(g)}, g) for n, g in genomes.items()]
    scoring.history.expect(one.line for one in asked)
    with scoring.scores(asked, evaluator.recorded.finalists, scoring.toolbox.judge, slower=_DEARER) as scores:
        for name, one, evaluation in zip(genomes, asked, scores, strict=True):
            evaluator.busy += evaluation.seconds
            scoring.history.write(one.line | scored(evaluation), sync=True)
            evaluator.progress.finalist(one.label, evaluation)
            judged[name] = evaluation
    return judged
