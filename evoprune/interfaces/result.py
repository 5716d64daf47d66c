"""The typed result of a run: ``result.json``, written once at the end of a run and read by everything that follows."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

EVOLVED = "evolved"  # the name of the search's own result among known solutions


class Best(BaseModel, extra="ignore", allow_inf_nan=False):
    """A candidate: genome, fitness (a number an objective), number in the history, violation of constraints."""

    genome: list[Any] = Field(min_length=1)
    fitness: list[float] = Field(min_length=1)
    candidate: int | None = None
    violation: float = 0.0


class FinalistRow(BaseModel):
    """Scores of a finalist, in the search and in the finals; None where it failed."""

    fitness: float | None
    judged: float | None


class Result(BaseModel, extra="allow", protected_namespaces=()):
    """Base of results: the keys of the engine. A subclass, a problem's ``Result``, declares the report's keys.

    The engine checks the keys when it writes and when it reads ``result.json``; undeclared keys are allowed. Only keys
    that were set are written.

    >>> from evoprune import Result
    >>> class PackedResult(Result):
    ...     weight: float  # in kg
    >>> PackedResult(best={"genome": [1.0], "fitness": [3.5]}, seed=0, weight=2.0).best.fitness
    [3.5]
    """

    best: Best
    work: float = 0.0
    work_unit: str = ""
    evaluations: int = 0
    seconds: float = 0.0
    seconds_evaluating: float = 0.0  #: summed over workers
    failures: int = 0
    seed: int = Field(ge=0)
    chosen: str | None = None  #: winner of the finals: EVOLVED, or the name of a known solution
    standard_error: float | None = None  #: of the best's fitness, a mean of samples, where the problem is noisy
    finalists: dict[str, FinalistRow] | None = None
    front: list[Best] | None = None  #: candidates that no other dominates, where there are several objectives

    unseen: float | None = None  #: the score on data that the search never saw, for ablations
    genes: dict[str, str] | None = None  #: the best's value of each gene, as people read it, by its name
    protocol: Any = None  #: how scores were measured: a mapping, or a model
    figures: dict[str, str] | None = None  #: a sentence for each figure, by its name

    folder: Path | None = Field(default=None, exclude=True)
    """Folder with the files that the result names, set when it is read; not in ``result.json``."""

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``result.json``: the keys that were set."""
        return self.model_dump(mode="json", exclude_unset=True)
