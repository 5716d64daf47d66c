"""A mutation by a language model against ``exchange``, at equal evaluations; prints a Markdown table.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.asked.server MODEL.gguf
    OMP_NUM_THREADS=1 python -m tests.benchmarks.asked.compare OUT.jsonl

Both mutate the best of ``problems/gpt2_mini.yaml``, in generations of four children. A file that is there already is
completed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from evoprune.api import run
from operators.mutation.asked import counts
from tests.benchmarks.results import Line, Results

FILE = "problems/gpt2_mini.yaml"
SEEDS = range(3)
MUTATIONS = {"`exchange`": "exchange", "`asked`": "asked, timeout: 300"}
SETTINGS = (
    "operators.algorithm={use: level_switching, offspring: 4, survivors: 4, screening: 1}",
    "problem.curve=[]",
    "problem.report_text.windows=16",
)


def measured(mutation: str, seed: int, evaluations: int) -> dict[str, Any]:
    """The perplexities of a run's result, and how its children were bred."""
    counts.clear()
    settings = [*SETTINGS, f"operators.mutate={{use: {mutation}}}", f"seed={seed}", "generations=1000"]
    with TemporaryDirectory() as folder:
        done = run(FILE, [*settings, f"budget={2048 * evaluations}"], runs_dir=folder)
        perplexities = done.result["perplexity"]
    return {"search": done.best.fitness[0], "report": perplexities["report"]["evolved"], "children": dict(counts)}


def table(lines: Sequence[Line]) -> str:
    """The mean over seeds, and each seed."""
    rows = ["| mutation | fitness | on the report text | children from answers |", "|---|---|---|---|"]
    for name in MUTATIONS:
        own = [line for line in lines if line["mutation"] == name]
        used, bred = (sum(count(line["children"]) for line in own) for count in (_used, _bred))
        cells = [_cell([line[key] for line in own]) for key in ("search", "report")]
        rows.append(f"| {name} | {' | '.join(cells)} | {f'{used} of {bred}' if bred else '-'} |")
    return "\n".join(rows)


def _used(children: dict[str, int]) -> int:
    return children.get("used", 0)


def _bred(children: dict[str, int]) -> int:
    return sum(children.values())


def _cell(values: Sequence[float]) -> str:
    return f"{mean(values):,.1f} ({', '.join(f'{value:,.1f}' for value in values)})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("--evaluations", type=int, default=17)
    given = parser.parse_args()
    results = Results(given.out, {"evaluations": given.evaluations})
    for seed in SEEDS:
        for name, mutation in MUTATIONS.items():
            if results.lacks(mutation=name, seed=seed):
                results.add({"mutation": name, "seed": seed, **measured(mutation, seed, given.evaluations)})
    print(table(results.lines))
    print(*(line["children"] for line in results.lines if line["children"]), sep="\n")


if __name__ == "__main__":
    main()
