"""Compare predictions of a budget of milliseconds with times: models of random genomes, in turn with the dense one.

::

    python -m tests.benchmarks.times RUN --models 10 --seconds 4

RUN is a finished run under ``milliseconds``, of genes with levels. Of each model about another share of the genes is
raised, each to any level: speed-ups as its ``measured.json`` predicts them, and as they are.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.problems.language_model.budgets.latency import compared


def drawn(transform: Any, share: float, rng: random.Random) -> list[float]:
    """A genome in which each gene is raised with the probability ``share``, to any of its levels."""
    return [float(rng.randint(0, int(gene.up))) if rng.random() < share else 0.0 for gene in transform.genes]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each is timed")
    options = parser.parse_args()
    problem: Any = Run.open(options.run).problem
    transform, budget, rng = problem.session.transform, problem.budget, random.Random(0)
    print("| predicted | measured |\n|---|---|")
    for number in range(options.models):
        genome = drawn(transform, (number + 1) / options.models, rng)
        dense, other = compared(transform, genome, budget.load, options.seconds)
        print(f"| {budget.most / budget.spent(genome):.2f} | {dense / other:.2f} |", flush=True)


if __name__ == "__main__":
    main()
