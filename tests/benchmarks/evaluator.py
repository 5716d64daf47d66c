"""Measure how fast candidates are scored against other ways of doing it, in turns; print JSON, and assert no times.

Run it from the project's folder. Without arguments, the bundled model; or a GGUF file and texts of one's own:

    python -m tests.benchmarks.evaluator --json performance.json
    python -m tests.benchmarks.evaluator --model SmolLM2-135M-Instruct.Q4_1.gguf \\
        --text wikitext-2/valid.txt --window 512 --windows 8 --compile
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any

from evoprune.problems.language_model.models.settings import BUNDLED_MODEL
from evoprune.problems.language_model.settings import PruningSettings
from evoprune.problems.language_model.texts.settings import BUNDLED_TEXT, TextSettings
from tests.benchmarks.ways import WAYS

STEP = 0.05  # between two levels of the grid of genomes, which EvoPress's way needs

_SPREAD = 3  # steps that an unrelated candidate's genes lie around the target, at most, before they are balanced


def unrelated(rng: Random, genes: int, sparsity: float) -> list[float]:
    """Levels drawn evenly around ``sparsity``, then moved by steps until their mean is that of the target."""
    steps = [rng.randint(-_SPREAD, _SPREAD) for _ in range(genes)]
    while sum(steps):
        steps[rng.randrange(genes)] -= 1 if sum(steps) > 0 else -1
    return _moved([sparsity] * genes, dict(enumerate(steps)))


def child(rng: Random, parent: list[float], changed: int | None = None) -> list[float]:
    """``parent`` with ``changed`` genes (2 to 6, drawn if None) moved by a step or two; the mean stays."""
    changed = min(changed or rng.randint(2, 6), len(parent))
    steps = [1, -1] * (changed // 2) if changed % 2 == 0 else [2, -1, -1] + [1, -1] * (changed // 2 - 1)
    rng.shuffle(steps)
    return _moved(parent, dict(zip(rng.sample(range(len(parent)), changed), steps, strict=True)))


def _moved(genome: list[float], steps: dict[int, int]) -> list[float]:
    moved = [round(gene + STEP * steps.get(index, 0), 10) for index, gene in enumerate(genome)]
    return [min(0.95, max(0.0, gene)) for gene in moved]


class Worker:
    """A way in a process of its own: other ways' threads and malloc settings do not touch it."""

    def __init__(self, way: str, settings: PruningSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, _build, (way, settings.model_dump_json()))

    def ask(self, method: str, *arguments: Any) -> Any:
        """The result of the way's ``method``."""
        return self._pool.submit(_call, method, arguments).result()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


_served: Any = None  # the way of this process


def _build(way: str, settings: str) -> None:
    global _served
    _served = WAYS[way](PruningSettings.model_validate_json(settings))


def _call(method: str, arguments: Sequence[Any]) -> Any:
    return getattr(_served, method)(*arguments)


def race(settings: PruningSettings, rounds: int, compiled: bool) -> dict[str, Any]:
    """In each round every way scores an unrelated candidate, then a child whose parent it has just scored.

    Returns seconds and perplexities by way, the floor's seconds, and the ratios between them.
    """
    names = ["plain", "evopress", "ours"] + ["compiled"] * compiled
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, settings)) for name in names}
        floor = stack.enter_context(Worker("floor", settings))
        genes, *_ = [worker.ask("genes") for worker in (*workers.values(), floor)]  # builds all
        rng = Random(0)
        alone = [unrelated(rng, genes, settings.sparsity) for _ in range(rounds + 1)]
        parents = [unrelated(rng, genes, settings.sparsity) for _ in range(rounds + 1)]
        children = [child(rng, parent, 2 + index % 5) for index, parent in enumerate(parents)]
        times: dict[str, dict[str, list[tuple[float, float]]]]
        times = {name: {"unrelated": [], "children": []} for name in names}
        floors: list[dict[str, float]] = []
        for name, worker in workers.items():
            worker.ask("prepare", alone + parents + children)
            seconds, _ = worker.ask("timed", alone[-1])
            worker.ask("score", children[-1])
            _say(f"{name}: ready; its first candidate took {seconds:.1f} s")
        floor.ask("seconds")
        for index in range(rounds):
            for name, worker in workers.items():
                worker.ask("forget")
                times[name]["unrelated"].append(worker.ask("timed", alone[index]))
            floors.append(floor.ask("seconds"))
            for name, worker in workers.items():
                worker.ask("forget")
                if name != "plain":  # which remembers nothing
                    worker.ask("score", parents[index])
                times[name]["children"].append(worker.ask("timed", children[index]))
            _say(f"round {index + 1} of {rounds}")
    return _summary(times, floors)


def _summary(times: dict[str, dict[str, list[tuple[float, float]]]], floors: list[dict[str, float]]) -> dict[str, Any]:
    ways = {
        name: {kind: _spread([seconds for seconds, _ in scored]) for kind, scored in kinds.items()}
        for name, kinds in times.items()
    }
    parts = {kind: _spread([floor[kind] for floor in floors]) for kind in floors[0]}
    products = parts["matrices"]["median"] + parts["head"]["median"]
    ours = [name for name in ways if name in ("ours", "compiled")]
    return {
        "ways": ways,
        "floor": parts,
        "products": products,
        "to_products_and_attention": {
            name: ways[name]["unrelated"]["median"] / (products + parts["attention"]["median"]) for name in ours
        },
        "faster_than": {
            name: {
                other: {
                    kind: median(theirs / own for (theirs, _), (own, _) in zip(times[other][kind], run, strict=True))
                    for kind, run in times[name].items()
                }
                for other in ("plain", "evopress")
            }
            for name in ours
        },
        "perplexity": {name: [p for scored in kinds.values() for _, p in scored] for name, kinds in times.items()},
    }


def _spread(seconds: list[float]) -> dict[str, Any]:
    """The median and the quartiles; candidates a second from the median."""
    low, _, high = quantiles(seconds, method="inclusive") if len(seconds) > 1 else seconds * 3
    middle = median(seconds)
    return {"median": middle, "quartiles": [low, high], "per_second": 1 / middle, "seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=BUNDLED_MODEL, help="as problem.model of an experiment")
    parser.add_argument("--text", default=BUNDLED_TEXT, help="a .txt file, or the bundled text")
    parser.add_argument("--window", type=int, default=256, help="tokens in a window")
    parser.add_argument("--windows", type=int, default=8, help="windows")
    parser.add_argument("--sparsity", type=float, default=0.45, help="of the prunable weights")
    parser.add_argument("--rounds", type=int, default=6, help="turns of the race")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile as one more way")
    parser.add_argument("--json", type=Path, help="the file of all figures")
    options = parser.parse_args(arguments)
    split = "validation" if options.text == BUNDLED_TEXT else None
    settings = PruningSettings(
        model=options.model,
        sparsity=options.sparsity,
        search_text=TextSettings(source=options.text, split=split, window=options.window, windows=options.windows),
        report_text=TextSettings(source=BUNDLED_TEXT, split="test"),
    )
    figures = json.dumps(race(settings, options.rounds, options.compile), indent=1)
    print(figures)
    if options.json:
        options.json.write_text(figures + "\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
