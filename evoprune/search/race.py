"""The race that ends a search with noise: it chooses the result, and scores it on samples that no choice has read."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from evoprune.files.json_files import finite
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.problem import Evaluation
from evoprune.records.history import Line, scored
from evoprune.records.recorded import Genome, key_of
from evoprune.search.evaluator import Evaluator
from evoprune.search.toolbox import scorer

_CHALLENGERS = 5
_FIRST = 4  # samples of the first round; later ones are as long as all before
_AHEAD = 2.0  # standard errors of a difference that decides


def final_race(
    evaluator: Evaluator, recommended: Sequence[Individual], sample: int, work: float
) -> tuple[Individual, Line]:
    """Return the winner with its mean on samples that no choice has read, and keys for the result.

    The first of ``recommended`` by the algorithm, or else the best of the search, defends its place against others on
    common samples, from the number ``sample`` on, as long as a difference is within two standard errors (cf. the race
    of López-Ibáñez and others, "The irace package", Operations Research Perspectives 3, 2016). The race takes half of
    ``work``; the other half scores the winner.
    """
    means = evaluator.means
    whole = [score.work for (_, fidelity, _), score in evaluator.memo.items() if fidelity == 1]
    each = sum(whole) / max(1, len(whole))
    assert means is not None
    most = max(2 * _FIRST, int(work / (each or 1.0)))
    best = means.best(1 + _CHALLENGERS)
    searched = {genome: finite(means.of(genome).values[0]) for genome in best}  # without the scores of the race
    champion, *challengers = list(dict.fromkeys([*(one.genome for one in recommended), *best]))[: most // 2 // _FIRST]
    scores: dict[Genome, list[Evaluation]] = {genome: [] for genome in (champion, *challengers)}
    spent, step = 0, _FIRST
    while challengers and spent + step * (1 + len(challengers)) <= most // 2:
        for genome, more in _scored(evaluator, (champion, *challengers), range(sample, sample + step)).items():
            scores[genome] += more
            spent += step
        sample, step = sample + step, len(scores[champion])
        leads = {one: _lead(scores[one], scores[champion], evaluator.sign) for one in challengers}
        leader = max(challengers, key=leads.__getitem__)
        champion = leader if leads[leader] > _AHEAD else champion
        challengers = [one for one in challengers if one != champion and leads[one] > -_AHEAD]
    own = _scored(evaluator, (champion,), range(sample, sample + most - spent))[champion]
    rows = {}
    for genome, judged in (scores | {champion: own}).items():
        mean = finite(fmean(one.values[0] for one in judged)) if judged else None
        rows[str(evaluator.name_of(genome))] = {"fitness": searched.get(genome), "judged": mean}
    means.settle(champion, own)
    values = [one.values[0] for one in own]
    error = stdev(values) / math.sqrt(len(values)) if all(map(math.isfinite, values)) else None
    return evaluator.scored_individual(champion), {"finalists": rows, "standard_error": error}


def _lead(scores: Sequence[Evaluation], others: Sequence[Evaluation], sign: float) -> float:
    """Return how far ``scores`` are ahead of ``others``, on the same samples, in standard errors."""
    if any(one.failure or one.violation for one in (*scores, *others)):
        worse, better = (sum((1e9 if one.failure else one.violation) for one in each) for each in (scores, others))
        return 0.0 if worse == better else math.copysign(math.inf, better - worse)
    differences = [sign * (one.values[0] - other.values[0]) for one, other in zip(scores, others, strict=True)]
    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    if error:
        return mean / error
    return math.copysign(math.inf, mean) if mean else 0.0


def _scored(evaluator: Evaluator, genomes: Sequence[Genome], samples: Iterable[int]) -> dict[Genome, list[Evaluation]]:
    """Score each genome on each sample, and record it."""
    scoring = evaluator.scoring
    lines: list[Line] = [
        {"finalist": evaluator.name_of(genome), "genome": genome, "sample": sample}
        for sample in samples
        for genome in genomes
    ]
    scoring.history.expect(lines)
    found: dict[Genome, list[Evaluation]] = {genome: [] for genome in genomes}
    how = scorer(scoring.toolbox, scoring.problem, 1.0)
    with scoring.scores(lines, evaluator.recorded.finalists, **how) as scores:
        for line, score in zip(lines, scores, strict=True):
            evaluation = evaluator.learn(key_of(line), score)
            scoring.history.write(line | scored(evaluation))
            found[line["genome"]].append(evaluation)
    return found
