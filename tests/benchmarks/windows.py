"""How many calibration windows a score needs: uniform pruning with scores from more and more of them.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.windows OUT.jsonl PROBLEM.yaml --scores wanda gblm \\
        --windows 8 16 32 64 128 --seeds 0 1 --set problem.model=MODEL

A seed chooses the windows. The table says, for each score and number of windows, the perplexity of the uniform model on
the report text (mean over seeds, and the range), and the CPU seconds of the statistics and ranks.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from evoprune import InputError
from evoprune.cache import FOLDER
from evoprune.experiment.resolve import resolve_file
from problems.pruning import Pruning
from problems.pruning.settings import uniform_name
from tests.benchmarks.results import Line, Results


def measured(problem: str, sets: Sequence[str], score: str, windows: int, seed: int) -> Line:
    """The uniform model with ``score`` from ``windows`` calibration windows."""
    text = [f"windows={windows}", "sampling=random", f"sampling_seed={seed}"]
    own = [f"problem.score={score}", "problem.reconstruct=none", *(f"problem.calibration_text.{each}" for each in text)]
    with tempfile.TemporaryDirectory() as cache:  # nothing is known from before
        os.environ[FOLDER] = cache
        resolved = resolve_file(problem, [*sets, *own])
        start = time.process_time()
        made = resolved.problem(resolved.settings)
        seconds = time.process_time() - start
        assert isinstance(made, Pruning)
        session, uniform = made.session, made.references()[uniform_name(made.settings.sparsity)]
        perplexity = session.fitness.perplexity(uniform, session.texts.report.tokens)
    return {"score": score, "windows": windows, "seed": seed, "perplexity": perplexity, "cpu_seconds": seconds}


def table(lines: Sequence[Line]) -> str:
    """A row for each score, a column for each number of windows."""
    counts = sorted({line["windows"] for line in lines})
    rows = ["| score | " + " | ".join(f"{count} windows" for count in counts) + " |", "|---" * (len(counts) + 1) + "|"]
    for score in dict.fromkeys(line["score"] for line in lines):
        cells = []
        for count in counts:
            found = [line for line in lines if (line["score"], line["windows"]) == (score, count)]
            each = [line["perplexity"] for line in found]
            seconds = mean([line["cpu_seconds"] for line in found]) if found else 0
            cells.append(f"{mean(each):.2f} ({min(each):.2f} to {max(each):.2f}; {seconds:.0f} s)" if each else "-")
        rows.append(f"| `{score}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("problem", help="the YAML file of a problem that prunes weights")
    parser.add_argument("--scores", nargs="+", default=["wanda", "gblm"])
    parser.add_argument("--windows", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    try:
        results = Results(given.out, {"problem": given.problem, "sets": given.sets})
        for windows in given.windows:
            for score in given.scores:
                for seed in given.seeds:
                    if results.lacks(score=score, windows=windows, seed=seed):
                        results.add(measured(given.problem, given.sets, score, windows, seed))
    except (InputError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(table(results.lines))


if __name__ == "__main__":
    main()
