"""Peak memory of each way, and what two processes on one host share. Imports no torch: its pages would count."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from random import Random
from typing import Any

from problems.language_model.settings import PruningSettings
from tests.benchmarks.candidates import unrelated
from tests.benchmarks.ways import Worker


def memory(settings: PruningSettings, candidates: int, reuse: Sequence[int]) -> dict[str, Any]:
    """MiB of each way: the peak of its resident set from its start, and while it scores ``candidates``.

    And the proportional set size (a page that several processes map counts in parts) of one
    process after as many candidates, and of two, by ``reuse_mib``.
    """
    ways = {}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, settings)) for name in ("plain", "evopress", "ours")}
        for name, worker in workers.items():
            genomes = _genomes(worker, settings, candidates)
            worker.ask("prepare", genomes)
            whole = worker.ask("memory")["peak_mib"]
            worker.ask("watch_memory")
            for genome in genomes:
                worker.ask("score", genome)
            scoring = worker.ask("memory")["peak_mib"]
            ways[name] = {"peak_mib": max(whole, scoring), "scoring_peak_mib": scoring}
    return {
        "ways": ways,
        "sharing": {mib: _sharing(settings.model_copy(update={"reuse_mib": mib}), candidates) for mib in reuse},
    }


def _sharing(settings: PruningSettings, candidates: int) -> dict[str, Any]:
    with Worker("ours", settings) as first:
        genomes = _genomes(first, settings, candidates)
        for genome in genomes:
            first.ask("score", genome)
        one = first.ask("memory")["pss_mib"]
        with Worker("ours", settings) as second:
            for genome in genomes:
                second.ask("score", genome)
            two = first.ask("memory")["pss_mib"] + second.ask("memory")["pss_mib"]
    return {"one_pss_mib": one, "two_pss_mib": two, "ratio": two / one}


def _genomes(worker: Worker, settings: PruningSettings, count: int) -> list[list[float]]:
    rng, genes = Random(0), worker.ask("genes")
    return [unrelated(rng, genes, settings.sparsity) for _ in range(count)]
