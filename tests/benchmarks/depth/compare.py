"""How many evaluations searches need to find the optimum that an enumeration knows; prints a Markdown table.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.depth.compare TABLE.jsonl

The table is made by ``tests.benchmarks.depth.enumerate``. What a search asks for beyond it is scored with the model and
added to it: the steps of ``greedy``, which drop less, and other ratios of attentions to MLPs.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from evoprune import Algorithm
from operators.algorithm.greedy import greedy
from operators.algorithm.level_switching import level_switching
from operators.algorithm.random_search import random_search
from tests.benchmarks.depth.enumerate import Table
from tests.benchmarks.depth.evopress import evopress, sliding_window
from tests.benchmarks.depth.spaces import Space
from tests.benchmarks.known import evaluations

SEEDS = range(10)
NEAR = 1.001
"""A perplexity up to this many times the optimum's is near it."""

_MOST = 0.25
"""A search is stopped after this share of the enumeration, if not before."""

Search = Callable[[Space], Algorithm]

SEARCHES: dict[str, Search] = {
    "`level_switching`": lambda space: level_switching(space.toolbox(), initial_genomes=[], screening=1.0),
    "`greedy`": lambda space: greedy(space.toolbox(), budget=space.budget, initial_genomes=[], screening=1.0),
    "EvoPress": lambda space: evopress(space.toolbox(), space.kinds),
    "sliding window": lambda space: sliding_window(space.toolbox(), space.windows()),
    "random": lambda space: random_search(space.toolbox(), population=16, initial_genomes=[]),
}


def found(algorithm: Algorithm, space: Space, table: Table, goals: Sequence[float], most: int) -> list[int | None]:
    """The distinct genomes that ``algorithm`` asked for until one on the budget is at most each goal; None: never."""
    return evaluations(algorithm, space.pair, table.value, goals, most, probes=False)


def compare(space: Space, title: str, table: Table, names: Sequence[str] = tuple(SEARCHES)) -> str:
    """A Markdown table of the evaluations of each search. Raises SystemExit where the enumeration is not complete."""
    candidates, size = space.candidates(), space.enumerated()
    if missing := [pair for pair in candidates if pair not in table.known]:
        raise SystemExit(f"{title}: the table lacks {len(missing):,} of {len(candidates):,} removals")
    best = min(candidates, key=lambda pair: table.known[pair])
    optimum = table.known[best]
    lines = [
        f"{title}: {size:,} enumerated; optimum {optimum:.3f}, without attentions {_blocks(best[0])} and MLPs "
        f"{_blocks(best[1])}",
        "",
        "| search | optimum: median | most | share | found | within 0.1%: median | most | share | found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        results = []
        for seed in SEEDS:
            random.seed(seed)
            results.append(found(SEARCHES[name](space), space, table, [optimum, NEAR * optimum], int(_MOST * size)))
        lines.append(f"| {name} | " + " | ".join(_cells(each, size) for each in zip(*results, strict=True)) + " |")
    return "\n".join(lines)


def _cells(counts: Sequence[int | None], size: int) -> str:
    reached = [count for count in counts if count is not None]
    if not reached:
        return f"- | - | - | 0 of {len(counts)}"
    return f"{median(reached):,.0f} | {max(reached):,} | {max(reached) / size:.2%} | {len(reached)} of {len(counts)}"


def _blocks(mask: int) -> str:
    return ", ".join(str(block) for block in range(mask.bit_length()) if mask >> block & 1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="the .jsonl file of the enumeration")
    parser.add_argument("--protect", type=int, nargs="*", default=[], help="blocks that are always kept")
    given = parser.parse_args()
    table, shut = Table(given.table), frozenset(given.protect)
    print(compare(Space(1, protected=shut), "Whole blocks", table), end="\n\n", flush=True)
    print(compare(Space(2, protected=shut), "Three attentions and three MLPs", table), end="\n\n", flush=True)
    ours = [name for name in SEARCHES if name in ("`level_switching`", "`greedy`")]
    print(compare(Space(2, True, shut), "A free ratio, against the best of equal numbers", table, ours), flush=True)


if __name__ == "__main__":
    main()
