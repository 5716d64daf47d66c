"""Scores in the order of their arrival, for algorithms that do not wait."""

from collections import ChainMap
from collections.abc import Iterator, Mapping

from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.problem import Evaluation
from evoprune.records.recorded import Genome, Key
from evoprune.search.scoring import Asked, Scoring

Begun = list[tuple[Individual, Asked]]
"""Individuals with one genome, without a score yet."""


class Arrivals:
    """Begun genomes, and their scores as workers return them.

    A resumed run, with any number of workers, repeats the recorded order of scores.
    """

    def __init__(self, scoring: Scoring, recorded: Mapping[Key, Evaluation]) -> None:
        self._scoring, self._recorded, self._history = scoring, recorded, scoring.history
        self.begun: dict[Genome, Begun] = {}
        self._given: list[Asked] = []  # to the workers
        self._genomes: list[Genome] = []
        self._arriving: Iterator[tuple[int, Evaluation]] = scoring.toolbox.map(scoring.toolbox.evaluate, self._genomes)

    def next(self, memo: Mapping[Key, Evaluation]) -> tuple[Begun, Evaluation, int] | None:
        """Return the individuals of the next score, the score, and the genomes at once; None to begin more."""
        past = self._history.next_candidate
        at_once = past.get("at_once", 1) if past else self._scoring.backend.workers
        scores = memo if past else ChainMap(memo, self._recorded)  # type: ignore[arg-type]
        genome = next((genome for genome in self.begun if (genome, 1.0) in scores), None)
        if genome is not None:
            evaluation = scores[genome, 1.0]
        elif len(self.begun) < at_once:
            return None
        elif past:
            genome = tuple(past["genome"])
            if genome not in self.begun:
                self._history.expect(
                    [asked.line for [(_, asked), *_] in self.begun.values()][:1]
                )  # names the difference
            evaluation = self._recorded[genome, 1.0]
        else:
            genome, evaluation = self._from_workers()
        return self.begun.pop(genome), evaluation, at_once

    def _from_workers(self) -> tuple[Genome, Evaluation]:
        last = self._given[-1].line["candidate"] if self._given else -1
        new = [asked for [(_, asked), *_] in self.begun.values() if asked.line["candidate"] > last]
        self._history.expect(asked.line for asked in new)
        self._given += new
        self._genomes += [asked.genome for asked in new]
        with self._scoring.at_work():
            index, evaluation = self._scoring.next(self._arriving, self._given)
        return self._given[index].genome, evaluation
