"""How many evaluations searches need to come near the best of all metrics; prints a Markdown table.

::

    python -m tests.benchmarks.metrics.compare TABLE.jsonl

The table is made by ``tests.benchmarks.metrics.enumerate``; no model is loaded.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

from deap import base

from evoprune import Additive, Algorithm, Genes, Individual
from operators.algorithm.additive import additive
from operators.algorithm.generational import generational
from operators.algorithm.level_switching import level_switching
from operators.algorithm.random_search import random_search
from operators.algorithm.steady_state import steady_state
from operators.algorithm.surrogate import surrogate
from operators.crossover.uniform import uniform
from operators.mutation.gaussian import gaussian
from operators.repair.shift import shift
from operators.selection.tournament import tournament
from operators.survival.elitist import elitist
from problems.transforms.metric import PARTS, Metric
from tests.benchmarks.known import evaluations

SEEDS = range(3)
NEAR = (1.05, 1.01, 1.0)
"""How many times the best perplexity is reached."""

Table = Mapping[Metric, float]
"""The perplexity of each metric."""

GENES = Genes(Metric.genes())
BUDGET = Additive(GENES, [0.0] * len(PARTS), 0.0)
"""Nothing is spent, so all metrics keep it."""


def toolbox() -> base.Toolbox:
    """What the searches use; mutations may change a part to any other."""
    tools = base.Toolbox()
    tools.register("individual", lambda: Individual(GENES.random()))
    tools.register("select", tournament, tournsize=3)
    tools.register("mate", uniform)
    tools.register("mutate", gaussian, genes=GENES, sigma=0.3, limit=1.0, indpb=0.4)
    tools.register("repair", partial(shift, genes=GENES, budget=BUDGET))
    tools.register("survive", elitist, fraction=0.25)
    return tools


_BRED = {"population": 24, "mate_probability": 0.7, "mutate_probability": 0.9}
_SCREENED = {"offspring": 8, "screening": 1.0}

SEARCHES: dict[str, Callable[..., Algorithm]] = {
    "`generational`": partial(generational, **_BRED),
    "`steady_state`": partial(steady_state, **_BRED),
    "`level_switching`": partial(level_switching, **_SCREENED),
    "`level_switching`, 8 parents": partial(level_switching, parents=8, **_SCREENED),
    "`surrogate`": partial(surrogate, parents=8, **_SCREENED),
    "`additive`": partial(additive, budget=BUDGET, **_SCREENED),
    "`random_search`": partial(random_search, population=24),
}
"""Each begins with Wanda's metric."""


def read(path: Path) -> dict[Metric, float]:
    """The table in ``path``. Raises SystemExit where it is not complete."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    table = {Metric(*line["metric"]): line["perplexity"] for line in lines}
    if missing := sum(Metric(*parts) not in table for parts in product(*PARTS.values())):
        raise SystemExit(f"{path} lacks {missing:,} metrics; complete it by tests.benchmarks.metrics.enumerate")
    return table


def found(algorithm: Algorithm, table: Table, goals: Sequence[float]) -> list[int | None]:
    """The different metrics that ``algorithm`` asked for until one is at most each goal; None: never."""
    return evaluations(algorithm, Metric.of, table.__getitem__, goals, len(table), probes=True)


def compare(table: Table) -> str:
    """A Markdown table of the evaluations of each search: of each seed, and their median."""
    best = min(table, key=table.__getitem__)
    goals = [near * table[best] for near in NEAR]
    lines = [
        f"{len(table):,} metrics; the best {table[best]:.1f}, {best}; Wanda {table[Metric()]:.1f}",
        "",
        "| search | " + " | ".join(f"within {near - 1:.0%}" if near > 1 else "the best" for near in NEAR) + " |",
        "|---" * (len(NEAR) + 1) + "|",
    ]
    for name, search in SEARCHES.items():
        counts = []
        for seed in SEEDS:
            random.seed(seed)
            counts.append(found(search(toolbox(), initial_genomes=[Metric().genome]), table, goals))
        lines.append(f"| {name} | " + " | ".join(map(_cell, zip(*counts, strict=True))) + " |")
    return "\n".join(lines)


def _cell(counts: Sequence[int | None]) -> str:
    each = ", ".join(f"{count:,}" if count else "-" for count in counts)
    return each if None in counts else f"{median(counts):,.0f} ({each})"  # type: ignore[type-var]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="the .jsonl file of the enumeration")
    print(compare(read(parser.parse_args().table)))


if __name__ == "__main__":
    main()
