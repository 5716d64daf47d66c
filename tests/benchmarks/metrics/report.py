"""The best metrics of the enumeration on the report text, beside known scores; prints a Markdown table.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.metrics.report TABLE.jsonl
"""

from __future__ import annotations

import argparse
from pathlib import Path

from problems.language_model.problem import LanguageModel
from tests.benchmarks.metrics.compare import read
from tests.benchmarks.metrics.enumerate import SETTINGS, SPARSITY, genome, problem, representative

BEST = 5
"""The best metrics that are scored, each of another order."""

KNOWN = ("magnitude", "wanda", "ria", "gblm")
"""The scores beside them."""


def row(name: str, made: LanguageModel, candidate: list[float]) -> str:
    """A line with the perplexities of ``candidate`` on both texts."""
    fitness, texts = made.session.fitness, made.session.texts
    search, report = (fitness.perplexity(candidate, text.tokens) for text in (texts.search, texts.report))
    return f"| {name} | {search:,.1f} | {report:,.1f} |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="the .jsonl file of the enumeration")
    table, made = read(parser.parse_args().table), problem()
    print("| score | search text | report text |\n|---|---|---|", flush=True)
    print(row("dense", made, made.session.transform.dense), flush=True)
    for name in KNOWN:
        weights = LanguageModel.Settings.model_validate(SETTINGS | {"transforms": {"use": "weights", "score": name}})
        known = LanguageModel(weights)
        print(row(f"`{name}`", known, [SPARSITY] * len(known.genes)), flush=True)
    ranked = dict.fromkeys(representative(metric) for metric in sorted(table, key=table.__getitem__))
    for metric in list(ranked)[:BEST]:
        print(row(str(metric), made, genome(metric, len(made.genes))), flush=True)


if __name__ == "__main__":
    main()
