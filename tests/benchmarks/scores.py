"""Measures what each score loses on a uniform allocation, masked and reconstructed; asserts nothing.

Run it from the project's folder. Without arguments, all scores on the bundled model:

    python -m tests.benchmarks.scores

A model and texts of one's own:

    python -m tests.benchmarks.scores --model SmolLM2-135M-Instruct.Q4_1.gguf --dtype bfloat16 \\
        --search wikitext-2/valid.txt --report wikitext-2/test.txt --window 1024 --windows 24 \\
        --scores wanda obs --sparsities 0.45 0.6 --ways masked score adaptive

Ways: ``masked`` cuts what the score says; ``score`` updates the remaining weights too;
``adaptive`` lets SparseGPT choose as it goes, whatever the score; ``best_score`` and
``best_adaptive`` go on to the best weights for the mask. Each line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

from evoprune.experiment.registry import names
from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.reconstruct.sequential import reconstruct
from problems.pruning.settings import BUNDLED_MODEL, BUNDLED_TEXT, SCORES, PruningSettings, TextSettings

_WAYS = ("masked", "score", "adaptive", "best_score", "best_adaptive")


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each score, way and sparsity that ``arguments`` ask for."""
    options = _parser().parse_args(arguments)
    for score in options.scores:
        for line in measure(score, options):
            print(json.dumps(line), flush=True)


def measure(score: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The perplexities on the report text of the uniform allocations under ``score``."""
    start = time.perf_counter()
    evaluator = Evaluator(_settings(score, options))
    yield {"score": score, "scope": options.scope, "ranked_after_seconds": round(time.perf_counter() - start, 1)}
    for way in options.ways:
        how = {
            "reconstruct_mask": "adaptive" if way.endswith("adaptive") else "score",
            "reconstruct": "least_squares" if way.startswith("best") else "sparsegpt",
        }
        evaluator.settings = evaluator.settings.model_copy(update=how)
        for sparsity in options.sparsities:
            start = time.perf_counter()
            genome = [sparsity] * len(evaluator.groups)
            evaluator.masks.apply(genome)
            if way != "masked":
                reconstruct(evaluator, genome)
            yield {
                "score": score,
                "scope": options.scope,
                "way": way,
                "sparsity": evaluator.masks.zeros() / evaluator.masks.total,
                "perplexity": evaluator.measure.perplexity(evaluator.report.tokens),
                "seconds": round(time.perf_counter() - start, 1),
            }


def _settings(score: str, options: argparse.Namespace) -> PruningSettings:
    search, report = (
        TextSettings(source=source, split=split, window=options.window, windows=windows)
        for source, split, windows in (
            (options.search, "validation", 8),
            (options.report, "test", options.windows),
        )
    )
    return PruningSettings(
        model=options.model,
        dtype=options.dtype,
        score=score,
        scope=options.scope,
        search_text=search,
        report_text=report,
        calibration_text=options.calibration and search.model_copy(update=options.calibration),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=BUNDLED_MODEL)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--search", default=BUNDLED_TEXT, help="calibrates, with its first windows")
    parser.add_argument("--report", default=BUNDLED_TEXT)
    parser.add_argument("--window", type=int, default=256, help="tokens in a window of the report text")
    parser.add_argument("--windows", type=int, default=None, help="of the report text")
    parser.add_argument(
        "--calibration", type=json.loads, default=None, help='of the search text, {"window": 512, "windows": 32} say'
    )
    parser.add_argument("--scores", nargs="+", default=sorted(names(SCORES)))
    parser.add_argument("--scope", default="auto")
    parser.add_argument("--sparsities", nargs="+", type=float, default=[0.45])
    parser.add_argument("--ways", nargs="+", default=["masked"], choices=_WAYS)
    return parser


if __name__ == "__main__":
    main()
