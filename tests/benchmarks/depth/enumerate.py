"""Scores every removal of a set from the bundled model, so that searches can be compared with the true optimum.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.depth.enumerate TABLE.jsonl

A line of the file is ``{"attention": mask, "mlp": mask, "perplexity": value}``; bit ``b`` of a mask is set where that
sublayer of block ``b`` is dropped. A file that is there already is completed, so the command may be interrupted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from functools import cached_property
from itertools import combinations
from pathlib import Path

from problems.evaluation.session import Fitness
from problems.language_model.problem import LanguageModel

BLOCKS = 12
"""The blocks of the bundled model."""

DROPPED = 3
"""How many attentions, and how many MLPs, are dropped in the pairs: a quarter of the blocks' weights."""

Pair = tuple[int, int]
"""The masks of the dropped attentions and of the dropped MLPs."""

_SAY_EVERY = 5.0
"""Seconds between two lines of progress."""


def whole_blocks() -> list[Pair]:
    """All subsets of the blocks."""
    return [(mask, mask) for mask in range(2**BLOCKS)]


def pairs(attentions: int = DROPPED, mlps: int = DROPPED) -> list[Pair]:
    """All ways of dropping that many ``attentions`` and ``mlps``."""
    return [(one, other) for one in _subsets(attentions) for other in _subsets(mlps)]


def depth_first(removals: Iterable[Pair]) -> list[Pair]:
    """In an order in which neighbours share the longest prefixes of blocks."""
    return sorted(
        {*removals}, key=lambda pair: [(pair[0] >> block & 1, pair[1] >> block & 1) for block in range(BLOCKS)]
    )


def genome(pair: Pair) -> list[float]:
    """The genome of the transform ``sublayers``: the attention and the MLP of block 0, of block 1 and so on."""
    return [float(mask >> block & 1) for block in range(BLOCKS) for mask in pair]


def problem() -> LanguageModel:
    """The bundled model in float32, on 1,024 tokens of the search text."""
    text = {"source": "bundled:python-docs", "split": "validation", "window": 256, "windows": 4}
    settings = {"device": "cpu", "dtype": "float32", "transforms": {"use": "sublayers"}, "search_text": text}
    return LanguageModel(LanguageModel.Settings.model_validate(settings))


class Table:
    """The perplexities of removals, kept in a file; what it lacks is scored with the model and added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
        self.known: dict[Pair, float] = {(line["attention"], line["mlp"]): line["perplexity"] for line in lines}

    @cached_property
    def _fitness(self) -> Fitness:
        return problem().session.fitness

    def value(self, pair: Pair) -> float:
        """The perplexity without ``pair``."""
        if pair not in self.known:
            self.known[pair], _ = self._fitness.value(genome(pair))
            line = {"attention": pair[0], "mlp": pair[1], "perplexity": self.known[pair]}
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return self.known[pair]

    def complete(self, removals: Iterable[Pair]) -> None:
        """Score what is lacking of ``removals``; says how far it is every few seconds."""
        missing = [pair for pair in depth_first(removals) if pair not in self.known]
        started = said = time.monotonic()
        for count, pair in enumerate(missing, start=1):
            self.value(pair)
            now = time.monotonic()
            if now - said > _SAY_EVERY or count == len(missing):
                said, speed = now, count / (now - started)
                left = (len(missing) - count) / speed
                print(f"{count:,} of {len(missing):,}, {speed:.0f} a second, {left:,.0f} s left", flush=True)


def _subsets(size: int) -> list[int]:
    return [sum(1 << block for block in chosen) for chosen in combinations(range(BLOCKS), size)]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="the .jsonl file to write or to complete")
    table = Table(parser.parse_args().table)
    table.complete(whole_blocks())
    table.complete(pairs())


if __name__ == "__main__":
    main()
