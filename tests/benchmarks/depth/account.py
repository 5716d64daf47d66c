"""A search's tokens: algorithms are answered until they are spent. And what its result does to the report text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch

from evoprune import Algorithm, Evaluate, Individual
from problems.evaluation.measure import Add
from problems.evaluation.objectives import Divergence, Perplexity
from problems.language_model.problem import LanguageModel
from problems.texts.windows import predictions

_SAY_EVERY = 3.0
"""Seconds between two lines of progress; what is done in between takes its time, too."""

_IDLE = 300
"""Requests without a new genome after which a search is stopped."""

_PERPLEXITY = Perplexity()


class Spent(Exception):
    """More tokens were asked for than are left."""


class Progress:
    """Prints a line every few seconds."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print ``line``, if there was none for some time."""
        now = time.monotonic()
        if now - self._said > _SAY_EVERY:
            print(line, flush=True)
            self._said = now


class Account:
    """Answers one algorithm; ``best`` is the best on all the search text within the budget, ``spent`` in tokens.

    A genome is paid and scored once at each fidelity, as in a run of the product.
    """

    def __init__(self, problem: LanguageModel, tokens: int, progress: Callable[[str], None], idle: int = _IDLE) -> None:
        self._problem, self._tokens, self._progress, self._idle = problem, tokens, progress, idle
        self._memo: dict[tuple[tuple[float, ...], float], float] = {}
        self.best: Individual | None = None
        self.spent = 0

    def pay(self, tokens: int) -> None:
        """Count ``tokens`` that are about to be read. Raises :class:`Spent` where they are not left."""
        if self.spent + tokens > self._tokens:
            raise Spent
        self.spent += tokens
        best = f", best {self.best.fitness.values[0]:.4g}" if self.best else ""
        self._progress(f"{self.spent:,} of {self._tokens:,} tokens{best}")

    def run(self, algorithm: Algorithm) -> None:
        """Answer ``algorithm`` until it ends, the tokens are spent, or it asks for nothing new any more."""
        idle = 0
        try:
            for step in algorithm:
                if isinstance(step, Evaluate):
                    known = len(self._memo)
                    self._answer(step)
                    idle = 0 if len(self._memo) > known else idle + 1
                    if idle == self._idle:
                        break
        except Spent:
            pass

    def _answer(self, step: Evaluate) -> None:
        for individual in step.individuals:
            key = individual.genome, step.fidelity
            if key not in self._memo:
                windows, window = self._problem.session.texts.search.tokens.shape
                self.pay(max(1, math.ceil(step.fidelity * windows)) * window)
                value, _ = self._problem.session.fitness.value(individual, step.fidelity)
                self._memo[key] = value if math.isfinite(value) else math.inf
            individual.fitness.values = (self._memo[key],)
            may_win = step.fidelity == 1 and not step.probe and self._problem.budget.within(individual)
            if may_win and (self.best is None or individual.fitness > self.best.fitness):
                self.best = deepcopy(individual)


class Report:
    """Scores genomes on the report text; ``dense`` is the dense model's perplexity."""

    def __init__(self, problem: LanguageModel, progress: Callable[[str], None]) -> None:
        self._session, self._progress = problem.session, progress
        tokens = self._session.texts.report.tokens
        top = min(problem.settings.kl_top, self._session.resident.forward.vocabulary)
        batches = tokens.split(max(1, self._session.fitness.measure.batch_tokens // tokens.shape[1]))
        self._batches = [(batch, Divergence(predictions(batch), top)) for batch in batches]
        self._predictions = predictions(tokens)
        self.dense, _ = self._total(self._session.transform.dense, lambda divergence: divergence.learn)

    def __call__(self, genome: list[float]) -> tuple[float, float]:
        """The perplexity, and the divergence from the dense model in nats a token, as the objective ``kl`` has it."""
        return self._total(genome, lambda divergence: divergence.add)

    def _total(self, genome: list[float], other: Callable[[Divergence], Add]) -> tuple[float, float]:
        self._session.transform.apply(genome)
        loss, found = 0.0, []
        for number, (batch, divergence) in enumerate(self._batches):
            self._progress(f"report text: {number} of {len(self._batches)} batches")
            loss += self._session.fitness.measure.total(batch, partial(_both, found, other(divergence)))
        divergence = float(torch.stack(found).cpu().double().sum())
        return _PERPLEXITY.value(loss, self._predictions), divergence / self._predictions


def _both(
    found: list[torch.Tensor], other: Add, logits: torch.Tensor, targets: torch.Tensor, first: int
) -> torch.Tensor:
    """The loss; what ``other`` makes of the same logits is added to ``found``."""
    found.append(other(logits, targets, first))
    return _PERPLEXITY.add(logits, targets, first)
