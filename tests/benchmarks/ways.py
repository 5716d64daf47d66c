"""What the ways of scoring a candidate have in common; and each in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from problems.language_model.settings import PruningSettings

WAYS = {
    "plain": "tests.benchmarks.plain:Plain",
    "evopress": "tests.benchmarks.evopress:EvoPress",
    "ours": "tests.benchmarks.ours:Ours",
    "compiled": "tests.benchmarks.ours:Compiled",
    "floor": "tests.benchmarks.floor:Floor",
}


class Way:
    """One way of turning a genome into a perplexity. Built in its own process, from settings alone."""

    def __init__(self, settings: PruningSettings) -> None:
        self.settings = settings

    def genes(self) -> int:
        """How many blocks there are."""
        raise NotImplementedError

    def prepare(self, genomes: list[list[float]]) -> None:
        """Do what is done once before a search that will meet ``genomes``; not timed."""

    def score(self, genome: list[float], windows: int | None = None) -> float:
        """The perplexity on the search text, or on its first ``windows``."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what earlier candidates left, so that the next one is unrelated."""

    def timed(self, genome: list[float], windows: int | None = None) -> tuple[float, float]:
        """Seconds, and the perplexity."""
        start = time.perf_counter()
        perplexity = self.score(genome, windows)
        return time.perf_counter() - start, perplexity

    def memory(self) -> dict[str, int]:
        """MiB: the highest resident set since :meth:`watch_memory` or the start, and the proportional set size."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
        pss = next(line for line in rollup if line.startswith("Pss:"))
        return {"peak_mib": int(status["VmHWM"].split()[0]) // 1024, "pss_mib": int(pss.split()[1]) // 1024}

    def watch_memory(self) -> None:
        """Begin anew to note the highest resident set."""
        Path("/proc/self/clear_refs").write_text("5")


class Worker:
    """A way in a process of its own: other ways' memory, threads and malloc settings do not touch it."""

    def __init__(self, way: str, settings: PruningSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, WAYS[way], settings.model_dump_json()))
        self._process.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any) -> Any:
        """The result of the way's ``method``. Raises RuntimeError if that raised."""
        self._pipe.send((method, arguments))
        kind, result = self._pipe.recv()
        if kind == "error":
            raise RuntimeError(result)
        return result

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: Connection, way: str, settings: str) -> None:
    """Build the way at once, so that several are built at a time; then answer until the pipe is closed."""
    module, name = way.split(":")
    try:
        served = getattr(import_module(module), name)(PruningSettings.model_validate_json(settings))
    except Exception as error:
        pipe.send(("error", f"{way}: {type(error).__name__}: {error}"))
        return
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("result", getattr(served, method)(*arguments)))
        except Exception as error:
            pipe.send(("error", f"{way}.{method}: {type(error).__name__}: {error}"))
