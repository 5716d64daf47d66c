"""Stopping rules, state and result of :func:`evoprune.minimize`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from evoprune.console.formatting import digits
from evoprune.figures.style import new_figure
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.problem import Checked, Evaluation
from evoprune.interfaces.space import Space
from evoprune.records.recorded import Key

Point = tuple[Any, tuple[float, ...]]
"""A genome as the function gets it, and the values of the function there, one an objective."""


@dataclass(frozen=True, repr=False)
class Minimum:
    """The best ``genome``, and its ``values``, one an objective; ``found["x"]`` is its value of the gene ``x``.

    ``front``: of several objectives, the non-dominated genomes, and their values. ``history``: the genomes in the order
    of their evaluation. ``folder``: of the run. ``violation``: the sum of the constraints above 0 of the best, where no
    genome satisfied all, so that it is not ``feasible``. ``algorithm``: the one that searched. ``standard_error``: of
    the value, a mean of samples, where the function is noisy.
    """

    genome: Any
    values: tuple[float, ...]
    evaluations: int
    front: list[Point]
    folder: Path | None
    violation: float = 0.0
    names: list[str] = field(default_factory=list)
    history: list[Point] = field(default_factory=list)
    algorithm: str = ""
    standard_error: float | None = None

    @property
    def value(self) -> float:
        """The first of the :attr:`values`."""
        return self.values[0]

    @property
    def feasible(self) -> bool:
        return not self.violation

    def __repr__(self) -> str:
        named = zip(self.names, self.genome, strict=True) if self.names else [("genome", self.genome)]
        genes = ", ".join(f"{name}={value!r}" for name, value in named)
        front = f", front of {len(self.front)} genomes" if self.front else ""
        marked = "" if self.feasible else f", infeasible: the constraints are violated by {digits(self.violation)}"
        error = "" if self.standard_error is None else f", standard_error={digits(self.standard_error)}"
        return f"Minimum({genes}, values={self.values}{error}, evaluations={self.evaluations}{front}{marked})"

    def __getitem__(self, name: str) -> Any:
        return (dict(zip(self.names, self.genome, strict=True)) if self.names else self.genome)[name]

    def to_pandas(self) -> Any:
        """Return the :attr:`history` as a pandas ``DataFrame``: a column a gene, and ``value``, or ``value 0``, ..."""
        import pandas

        values = ["value"] if len(self.values) == 1 else [f"value {place}" for place in range(len(self.values))]
        names = self.names or ["genome"]
        rows = [[*(genome if self.names else [genome]), *point] for genome, point in self.history]
        return pandas.DataFrame(rows, columns=[*names, *values])

    def plot(self) -> Any:
        """Return a figure (matplotlib's) of all values by evaluation, or of the first two objectives and the front."""
        figure, axes = new_figure()
        values = [point for _, point in self.history]
        if len(self.values) == 1:
            axes.plot([value for (value,) in values], ".")
            axes.axhline(self.values[0])
            axes.set(xlabel="evaluation", ylabel="value")
        else:
            axes.plot(*zip(*(point[:2] for point in values), strict=True), ".")
            axes.plot(*zip(*sorted(point[:2] for _, point in self.front), strict=True), "o-")
            axes.set(xlabel="value 0", ylabel="value 1")
        return figure


@dataclass(frozen=True)
class State:
    """A search after a ``generation``: the best ``genome`` and its ``values``; ``seconds`` since it began."""

    generation: int
    evaluations: int
    seconds: float
    genome: Any
    values: tuple[float, ...]


class StoppingRules(Checked):
    """The rules of :func:`evoprune.minimize` by which a search ends."""

    evaluations: int = Field(ge=1)
    callback: Callable[[State], Any]
    target: float | None
    seconds: float | None = Field(ge=0)
    patience: int | None = Field(ge=0)
    _scores: Mapping[Key, Evaluation] = {}  # of the search, if this process ran it
    _better: int = 0  # the last generation with a better best
    _best: Individual | None = None

    @property
    def scores(self) -> Mapping[Key, Evaluation]:
        return self._scores

    def __call__(
        self, generation: int, scores: Mapping[Key, Evaluation], seconds: float, best: Individual, space: Space,
        new: bool,
    ) -> bool:  # fmt: skip
        """Return whether the search ends: see :data:`evoprune.search.search.StoppingRule`."""
        self._scores = scores
        if self._best is None or best.fitness > self._best.fitness:
            self._best, self._better = deepcopy(best), generation
        if not new:
            return False
        state = State(generation, len(scores), seconds, space.chosen(best.genome), best.fitness.values)
        sign, valid = best.fitness.weights[0], not best.fitness.violation
        reached = self.target is not None and valid and sign * state.values[0] >= sign * self.target
        late = self.seconds is not None and seconds >= self.seconds
        idle = self.patience is not None and generation - self._better >= self.patience
        return self.callback(state) is True or reached or late or idle
