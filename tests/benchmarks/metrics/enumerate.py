"""Scores all 2,401 metrics of the bundled model at a uniform 45%, so that searches can be compared with the best.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.metrics.enumerate TABLE.jsonl

A line of the file is ``{"metric": [four names], "perplexity": value}``, on 1,024 tokens of the search text. Those
that order the weights of each row the same, but for rounding, are scored once. A file that is there already is
completed, so the command may be interrupted.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from evoprune import steps
from problems.language_model.problem import LanguageModel
from problems.transforms.metric import PARTS, Metric
from tests.benchmarks.results import Results

SPARSITY = 0.45
"""Of every matrix."""

TEXT = {"source": "bundled:python-docs", "window": 256}
"""Where texts come from."""

SETTINGS = {
    "model": "bundled:gpt2-mini",
    "dtype": "float32",
    "device": "cpu",
    "transforms": {"use": "metric", "min_sparsity": SPARSITY, "max_sparsity": SPARSITY},
    "budget": {"use": "weights", "removed": SPARSITY},
    "search_text": TEXT | {"split": "validation", "windows": 4},
    "report_text": TEXT | {"split": "test", "windows": None},
}
"""The problem: sparsities are fixed, so only the four genes of the metric are free."""


_POWERS = {"square": 2.0, "identity": 1.0, "sqrt": 0.5}
"""Transforms after which a factor of all values, and a common exponent of weights and inputs, change no order."""

_FACTORS = {"sum", "norm", "row", "mean", "one"}
"""The coefficients that are a number for each row of weights."""

_RATIOS = {
    1.0: ("identity", "identity"),
    2.0: ("square", "identity"),
    4.0: ("square", "sqrt"),
    0.5: ("identity", "square"),
    0.25: ("sqrt", "square"),
}
"""By the exponent of weights over that of inputs, the transforms that stand for all with that ratio."""


def representative(metric: Metric) -> Metric:
    """The metric that is scored for all that order the weights of each row as ``metric`` does."""
    weight, coefficient, inputs, other = metric
    if inputs in _POWERS:
        other = "one"
    if weight in _POWERS:
        coefficient = "one" if coefficient in _FACTORS else coefficient
        if inputs in _POWERS:
            weight, inputs = _RATIOS[_POWERS[weight] / _POWERS[inputs]]
    return Metric(weight, coefficient, inputs, other)


def problem() -> LanguageModel:
    """The problem of :data:`SETTINGS`."""
    return LanguageModel(LanguageModel.Settings.model_validate(SETTINGS))


def genome(metric: Metric, genes: int) -> list[float]:
    """That of ``metric``, of so many ``genes``."""
    return [*metric.genome, *[SPARSITY] * (genes - len(PARTS))]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="the .jsonl file to write or to complete")
    results, made = Results(parser.parse_args().table, SETTINGS), problem()
    known = {Metric(*line["metric"]): line["perplexity"] for line in results.lines}
    every = [Metric(*parts) for parts in product(*PARTS.values())]
    for metric in steps([metric for metric in every if metric not in known], "enumerating", "metric"):
        chosen = representative(metric)
        if chosen not in known:
            known[chosen], _ = made.session.fitness.value(genome(chosen, len(made.genes)))
        results.add({"metric": metric, "perplexity": known[chosen]})


if __name__ == "__main__":
    main()
