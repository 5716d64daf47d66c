"""Compare searches with those of others, at equal tokens and limits; prints Markdown tables.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.compare OUT.jsonl PROBLEM.yaml --set problem.model=MODEL \\
        --limits problem.budget.at_most=4.5,5.0 --tokens 300000 --seeds 0 1 2 --ways additive EvoPress

PROBLEM drops attentions and MLPs (ways of others: structure.py), chooses GGUF types (gguf_types.py) or both (joint.py).
A line of OUT.jsonl is a way with a seed under a limit; what the file holds already is not computed again, so the
command may be interrupted. Tokens are those run through the model for the search; those of a gradient count three
times. A search stops where the next genome would cost more than is left, or when it has asked for known genomes many
times in a row. Its result is the best on all the search text within the budget. Ways that draw nothing at random run
with the first seed only. Nothing is recovered.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

from evoprune import Algorithm, Evaluate, Individual, InputError
from evoprune.experiment.resolve import resolve_file
from evoprune.operators.algorithm.additive import additive, level_costs
from evoprune.operators.algorithm.equal_marginals import equal_marginals
from evoprune.operators.algorithm.greedy import greedy
from evoprune.operators.algorithm.level_switching import level_switching
from evoprune.operators.algorithm.random_search import random_search
from evoprune.problems.language_model.evaluation.measure import Add, Divergence, Perplexity
from evoprune.problems.language_model.models.marks import predictions
from evoprune.problems.language_model.problem import LanguageModel
from tests.benchmarks import gguf_types, joint, structure
from tests.benchmarks.results import Line, Results
from tests.benchmarks.search import Search, Way, one


def measured_costs(search: Search) -> Algorithm:
    """The knapsack of measured costs, which ``additive`` starts from."""
    dense = Individual(search.budget.extreme(most=True))
    yield Evaluate([dense], search.screening, probe=True)
    costs = yield from level_costs(dense, search.choices, search.screening)
    (child,) = search.given["toolbox"].repair(Individual(search.choices.best(costs)))
    yield from one(child)


def _random(search: Search) -> Algorithm:
    return random_search(search.given["toolbox"], population=16, initial_genomes=[])


ONCE: dict[str, Way] = {
    "uniform": lambda search: one(search.problem.references()["uniform"]),
    "measured costs, DP": measured_costs,
}
"""Ways that draw nothing at random."""

SEEDED: dict[str, Way] = {
    "additive": lambda search: additive(**search.given, budget=search.budget),
    "equal_marginals": lambda search: equal_marginals(**search.given, budget=search.budget),
    "greedy": lambda search: greedy(**search.given, budget=search.budget),
    "level_switching": lambda search: level_switching(**search.given),
    "random": _random,
}


def ways_of(problem: LanguageModel, names: Sequence[str]) -> tuple[Mapping[str, Way], Mapping[str, Way]]:
    """Ways for ``problem``: those that draw nothing at random, and the others, with those that only ``names`` has."""
    uses = tuple(chosen.use for chosen in problem.settings.transforms)
    others = {("sublayers",): structure, ("types",): gguf_types}.get(uses, joint)
    named = {name: way for name in names if (way := joint.named(name))} if others is joint else {}
    return ONCE | others.ONCE, SEEDED | others.SEEDED | named


class Report:
    """Score genomes on the report text; ``dense`` is the dense model's perplexity."""

    def __init__(self, problem: LanguageModel) -> None:
        self._session = problem.session
        tokens = self._session.texts.report.tokens
        top = min(problem.settings.kl_top, self._session.resident.forward.vocabulary)
        batches = tokens.split(max(1, self._session.fitness.measure.batch_tokens // tokens.shape[1]))
        self._batches = [(batch, Divergence(predictions(batch), top)) for batch in batches]
        self._predictions = predictions(tokens)
        self.dense, _ = self._total(self._session.transform.dense, lambda divergence: divergence.learn)

    def __call__(self, genome: Sequence[float]) -> tuple[float, float]:
        """The perplexity, and the divergence from the dense model in nats a token."""
        return self._total(genome, lambda divergence: divergence.add)

    def _total(self, genome: Sequence[float], other: Callable[[Divergence], Add]) -> tuple[float, float]:
        self._session.transform.apply(genome)
        loss, found = 0.0, 0.0
        for batch, divergence in self._batches:
            sums = self._session.fitness.measure.totals(batch, other(divergence))
            loss, found = loss + sums[-1], found + sums[0]
        return Perplexity().value(loss, self._predictions), found / self._predictions


def measured(search: Search, way: Way, report: Report, seed: int) -> Line:
    """Run a search, and score its result."""
    search.session.fitness._states.clear()  # so that no search is faster for the states of the one before
    random.seed(seed)
    start = time.process_time()
    search.run(way(search))
    line: Line = {"tokens": search.spent, "minutes": round((time.process_time() - start) / 60, 2)}
    if search.best is None:
        return line
    perplexity, divergence = report(search.best)
    line |= {"size": search.budget.spent(search.best), "search": search.best.fitness.values[0]}
    return line | {"ppl": perplexity, "kl": divergence, "dense_ppl": report.dense, "genome": list(search.best)}


def tables(lines: Sequence[Line]) -> str:
    """A table for each limit, the least divergence first."""
    parts = []
    for limit in dict.fromkeys(line["limit"] for line in lines):
        groups: dict[str, list[Line]] = {}
        for line in lines:
            if line["limit"] == limit:
                groups.setdefault(line["way"], []).append(line)
        rows = sorted(_row(way, group) for way, group in groups.items())
        dense = next((f"; dense perplexity {line['dense_ppl']:.3f}" for line in lines if "dense_ppl" in line), "")
        head = "| way | divergence of each seed | perplexity of each seed | size | tokens | CPU minutes |"
        parts.append("\n".join([f"{limit}{dense}\n", head, "|---|---|---|---|---|---|", *(row for _, row in rows)]))
    return "\n\n".join(parts)


def _row(way: str, group: Sequence[Line]) -> tuple[float, str]:
    found = [line for line in group if "kl" in line]
    spent = f"{mean(line['tokens'] for line in group):,.0f} | {mean(line['minutes'] for line in group):.2f}"
    if not found:
        return math.inf, f"| {way} | out of reach | | | {spent} |"
    divergences = ", ".join(f"{line['kl']:.5f}" for line in found) + f" ({len(found)} found)" * (found != group)
    perplexities = ", ".join(f"{line['ppl']:.2f}" for line in found)
    size = f"{mean(line['size'] for line in found):,.6g}"
    return mean(line["kl"] for line in found), f"| {way} | {divergences} | {perplexities} | {size} | {spent} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("problem", help="the YAML file of a problem on a language model")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--limits", required=True, metavar="KEY=VALUE,...", help="the budget's limits")
    parser.add_argument("--tokens", type=int, default=300_000, help="of one search")
    parser.add_argument("--screening", type=float, default=0.125, help="share of the search text")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", help="names, or their beginnings; all if not given")
    given = parser.parse_args(arguments)
    key, _, values = given.limits.partition("=")
    try:
        settings = ("problem", "sets", "tokens", "screening")
        results = Results(given.out, {name: getattr(given, name) for name in settings})
        for value in values.split(","):
            _complete(results, f"{key}={value}", given)
    except (InputError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(tables(results.lines))


def _complete(results: Results, limit: str, given: argparse.Namespace) -> None:
    resolved = resolve_file(given.problem, [*given.sets, "problem.recover=null", limit])
    problem = resolved.problem(resolved.settings)
    assert isinstance(problem, LanguageModel)
    report = Report(problem)
    once, seeded = ways_of(problem, given.ways or [])
    for seed in given.seeds:
        for name, way in (once | seeded).items():
            chosen = given.ways is None or any(name.startswith(start) for start in given.ways)
            again = name in once and seed != given.seeds[0]
            if chosen and not again and results.lacks(way=name, seed=seed, limit=limit):
                line = measured(Search(problem, given.tokens, given.screening), way, report, seed)
                results.add({"way": name, "seed": seed, "limit": limit} | line)
                print(f"{limit}, {name}, seed {seed}: divergence {line.get('kl')}", flush=True)


if __name__ == "__main__":
    main()
