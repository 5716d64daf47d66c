"""Scores of genomes, in their order: from the record of a resumed run, else from workers."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy
from deap import base

from evoprune.backends import Backend, Lost
from evoprune.console.errors import InputError, Stopped
from evoprune.interfaces.problem import Evaluation, Problem, worst
from evoprune.records.history import History, Line, scored
from evoprune.records.recorded import Key, item_of, key_of
from evoprune.search.sharing import Sharing


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Restore the global random states at the end: evaluations and libraries of workers draw from them, too."""
    states = random.getstate(), numpy.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])


def label_of(line: Line) -> str:
    """Return the name of a line's candidate, known solution or finalist, for messages."""
    kind, name = next(iter(line.items()))
    return f"finalist {name}" if kind == "finalist" else str(name)


class Scoring:
    """Scores genomes by the workers of a run, and measures their idle time.

    A request for a score is the history line of the genome, without the score.
    """

    def __init__(
        self, toolbox: base.Toolbox, problem: Problem, backend: Backend, history: History, sharing: Sharing | None
    ) -> None:
        self.toolbox, self.problem, self.backend, self.history = toolbox, problem, backend, history
        self._sharing = sharing
        self._usual_work: dict[float, float] = {}
        self._spent = self._wall = 0.0

    @contextmanager
    def scores(
        self, requests: Sequence[Line], recorded: Mapping[Key, Evaluation], score: Callable[[Any], Any], **how: float
    ) -> Iterator[Iterator[Evaluation]]:
        """Yield an iterator of the scores of ``requests``, in order. ``how``: see :meth:`Backend.map`."""
        start = time.perf_counter()
        with preserve_random_state(), self.backend.at_work():
            yield self._in_order(requests, recorded, score, **how)
            self._wall += time.perf_counter() - start
        self.history.caught_up()

    def with_work(self, evaluation: Evaluation, fidelity: float = 1.0) -> Evaluation:
        """Return ``evaluation``; a failure without work counts as the last evaluation with some."""
        if evaluation.failure and not evaluation.work:
            return replace(evaluation, work=self._usual_work.get(fidelity, 1.0))
        self._usual_work[fidelity] = evaluation.work
        return evaluation

    def idle_share(self) -> float:
        """Return the share of the workers' time without evaluations, since the last call."""
        idle = 1 - self._spent / (self.backend.workers * self._wall) if self._wall else 0.0
        self._spent = self._wall = 0.0
        return max(0.0, idle)

    def _in_order(
        self, requests: Sequence[Line], recorded: Mapping[Key, Evaluation], score: Callable[[Any], Any], **how: float
    ) -> Iterator[Evaluation]:
        """Yield the score of each of ``requests``; scores that arrive before their turn are recorded for resuming."""
        ready = {at: recorded[key] for at, key in enumerate(map(key_of, requests)) if key in recorded}
        rest = [at for at in range(len(requests)) if at not in ready]
        missing = {index: requests[at] for index, at in enumerate(rest)}
        mapped = partial(self.toolbox.map, score, **how)
        if self._sharing and requests and "candidate" in requests[0]:
            arriving = self._sharing.map(mapped, [*missing.values()])
        else:
            arriving = mapped([*map(item_of, missing.values())])
        for turn in range(len(requests)):
            while turn not in ready:
                try:
                    index, evaluation = next(arriving)
                except Lost as loss:
                    raise Stopped(f"{loss}; without a score: {', '.join(map(label_of, missing.values()))}") from None
                line = missing.pop(index)
                self._spent += evaluation.seconds
                if evaluation.failure:
                    evaluation = replace(evaluation, values=worst(self.problem.signs))
                elif (count := len(evaluation.values)) != (objectives := len(self.problem.signs)):
                    fault = f"expected {objectives} values of each genome, got {count}"
                    raise InputError(fault, "objectives")
                ready[rest[index]] = evaluation
                if rest[index] != turn:
                    self.history.ahead(line | scored(evaluation))
            yield ready.pop(turn)
