"""A run from a resolved experiment to a folder with its result."""

from __future__ import annotations

import random
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy
from deap import base

from evoprune import run_folder, toolbox
from evoprune.errors import InputError, Stopped
from evoprune.evaluation import load
from evoprune.figures import draw_convergence
from evoprune.generational import generational
from evoprune.history import History, finite, read
from evoprune.individual import Individual
from evoprune.problem import Outcome, Problem
from evoprune.progress import Progress
from evoprune.resolve import Resolved
from evoprune.scoring import Scorer
from evoprune.trial import try_out


def run(resolved: Resolved, folder: Path) -> dict[str, Any]:
    """Run the experiment and leave everything in ``folder``, which is made; return the result.

    The problem is loaded and the operators are tried before anything is written. Raises
    :class:`InputError` for the user's input, :class:`Stopped` when the run ends early, and
    lets ``KeyboardInterrupt`` through; ``status.json`` tells which it was.
    """
    problem = load(toolbox.reference(resolved))
    tools = toolbox.build(resolved, problem)
    try_out(tools, resolved)
    run_folder.create(folder)
    try:
        run_folder.write_status(folder, "running")
        run_folder.write_config(folder, resolved.config())
        run_folder.write_json(folder / "environment.json", run_folder.environment())
        result = _search(resolved, problem, tools, folder)
        run_folder.write_json(folder / "result.json", result)
        run_folder.write_status(folder, "done")
    except BaseException as error:
        run_folder.write_status(folder, _state(error), str(error) or type(error).__name__)
        raise
    return result


def _state(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "stopped" if isinstance(error, (Stopped, InputError)) else "failed"


def _search(resolved: Resolved, problem: Problem, tools: base.Toolbox, folder: Path) -> dict[str, Any]:
    experiment = resolved.experiment
    random.seed(experiment.seed)
    numpy.random.seed(experiment.seed)  # for DEAP's operators that draw from numpy
    history = History(folder / "history.jsonl")
    progress = Progress(experiment.generations, problem.work_unit)
    scorer = Scorer(tools, history, progress, experiment.max_failures)

    def after_generation(number: int, population: list[Individual]) -> None:
        line = _generation_line(number, population)
        history.write(line | {"evaluations": scorer.evaluations, "seconds": round(time.perf_counter() - start, 6)})
        progress.generation(number, line["median"])

    try:
        references = scorer.references(problem.references())
        start = time.perf_counter()
        best = generational(tools, experiment, scorer, problem.starting_genomes(), after_generation)
        seconds = time.perf_counter() - start
    finally:
        progress.close()
        history.close()
    evaluation = scorer.evaluation_of(best)
    if evaluation.failure:
        raise Stopped(f"every candidate failed; the last one: {evaluation.failure}")
    result = {
        "best": {"genome": list(best), "fitness": list(best.fitness.values), "candidate": best.ident},
        problem.work_unit: scorer.work,
        "evaluations": scorer.evaluations,
        "seconds": seconds,
        "seconds_evaluating": scorer.busy,
        "failures": scorer.failures,
        "seed": experiment.seed,
    }
    draw_convergence(list(read(folder / "history.jsonl")), problem.fitness_label, folder)
    return result | problem.finish(Outcome(list(best), evaluation, references), folder)


def _generation_line(number: int, population: list[Individual]) -> dict[str, Any]:
    """The spread of the first objective over ``population``; null where a value is infinite."""
    best = max(population, key=lambda individual: individual.fitness)
    worst = min(population, key=lambda individual: individual.fitness)
    values = [individual.fitness.values[0] for individual in population]
    return {
        "generation": number,
        "best": finite(best.fitness.values[0]),
        "median": finite(median(values)),
        "quartiles": [finite(q) for q in quantiles(values, method="inclusive")[::2]],
        "worst": finite(worst.fitness.values[0]),
    }
