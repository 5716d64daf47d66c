"""The DEAP toolbox of a run: built from a resolved experiment, and tried before the run starts."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from deap import base
from threadpoolctl import ThreadpoolController

from evoprune.backends import evaluation
from evoprune.backends.evaluation import ProblemRef, limit_threads, this_worker
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError, cut_repr
from evoprune.console.progress import Progress, note
from evoprune.experiment import parameters, registry
from evoprune.experiment.resolve import ALWAYS_SUPPLIED, FROM_EXPERIMENT, Resolved, refuse_other_space, resolve
from evoprune.experiment.spec import AUTO
from evoprune.interfaces.algorithm import Algorithm, Evaluate, Individual
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.parts import Measured, part
from evoprune.interfaces.problem import Problem, answer, refuse_faulty
from evoprune.interfaces.space import Genome, Space


def problem_ref(resolved: Resolved, measured: Mapping[str, Any] | None = None) -> ProblemRef:
    """Reference by which workers build the problem of ``resolved``, with its measurements, if there are any."""
    experiment = resolved.experiment
    return ProblemRef(
        experiment.problem.use,
        resolved.settings.model_dump_json(),
        experiment.plugins,
        resolved.plugin_folders,
        json.dumps(measured, sort_keys=True) if measured else "",
    )


def with_default_operators(resolved: Resolved, problem: Problem, bred: bool = False) -> Resolved:
    """Return ``resolved`` with operators that breed the problem's space, and the choice of the algorithm ``auto``.

    ``bred``: the algorithm uses the given operators; else an experiment may list more, for other algorithms.
    """
    refuse_faulty(problem)
    space, explicit = problem.space.name, resolved.experiment.model_dump(exclude_unset=True)
    given, size = explicit.get("operators", {}), {}
    chosen = registry.default_choice("defaults", space)
    if not resolved.experiment.automatic and (space == Genes.name or chosen.keys() <= given.keys()):
        return resolved
    if resolved.experiment.automatic:
        more, count = registry.default_choice(AUTO, space)(problem)
        given = {slot: choice for slot, choice in given.items() if slot != "algorithm"}
        if bred and not {*given} <= {*more, "repair"}:  # the algorithm may use none of them
            of_any, count = registry.default_choice(AUTO, "")(problem)
            more |= of_any
        chosen, size = chosen | {slot: choice for slot, choice in more.items() if choice}, {"population": count}
    config = {**size, **explicit, "operators": {**chosen, **given}}
    return replace(resolve(config, "operators"), plugin_folders=resolved.plugin_folders)


def build(resolved: Resolved, problem: Problem, ref: ProblemRef) -> base.Toolbox:
    """The toolbox: ``individual``, the operators' slots, and the functions that score; ``ref``: of ``problem``.

    A run registers its backend's map as ``toolbox.map``, which yields (index, evaluation) as they are ready. Without a
    repair, ``toolbox.repair`` moves each gene to its nearest possible value. Raises :class:`evoprune.InputError` where
    the problem lacks an operator's budget, or where no genome meets the limit.
    """
    space, budget = problem.space, problem.budget
    supplied = {
        **dict.fromkeys(ALWAYS_SUPPLIED),
        **space.supplied,
        "space": space,
        "budget": budget,
        "noisy": problem.noisy,
        "initial_genomes": problem.initial_genomes(),
        **{name: getattr(resolved.experiment, name) for name in FROM_EXPERIMENT},
    }
    if "repair" in resolved.operators and budget and budget.limit is not None:
        try:
            budget.check_reachable()
        except ValueError as error:
            raise InputError(f"problem: {error}") from None
    toolbox = base.Toolbox()
    toolbox.register("individual", _individual, problem)
    for slot, operator in resolved.operators.items():
        refuse_other_space(slot, operator.use, space, f"operators.{slot}")
        for name in parameters.lacking(operator.parameters, supplied):
            problem_name = resolved.experiment.problem.use
            raise InputError(
                f"operators.{slot}: '{operator.use}' needs a {name}, and the problem '{problem_name}' has none"
            )
        toolbox.register(slot, operator.function, **parameters.arguments(operator.parameters, supplied))
    toolbox.register("algorithm", _on_one_thread, toolbox.algorithm)
    for slot in ("mate", "mutate", "repair"):
        toolbox.register(slot, space.adapted(slot, getattr(toolbox, slot, None)))
    score = partial(evaluation.evaluate_samples, resolved.experiment.seed) if problem.noisy else evaluation.evaluate
    toolbox.register("evaluate", score, ref)
    toolbox.register("judge", evaluation.judge, ref)
    return toolbox


def _individual(problem: Problem, genome: Genome | None = None) -> Individual:
    """Return an individual with ``genome``, or a random one."""
    drawn = answer(problem, "random_genome", Sequence) if genome is None else genome
    return problem.space.individual(drawn, problem.signs)


def scorer(toolbox: base.Toolbox, problem: Problem, fidelity: float) -> dict[str, Any]:
    """Return the function that scores on a share ``fidelity`` of the data, as ``score``, and the way to map it."""
    batch = problem.batch and not problem.noisy
    return {"score": partial(toolbox.evaluate, fidelity=fidelity), "batch": batch}


def _on_one_thread(algorithm: Callable[[base.Toolbox], Algorithm], toolbox: base.Toolbox) -> Algorithm:
    """Run each step of ``algorithm`` on one BLAS thread, since rounding depends on the number of threads.

    Evaluations run between the steps, with all their threads.
    """
    steps = algorithm(toolbox)
    while True:
        with _blas(len(sys.modules)).limit(limits=1):
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step


@lru_cache(1)
def _blas(modules: int) -> ThreadpoolController:  # noqa: ARG001 - the key of the cache
    """Return the loaded BLAS libraries; with another number of ``modules``, there may be more."""
    return ThreadpoolController().select(user_api="blas")


def try_operators(toolbox: base.Toolbox, resolved: Resolved, space: Space) -> None:
    """Call every operator once; raise :class:`InputError` for one that fails. Draws random numbers."""
    size = resolved.experiment.population
    population = [toolbox.individual() for _ in range(size)]
    for rank, individual in enumerate(population):
        individual.fitness.values = [float(rank)] * len(individual.fitness.weights)
    first, second = population[:2]
    calls: dict[str, tuple[int, Callable[[], Any]]] = {
        "select": (2, lambda: toolbox.select(population, 2)),
        "mate": (2, lambda: toolbox.mate(first.child(), second.child())),
        "mutate": (1, lambda: toolbox.mutate(first.child())),
        "repair": (1, lambda: toolbox.repair(first.child())),
        "survive": (0, lambda: toolbox.survive(population)),
        "algorithm": (0, lambda: [next(toolbox.algorithm(toolbox))]),  # which calls the others
    }
    for slot, (expected, call) in calls.items():
        if slot not in resolved.operators:
            continue
        name = f"operators.{slot}: '{resolved.operators[slot].use}'"
        try:
            answer = list(call())
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{name} fails: {type(error).__name__}: {error}") from error
        if expected and (fault := _fault(space, first, answer, expected)):
            raise InputError(f"{name} does not return {expected} individual(s) of {space.describe()}: {fault}")
        if slot == "select" and _prefers_worse(toolbox, population[:_TRIED]):
            raise InputError(f"{name} prefers worse individuals here (as roulette where less is better): give another")
        if slot == "survive" and not 0 < len(answer) < size:
            raise InputError(f"{name} would pass on {len(answer)} of a population of {size}; expected 1 to {size - 1}")
        if slot == "algorithm" and not (isinstance(answer[0], Evaluate) and answer[0].individuals):
            raise InputError(f"{name} does not begin by asking for scores, as an algorithm must")


def _fault(space: Space, parent: Individual, answer: Sequence[Any], expected: int) -> str:
    """Return the fault of the ``answer`` of an operator, if it has one."""
    if len(answer) != expected or not all(isinstance(one, type(parent)) for one in answer):
        return f"got {cut_repr(answer)}"
    try:
        for one in answer:
            space.check(one.genome)
    except Exception as error:  # of an operator that is for another space
        return str(error)
    return ""


_TRIED, _SELECTIONS = 20, 300  # individuals to select from, and how often
_LEAST = 0.4  # share of the better half; of a selection without preference it is below this once in a million times


def _prefers_worse(toolbox: base.Toolbox, population: Sequence[Individual]) -> bool:
    """Return whether ``toolbox.select`` chooses the worse half far more often, where there is one objective."""
    if len(population[0].fitness.weights) > 1:
        return False
    better = sorted(population, key=attrgetter("fitness"), reverse=True)[: len(population) // 2]
    chosen = [each for _ in range(_SELECTIONS) for each in toolbox.select(population, 2)]
    return sum(any(each is one for one in better) for each in chosen) < _LEAST * len(chosen)


@dataclass(frozen=True)
class Prepared:
    """Needs of one run, decided and loaded before anything is scored.

    ``build_seconds``: seconds for the problem. ``fingerprint``: hashes of the data behind scores and budget.
    """

    resolved: Resolved
    problem: Problem
    toolbox: base.Toolbox
    execution: Execution
    folder: Path
    build_seconds: float
    fingerprint: dict[str, str]
    measured: Mapping[str, Any]

    @classmethod
    def of(
        cls, resolved: Resolved, folder: Path, execution: Execution, measured: Mapping[str, Any] | None = None
    ) -> Prepared:
        """Load the problem and try the operators. ``measured``: by the run, None for one that begins now."""
        start = time.perf_counter()
        with Progress(f"loading the problem {resolved.experiment.problem.use}") as progress:
            problem = this_worker.problem(problem_ref(resolved))  # which a serial run evaluates with
            build_seconds = time.perf_counter() - start
            fingerprint = dict(answer(problem, "fingerprint", Mapping))
            if measured is None:
                machine = part(problem, Measured)
                measured = machine.take_measurements() if machine else {}
            ref = problem_ref(resolved, measured)
            if ref.measured:
                problem = this_worker.problem(ref)  # the same one
                fingerprint["measured"] = hashlib.sha256(ref.measured.encode()).hexdigest()
            automatic, resolved = resolved.experiment.automatic, with_default_operators(resolved, problem)
            if automatic:
                note(f"algorithm: {resolved.operators['algorithm'].use}, population: {resolved.experiment.population}")
            progress.now("trying the operators")
            tools = build(resolved, problem, ref)
            try_operators(tools, resolved, problem.space)
        return cls(resolved, problem, tools, execution, folder, build_seconds, fingerprint, measured)


def decide_execution(resolved: Resolved, execution: Execution) -> Execution:
    """Decide the execution of ``resolved`` on this host, and prepare the process for it."""
    limit_threads(execution.with_threads().threads)  # before libraries read the number
    execution = execution.decided(resolved.problem, getattr(resolved.settings, "device", evaluation.AUTO))
    if execution.map == "scoop":  # this process is a worker too
        this_worker.claim(execution.devices, execution.threads)
    else:  # the device and threads of a worker, so that results are rounded as theirs are
        this_worker.assign(execution.places[0], execution.threads)
    return execution
