"""Everything that one run needs, checked and loaded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deap import base

from evoprune.backends.evaluation import AUTO, Place, limit_threads, this_worker
from evoprune.backends.execution import Execution
from evoprune.console.phase import Phase
from evoprune.experiment.resolve import Resolved
from evoprune.interfaces.parts import Measured, part
from evoprune.interfaces.problem import Problem
from evoprune.search import toolbox


@dataclass(frozen=True)
class Prepared:
    """Needs of one run, decided and loaded before anything is scored."""

    resolved: Resolved
    problem: Problem
    toolbox: base.Toolbox
    execution: Execution
    folder: Path
    building: float  # seconds that building the problem took
    fingerprint: dict[str, str]  # hashes of all that scores and the budget depend on beside the experiment
    measured: Mapping[str, Any]  # what was measured on the machine, see evoprune.Measured

    @classmethod
    def of(
        cls, resolved: Resolved, folder: Path, execution: Execution, measured: Mapping[str, Any] | None = None
    ) -> Prepared:
        """Load the problem and try the operators. ``measured``: by the run, None for one that begins now."""
        start = time.perf_counter()
        with Phase(f"loading the problem {resolved.experiment.problem.use}") as phase:
            problem = this_worker.problem(toolbox.problem_ref(resolved))  # which a serial run evaluates with
            building = time.perf_counter() - start
            fingerprint = dict(problem.fingerprint())
            if measured is None:
                machine = part(problem, Measured)
                measured = machine.take_measurements() if machine else {}
            ref = toolbox.problem_ref(resolved, measured)
            if ref.measured:
                problem = this_worker.problem(ref)  # the same one
                fingerprint["measured"] = hashlib.sha256(ref.measured.encode()).hexdigest()
            phase.now("trying the operators")
            tools = toolbox.build(resolved, problem, ref)
            toolbox.try_operators(tools, resolved)
        return cls(resolved, problem, tools, execution, folder, building, fingerprint, measured)


def decide(resolved: Resolved, execution: Execution) -> Execution:
    """Decide the execution of ``resolved`` on this host, and prepare the process for it."""
    limit_threads(execution.with_threads().threads)  # before libraries read the number
    execution = execution.decided(resolved.problem, getattr(resolved.settings, "device", AUTO))
    if execution.map == "scoop":  # this process is a worker too
        this_worker.claim(execution.devices, execution.threads)
    else:  # the device and threads of a worker, so that results are rounded as theirs are
        this_worker.assign(Place(execution.devices[0] if execution.devices else None, execution.threads))
    return execution
