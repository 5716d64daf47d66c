"""What one run works with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deap import base

from evoprune import backends
from evoprune.backends import evaluation
from evoprune.backends.execution import Execution
from evoprune.experiment.resolve import Resolved
from evoprune.problem import Problem
from evoprune.search import toolbox
from evoprune.search.trial import try_out
from evoprune.search.watching import check

FREE_KEYS = frozenset({"generations", "budget", "max_failures"})
"""Keys of an experiment that decide no line of its history, only how many there will be."""


@dataclass(frozen=True)
class Prepared:
    """What one run works with, all of it decided and loaded before anything is written."""

    resolved: Resolved
    problem: Problem
    toolbox: base.Toolbox
    execution: Execution
    folder: Path
    building: float
    """Seconds that building the problem took."""

    @classmethod
    def of(cls, resolved: Resolved, folder: Path, execution: Execution) -> Prepared:
        """Load the problem and try the operators. Raises :class:`InputError`."""
        backends.settle_main_process(execution.with_threads())  # before anything reads the number of threads
        execution = execution.decided(resolved.problem)
        backends.settle_main_process(execution)
        start = time.perf_counter()
        problem = evaluation.load(toolbox.problem_ref(resolved))
        building = time.perf_counter() - start
        tools = toolbox.build(resolved, problem)
        try_out(tools, resolved)
        if resolved.experiment.patience is not None:
            check(problem, tools)
        return cls(resolved, problem, tools, execution, folder, building)

    @property
    def deciding(self) -> dict[str, Any]:
        """The part of the experiment that decides every line of the history."""
        return {key: value for key, value in self.resolved.config().items() if key not in FREE_KEYS}
