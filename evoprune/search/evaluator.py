"""Scores the candidates of a search, each genome once, judges the finalists, and writes the history."""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

from deap.tools import ParetoFront

from evoprune.console.errors import InputError, Stopped, cut_repr, first_line
from evoprune.console.formatting import digits
from evoprune.files.json_files import finite
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.interfaces.parts import Finals, part
from evoprune.interfaces.problem import Evaluation, Problem
from evoprune.interfaces.result import EVOLVED
from evoprune.records.history import Line, may_win, scored
from evoprune.records.recorded import Genome, Key, RecordedRun, key_of
from evoprune.search.noise import Means, sample_of
from evoprune.search.progress import SearchProgress
from evoprune.search.scoring import Scoring, label_of
from evoprune.search.toolbox import scorer

_FEW = 10  # candidates before the share of failures is judged


class Evaluator:
    """Scores individuals, and records them; a memo and the record of a resumed run avoid repeated evaluations.

    ``memo``: scores by genome, share of the data and sample, in order. ``means``: of the samples, where there is noise.
    ``evaluations``: their number; ``work``: their cost; ``evaluation_seconds``: their time and that of finals, summed
    over workers. ``best``: by the first objective. ``front``: the non-dominated candidates. ``references``: scores of
    the known solutions.
    """

    def __init__(self, scoring: Scoring, progress: SearchProgress, max_failures: float, recorded: RecordedRun) -> None:
        self.scoring, self.progress, self.recorded = scoring, progress, recorded
        self._history, self._signs, self._space = scoring.history, scoring.problem.signs, scoring.problem.space
        self.sign = self._signs[0]
        self.means = Means(self.sign) if scoring.problem.noisy else None
        self.memo: dict[Key, Evaluation] = {}
        self._numbers: dict[Genome, int] = {}
        self.references: dict[Genome, Evaluation] = {}
        self._max_failures, self.failures, self._last_failure = max_failures, 0, ""
        self.front = ParetoFront()
        self.best: Individual | None = None
        self.candidates = self.evaluations = 0
        self.work = self.evaluation_seconds = 0.0

    def evaluate(self, request: Evaluate, generation: int, most: float = math.inf) -> bool:
        """Set and record the individuals' fitness; return False if only the first ``most`` new ones were scored.

        All are scored where there would be no result otherwise. Raises :class:`Stopped` for too many failures, or no
        results.
        """
        self.progress.begin(generation, len(request.individuals))
        fidelity = request.fidelity if self.scoring.problem.has_fidelities else 1.0
        if self.best is None and (request.probe or fidelity < 1):
            most = math.inf
        lines = list(self._lines(request, generation, fidelity, most))
        self._history.expect(lines)
        new = [line for line in lines if not line["memo"]]
        how = scorer(self.scoring.toolbox, self.scoring.problem, fidelity)
        with self.scoring.scores(new, self.recorded.candidates, **how) as scores:
            for individual, line in zip(request.individuals, lines, strict=False):
                key = key_of(line)
                if not line["memo"]:
                    self.learn(key, next(scores))
                self._record(individual, line, self.memo[key])
        if self.means:
            self.means.close(sample_of(generation), fidelity)
            for individual, line in zip(request.individuals, lines, strict=False):
                mean = self.means.of(line["genome"], fidelity)
                individual.fitness.assign(mean.values, mean.violation)
            if fidelity == 1 and not request.probe:
                (leader,) = self.means.best(1)
                self.best = self.scored_individual(leader)
        if self.evaluations >= _FEW and self.failures / self.evaluations > self._max_failures:
            raise Stopped(
                f"{self.failures} of {self.evaluations} candidates failed (max_failures: {self._max_failures:g}); "
                f"the last one: {first_line(self._last_failure)}"
            )
        return len(lines) == len(request.individuals)

    def evaluation_of(self, genome: Genome) -> Evaluation:
        """Return the score of ``genome`` on all the data, its mean where there is noise."""
        return self.means.of(genome) if self.means else self.memo.get((genome, 1.0, 0)) or self.references[genome]

    def name_of(self, genome: Genome) -> int | str:
        """Return the number of the first candidate with ``genome``, or "recommended"."""
        return self._numbers.get(genome, "recommended")

    def scored_individual(self, genome: Genome) -> Individual:
        """Return an individual with the score of ``genome``."""
        individual, evaluation = self._space.individual(genome, self._signs), self.evaluation_of(genome)
        individual.fitness.assign(evaluation.values, evaluation.violation)
        individual.ident = self._numbers.get(genome)
        return individual

    def _lines(self, request: Evaluate, generation: int, fidelity: float, most: float) -> Iterator[Line]:
        """The history lines of the candidates, without their scores, up to ``most`` new ones."""
        new: set[Genome] = set()
        sample = {"sample": sample_of(generation)} if self.means else {}
        for individual in request.individuals:
            number, genome = self.candidates, individual.genome
            try:
                self._space.check(genome)
            except ValueError as error:
                raise Stopped(f"candidate {number}: an operator bred no genome of the space: {error}") from None
            known = (genome, fidelity, sample.get("sample", 0)) in self.memo or genome in new
            if not known and len(new) >= most:
                return
            line: Line = {"candidate": number, "generation": generation, "parents": individual.parents}
            line["genome"], line["memo"] = genome, known
            if fidelity < 1:
                line["fidelity"] = fidelity
            if request.probe:
                line["probe"] = True
            line |= sample
            if not known:
                new.add(genome)
            self.candidates += 1
            yield line

    def learn(self, key: Key, evaluation: Evaluation) -> Evaluation:
        """Count and remember a new score; return it, with its work."""
        evaluation = self.memo[key] = self.scoring.with_work(evaluation, key[1])
        if self.means:
            self.means.add(key[0], key[1], evaluation)
        self.evaluations += 1
        self.work += evaluation.work
        self.evaluation_seconds += evaluation.seconds
        if evaluation.failure is not None:
            self.failures, self._last_failure = self.failures + 1, evaluation.failure
        return evaluation

    def _record(self, individual: Individual, line: Line, evaluation: Evaluation) -> None:
        individual.ident = line["candidate"]
        mean = self.means.of(line["genome"], line.get("fidelity", 1.0)) if self.means else evaluation
        individual.fitness.assign(mean.values, mean.violation)
        if may_win(line):
            self._numbers.setdefault(line["genome"], line["candidate"])
            if self.best is None or (not self.means and individual.fitness > self.best.fitness):
                self.best = deepcopy(individual)
            if evaluation.failure is None and len(evaluation.values) > 1:
                self.front.update([individual])
        self._history.write(line | scored(evaluation))
        self.progress.candidate(self.best, self.evaluations, self.work)


