"""Compares searches of cuts and types together, and one after the other, at equal bytes of the whole file.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.joint.compare OUT.jsonl problems/gpt2_mini_joint.yaml \\
        --megabytes 1.6 2.2 2.7 --first-cut 0.25 0.45 --first-types 2.75 3.0 --tokens 60000

All ways choose from the genes of one problem, and may spend as many tokens. Nothing is recovered. A line of the file is
a way with a seed at a size; what it holds already is not computed again, so the command may be interrupted.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from operators.algorithm.level_costs import level_costs

from evoprune import Algorithm, Evaluate, Generation, Individual, InputError
from evoprune.experiment.resolve import resolve_file
from operators.algorithm.additive import additive
from operators.algorithm.equal_marginals import equal_marginals
from operators.algorithm.level_switching import level_switching
from operators.knapsack import Choices
from problems.language_model.problem import LanguageModel
from problems.transforms.gguf_types.transform import Types
from problems.transforms.transform import known_within
from tests.benchmarks.depth.account import Account, Progress, Report
from tests.benchmarks.joint.part import Part
from tests.benchmarks.results import Line, Results

Search = Callable[[Part, float], Algorithm]
"""Takes the share of the search text for costs, too."""

_IDLE = 12
"""Requests without a new genome after which a search is stopped: of cuts alone there are few."""


def _dp(part: Part, screening: float) -> Algorithm:
    """The knapsack of measured costs alone."""
    origin, choices = Individual(part.budget.extreme(most=True)), Choices(part.budget)
    yield Evaluate([origin], screening, probe=True)
    costs = yield from level_costs(origin, choices, screening)
    (child,) = part.toolbox().repair(Individual(choices.best(costs)))
    yield Evaluate([child])
    yield Generation([child])


def _after_dp(search: Callable[..., Algorithm], **more: Any) -> Search:
    """``search`` from what :func:`_dp` finds."""

    def way(part: Part, screening: float) -> Algorithm:
        start: Sequence[float] = []
        for step in _dp(part, screening):
            if isinstance(step, Generation):
                start = list(step.population[0])
            yield step
        given = more | ({"budget": part.budget} if search is equal_marginals else {})
        yield from search(part.toolbox(), initial_genomes=[start], **given)

    return way


def _additive(part: Part, screening: float) -> Algorithm:
    first = [part.budget.genes.low, *known_within(part, part.budget)]  # type: ignore[arg-type]
    return additive(part.toolbox(), budget=part.budget, initial_genomes=first, screening=screening)


SEARCHES: dict[str, Search] = {
    "additive": _additive,
    "measured costs, DP": _dp,
    "DP, then equal_marginals": _after_dp(equal_marginals),
    "DP, then level_switching": _after_dp(level_switching),
}

Way = tuple[str, Sequence[tuple[str, float, Search]]]
"""What is chosen in each step: ``cuts``, ``types`` or ``all``, under which limit in bytes, by which search."""


def ways(dense: float, limit: float, first_cut: Sequence[float], first_types: Sequence[float]) -> Iterator[Way]:
    """All ways to a ``limit``, for a file of ``dense`` bytes in 16 bits.

    Of two steps the first one cuts a share of these bytes, of ``first_cut``, or chooses types in a number of megabytes.
    """
    for name, search in SEARCHES.items():
        yield f"together: {name}", [("all", limit, search)]
    yield "types alone", [("types", limit, _additive)]
    yield "cuts alone", [("cuts", limit, _additive)]
    for share in first_cut:
        yield (
            f"cuts of {share:.1%}, then types",
            [("cuts", dense * (1 - share), _additive), ("types", limit, _additive)],
        )
    for megabytes in first_types:
        if 1e6 * megabytes > limit:
            yield (
                f"types in {megabytes:g} MB, then cuts",
                [("types", 1e6 * megabytes, _additive), ("cuts", limit, _additive)],
            )


def measured(
    problem: Any, steps: Sequence[tuple[str, float, Search]], tokens: int, seed: int, screening: float, say: Any
) -> Line | None:
    """What a way finds, of equal tokens for each of its steps; None where its limits are out of reach."""
    types = {at for at, gene in enumerate(problem.genes) if gene.kind == Types.__name__}
    every = range(len(problem.genes))
    places: dict[str, Collection[int]] = {"cuts": set(every) - types, "types": types, "all": every}
    genome, spent, start = problem.session.transform.dense, 0, time.process_time()
    random.seed(seed)
    for what, limit, search in steps:
        part = Part(problem, genome, places[what], limit)
        try:
            part.budget.check_reachable()
        except ValueError:
            return None
        account = Account(part, tokens // len(steps), say, _IDLE)  # type: ignore[arg-type]
        account.run(search(part, screening))
        spent += account.spent
        if account.best is None:
            return None
        genome = part.real(account.best)
    minutes = (time.process_time() - start) / 60
    return {
        "genome": genome,
        "tokens": spent,
        "minutes": round(minutes, 2),
        "search_kl": account.best.fitness.values[0],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("problem", help="the YAML file of a problem with cuts and types")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--tokens", type=int, default=60_000, help="of one way")
    parser.add_argument("--screening", type=float, default=0.125, help="share of the search text for costs")
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1.6, 2.2, 2.7], help="of the file")
    parser.add_argument(
        "--first-cut", type=float, nargs="*", default=[], metavar="SHARE", help="of 16-bit bytes, where cuts come first"
    )
    parser.add_argument(
        "--first-types", type=float, nargs="*", default=[], metavar="MB", help="of the file, where types come first"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", help="those whose names begin so; all if not given")
    given = parser.parse_args(arguments)
    settings = {key: getattr(given, key) for key in ("problem", "sets", "tokens", "screening")}
    results = Results(given.out, settings)
    try:
        unlimited = "problem.budget={use: bytes, at_most: 1000000000000}"
        resolved = resolve_file(given.problem, [*given.sets, "problem.recover=null", unlimited])
        problem = resolved.problem(resolved.settings)
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    assert isinstance(problem, LanguageModel)
    report = Report(problem, Progress())
    dense = problem.budget.most
    for seed in given.seeds:
        for megabytes in given.megabytes:
            for way, steps in ways(dense, 1e6 * megabytes, given.first_cut, given.first_types):
                chosen = any(way.startswith(start) for start in given.ways or [""])
                if not chosen or (seed != given.seeds[0] and way.endswith("DP")):
                    continue
                if not results.lacks(way=way, seed=seed, megabytes=megabytes):
                    continue
                line = measured(problem, steps, given.tokens, seed, given.screening, Progress()) or {}
                if line:
                    perplexity, divergence = report(line["genome"])
                    line |= {"bytes": problem.budget.spent(line["genome"]), "ppl": perplexity, "kl": divergence}
                    kinds = Counter(map(str, problem.genes.chosen(line["genome"])))
                    line |= {"dense_ppl": report.dense, "counts": dict(kinds)}
                results.add({"way": way, "seed": seed, "megabytes": megabytes} | line)
                print({key: line.get(key) for key in ("kl", "ppl", "bytes")} | {"way": way, "seed": seed}, flush=True)
    print(tables(results.lines))


def tables(lines: Sequence[Line]) -> str:
    """A table for each size, the least divergence first."""
    parts = []
    for megabytes in sorted({line["megabytes"] for line in lines}):
        groups: dict[str, list[Line]] = {}
        for line in lines:
            if line["megabytes"] == megabytes and "kl" in line:
                groups.setdefault(line["way"], []).append(line)
        rows = [f"{megabytes} MB\n", "| way | divergence | perplexity | tokens | minutes |", "|---|---|---|---|---|"]
        for way, group in sorted(groups.items(), key=lambda item: mean(line["kl"] for line in item[1])):
            each = ", ".join(f"{1e3 * line['kl']:.2f}" for line in group)
            rows.append(
                f"| {way} | {each} | {group[0]['ppl']:.2f} | {mean(line['tokens'] for line in group):,.0f} | "
                f"{mean(line['minutes'] for line in group):.1f} |"
            )
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
