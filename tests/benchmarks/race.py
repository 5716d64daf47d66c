"""Candidates a second of each way, and the floor: in turns, so that all meet the same machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from statistics import median, quantiles
from typing import Any

from problems.language_model.settings import PruningSettings
from tests.benchmarks.candidates import child, unrelated
from tests.benchmarks.ways import Worker


def race(settings: PruningSettings, rounds: int, compiled: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """In each round every way scores an unrelated candidate, then a child whose parent it has just scored.

    Returns seconds and perplexities by way, the floor's seconds, and the ratios between them.
    """
    names = ["plain", "evopress", "ours"] + ["compiled"] * compiled
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, settings)) for name in names}
        floor = stack.enter_context(Worker("floor", settings))
        genes, *_ = [worker.ask("genes") for worker in (*workers.values(), floor)]  # all are built then
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
            say(f"{name}: ready; its first candidate took {seconds:.1f} s")
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
            say(f"round {index + 1} of {rounds}")
    return _summary(times, floors)


def _summary(times: dict[str, dict[str, list[tuple[float, float]]]], floors: list[dict[str, float]]) -> dict[str, Any]:
    ways = {
        name: {kind: _spread([seconds for seconds, _ in scored]) for kind, scored in kinds.items()}
        for name, kinds in times.items()
    }
    parts = {kind: _spread([floor[kind] for floor in floors]) for kind in floors[0]}
    products = parts["matrices"]["median"] + parts["head"]["median"]
    return {
        "ways": ways,
        "floor": parts,
        "products": products,
        "to_floor": {
            name: {
                "products": way["unrelated"]["median"] / products,
                "products and attention": way["unrelated"]["median"] / (products + parts["attention"]["median"]),
            }
            for name, way in ways.items()
            if name in ("ours", "compiled")
        },
        "faster_than": {
            name: {
                other: {
                    kind: median(theirs / ours for (theirs, _), (ours, _) in zip(times[other][kind], run, strict=True))
                    for kind, run in times[name].items()
                }
                for other in ("plain", "evopress")
            }
            for name in ways
            if name in ("ours", "compiled")
        },
        "perplexity": {name: [p for scored in kinds.values() for _, p in scored] for name, kinds in times.items()},
    }


def _spread(seconds: list[float]) -> dict[str, Any]:
    """The median and the quartiles; candidates a second from the median."""
    low, _, high = quantiles(seconds, method="inclusive") if len(seconds) > 1 else seconds * 3
    middle = median(seconds)
    return {"median": middle, "quartiles": [low, high], "per_second": 1 / middle, "seconds": seconds}