def score_references(
    evaluator: Evaluator, genomes: Mapping[str, list[float]]
) -> dict[str, tuple[list[float], Evaluation]]:
    """Score known solutions, by name. They are not part of the search, so its memo does not learn them."""
    scoring = evaluator.scoring
    if faulty := next((name for name, genome in genomes.items() if not isinstance(genome, Sequence)), None):
        owner = type(scoring.problem).__name__
        raise InputError(f"expected a genome, got {cut_repr(genomes[faulty])}", f"{owner}.references: {faulty}")
    sample = {"sample": 1} if evaluator.means else {}
    lines: list[Line] = [{"reference": name, "genome": tuple(genome)} | sample for name, genome in genomes.items()]
    scoring.history.expect(lines)
    results, how = {}, scorer(scoring.toolbox, scoring.problem, 1.0)
    with scoring.scores(lines, evaluator.recorded.references, **how) as scores:
        for line, evaluation in zip(lines, map(scoring.with_work, scores), strict=True):
            scoring.history.write(line | scored(evaluation))
            evaluator.progress.reference(line["reference"], evaluation)
            results[line["reference"]] = (list(line["genome"]), evaluation)
            evaluator.references[line["genome"]] = evaluation
    scoring.idle_share()  # the search's idle time is the search's alone
    return results


_DEARER = 30.0  # assumed ratio of the times of judging and of scoring, as final weights may be slow to compute


def hold_finals(problem: Problem, best: Individual, evaluator: Evaluator) -> tuple[Individual, Line]:
    """Return the winner of the finals, and keys for the result; ``best`` and no keys if the problem has no finals.

    The first of equal finalists wins; ``best`` wins if no finalist could be judged.
    """
    finals = part(problem, Finals)
    names = {tuple(genome): name for name, genome in finals.contenders.items()} if finals else {}
    if not names:
        return best, {}
    others = [genome for genome in names if genome != best.genome and not evaluator.evaluation_of(genome).failure]
    if not others:
        return best, {"chosen": names.get(best.genome, EVOLVED)}
    finalists = {best.ident or 0: best} | {names[genome]: evaluator.scored_individual(genome) for genome in others}
    judged = _judge(evaluator, {name: one.genome for name, one in finalists.items()})
    sound = [name for name, evaluation in judged.items() if evaluation.failure is None]

    def worth(name: int | str) -> tuple[float, float]:
        return -finalists[name].fitness.violation, problem.signs[0] * judged[name].values[0]

    winner = finalists[max(sound, key=worth)] if sound else best
    rows = {}
    for key, one in finalists.items():
        scores = {"fitness": finite(one.fitness.values[0]), "judged": finite(judged[key].values[0])}
        rows[key if isinstance(key, str) else f"candidate {key}"] = scores
    return winner, {"chosen": names.get(winner.genome, EVOLVED), "finalists": rows}


def _judge(evaluator: Evaluator, genomes: Mapping[int | str, tuple[float, ...]]) -> dict[int | str, Evaluation]:
    """Judge finalists, by number or name."""
    scoring, judged = evaluator.scoring, {}
    lines: list[Line] = [{"finalist": name, "genome": list(genome)} for name, genome in genomes.items()]
    scoring.history.expect(lines)
    with scoring.scores(lines, evaluator.recorded.finalists, scoring.toolbox.judge, slower=_DEARER) as scores:
        for line, evaluation in zip(lines, scores, strict=True):
            evaluator.evaluation_seconds += evaluation.seconds
            scoring.history.write(line | scored(evaluation), sync=True)
            evaluator.progress.note(f"{label_of(line)}: {digits(evaluation.values[0])}")
            judged[line["finalist"]] = evaluation
    return judged
