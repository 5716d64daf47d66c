"""Minimising a function, or searching a problem, by one call.

Genomes are lists of the genes' values, for a gene with levels the level itself, or mappings by name.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.api.arguments import Operator, Operators, listed, problem_section, resolve_search
from evoprune.api.minimum import Minimum, State, StoppingRules
from evoprune.backends import evaluation, executor
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError, Stopped, as_tuple, blamed_on, cut_repr
from evoprune.console.progress import note, silent
from evoprune.experiment.explain import validated
from evoprune.experiment.resolve import Resolved
from evoprune.experiment.spec import AUTO
from evoprune.files.json_files import read_json
from evoprune.files.paths import path_of
from evoprune.interfaces.fingerprints import unchanged_by_calls
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.problem import Problem
from evoprune.interfaces.space import Space, frozen
from evoprune.records import recorded, run_folder
from evoprune.search.run import run_with_others
from evoprune.search.toolbox import problem_ref, with_default_operators


def minimize(
    f: Callable[..., Any] | Problem,
    space: Space | Sequence[Gene] = (),
    *,
    algorithm: Operator = AUTO,
    operators: Operators | None = None,
    plugins: Sequence[str] = (),
    population: int | None = None,
    evaluations: int = 1000,
    objectives: int = 1,
    maximise: bool = False,
    batch: bool = False,
    noisy: bool = False,
    constraints: Sequence[Callable[..., Any]] | Callable[..., Any] = (),
    initial: Sequence[Any] = (),
    seed: int = 0,
    workers: int | Execution | Executor = 1,
    folder: str | Path | None = None,
    progress: bool = False,
    callback: Callable[[State], Any] = lambda _: None,
    target: float | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    max_failures: float = 0.5,
) -> Minimum:
    """Minimise ``f``, a function of the genes' values; or search a :class:`evoprune.Problem`.

    >>> from evoprune import Gene, minimize
    >>> found = minimize(lambda x, y: x**2 + (y == "odd"), [Gene("x", -1.0, 1.0), Gene.choice("y", ["odd", "even"])])
    >>> found["y"]
    'even'

    ``f`` is called with the genes' values by name where its parameters are the genes' names, or else with their list;
    so are ``constraints``, also by some of the names, each satisfied where it returns 0 or less: genomes that violate
    them less are better, whatever their values. ``batch``: all take an array (candidates, genes), or by name arrays
    (candidates,), and return (candidates,) values, or (candidates, objectives). ``noisy``: ``f`` gives one genome
    different values. It draws from :mod:`random` or ``numpy.random``, which are seeded so that the candidates of a
    generation draw the same numbers; the value found is a mean over samples of its own, with its standard error, which
    take a tenth of the evaluations. ``maximise``: whether more is better.
    ``objectives``: the count of numbers that ``f`` returns. ``algorithm``, ``population``: by default chosen
    by genes, objectives and limit, and so that the ``operators`` are used. ``plugins``: modules whose attributes
    ``algorithm`` and ``operators`` may name as ``module:attribute``; functions need none. ``initial``: genomes to begin
    with, as mappings by name, less the inactive genes, or lists. ``workers``: processes on this host, or an
    :class:`evoprune.backends.execution.Execution`, which import ``f`` by its name; or a
    :class:`concurrent.futures.Executor` of other processes that can pickle ``f``. ``folder``: of the run. The same call
    continues it after an interruption, one with more ``evaluations`` lengthens it, and processes that make the call at
    the same time share the work; a function of other code, or with other values in its closure, defaults or
    attributes, is refused. None keeps none.
    ``progress``: write the run's lines to standard error.

    The search ends after so many ``evaluations``, by default of different genomes (for a problem, units of work);
    ``seconds``; once the first value is as good as ``target``; after ``patience`` generations without a better one; or
    once ``callback``, called after each, returns True. At the end the best is evaluated once more: a
    :class:`RuntimeWarning` tells of a function with noise, whose best value is then partly luck.

    An exception of ``f``, or a value that is not finite, is a failure, worse than any value. Raises
    :class:`evoprune.InputError` for impossible settings, :class:`evoprune.Stopped` where more than the share
    ``max_failures`` of the evaluations fail.
    """
    rules = {"callback": callback, "target": target, "seconds": seconds, "patience": patience}
    checked = validated(StoppingRules, rules | {"evaluations": evaluations}, "minimize")
    place = None if folder is None else path_of(folder, "folder").absolute()  # a function may change the directory
    with blamed_on("workers"):
        execution = executor.execution_of(workers)
    execution = replace(execution, figures=False, shared=place is not None)  # the result draws figures on demand
    more: dict[str, Any] = {"objectives": objectives, "maximise": maximise, "batch": batch, "noisy": noisy}
    constraints = [constraints] if callable(constraints) else as_tuple(constraints, "constraints")
    for argument, function in (("f", f), *(("constraints", each) for each in constraints)):
        if not (callable(function) or (function is f and isinstance(f, Problem))):
            raise InputError(f"expected a function, got {cut_repr(function)}", argument)
    if isinstance(f, Problem):
        more["initial"] = initial
    else:
        space = space if isinstance(space, Space) else Genes(space)
        more["initial"] = listed(initial, space)
    problem, own = problem_section(f, space, constraints, execution, more)
    modules = [*as_tuple(plugins, "plugins"), *own]
    keys = {"budget": evaluations, "seed": seed, "max_failures": max_failures}
    resolved = resolve_search(problem, algorithm, operators, population, modules, **keys)
    searched = f if isinstance(f, Problem) else resolved.problem(resolved.settings)
    resolved = with_default_operators(resolved, searched, bred=True)
    with ExitStack() as stack:
        stack.callback(executor.given.clear)
        if progress is not True:
            stack.enter_context(silent())
        note(f"algorithm: {resolved.operators['algorithm'].use}, population: {resolved.experiment.population}")
        if place is not None:
            stack.enter_context(unchanged_by_calls([type(f) if isinstance(f, Problem) else f, *constraints]))
            return _minimum(resolved, place, execution, checked)
        try:
            kept = stack.enter_context(tempfile.TemporaryDirectory())
        except OSError as error:
            raise Stopped(f"cannot make a temporary folder: {error}; give a folder=") from None
        return replace(_minimum(resolved, Path(kept, "run"), execution, checked), folder=None)


def _minimum(resolved: Resolved, folder: Path, execution: Execution, rules: StoppingRules) -> Minimum:
    run_with_others(resolved, folder, execution, rules)
    kind, path = resolved.problem.Result, folder / run_folder.RESULT
    if rules.scores:  # of a search that ran now
        result = validated(kind, read_json(path) | {"folder": folder}, str(path))
    else:
        result = recorded.read_result(folder, kind)
    run = Run(folder, resolved, result)
    if not rules.scores:  # the run was finished before
        before = read_json(folder / run_folder.ENVIRONMENT).get("fingerprint")
        now = (before if isinstance(before, dict) else {}) | run.problem.fingerprint()
        recorded.refuse_change(before, now, "fingerprint", folder)
    space, signs = run.problem.space, run.problem.signs
    front = [(space.chosen(frozen(point.genome)), tuple(point.fitness)) for point in run.result.front or ()]
    if not (scores := rules.scores):
        past = recorded.read(folder, signs, space)
        scores = past.candidates | (past.finalists if run.problem.noisy else {})
    if len(scores) != run.result.evaluations:
        raise InputError("holds other candidates than those of the result", str(folder / run_folder.HISTORY))
    history = [(space.chosen(genome), evaluation.values) for (genome, *_), evaluation in scores.items()]
    best, algorithm = run.best, run.resolved.operators["algorithm"].use
    if rules.scores and not run.problem.noisy:
        _warn_of_noise(run)
    found = space.chosen(frozen(best.genome)), tuple(best.fitness), run.result.evaluations
    names = space.names if isinstance(space, Genes) else []
    error = run.result.standard_error
    return Minimum(*found, front, folder, best.violation, names, history, algorithm, error)


def _warn_of_noise(run: Run) -> None:
    """Warn if the problem of ``run`` gives its best genome another score now."""
    (again,) = evaluation.evaluate(problem_ref(run.resolved), [frozen(run.best.genome)])
    if not all(map(partial(math.isclose, rel_tol=1e-9), again.values, run.best.fitness)):
        now, then = (", ".join(f"{value:.6g}" for value in values) for values in (again.values, run.best.fitness))
        warnings.warn(
            f"the function answers differently to the same genome ({then}, now {now}): the best value is partly luck; "
            "noisy=True has it scored on several samples",
            RuntimeWarning,
            stacklevel=4,
        )
