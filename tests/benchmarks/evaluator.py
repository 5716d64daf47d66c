"""Measure how fast candidates are scored, by EvoPress's method or by ours; print a row of a table.

Run it from the project's folder. Without options, the bundled model; or a GGUF file and texts of one's own:

    python -m tests.benchmarks.evaluator ours
    python -m tests.benchmarks.evaluator evopress --model MODEL.gguf --text wikitext-2/valid.txt --window 512
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.load import load_model
from evoprune.problems.language_model.models.settings import BUNDLED_MODEL
from evoprune.problems.language_model.problem import Pruning
from evoprune.problems.language_model.settings import PruningSettings
from evoprune.problems.language_model.texts.settings import BUNDLED_TEXT, TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from tests.benchmarks.common import head, row

STEP, SPREAD = 0.05, 3  # of the grid of genomes, which EvoPress's method needs; steps around the target at most


class EvoPress:
    """A file for each level of each matrix, of which the changed ones are loaded; a window at a time, all its logits.

    Its scripts keep ``.pth`` files; safetensors, mapped into memory, load no slower.
    """

    def __init__(self, settings: PruningSettings) -> None:
        self._model, tokenizer = load_model(settings.model_copy(update={"dtype": "bfloat16"}))
        self._model.set_attn_implementation("sdpa")
        self._tokens = cut_windows(settings.search_text, tokenizer, "search_text").tokens
        self._matrices = find_matrices(self._model)
        self._loaded: dict[str, float] = {}
        self._home = TemporaryDirectory(prefix="levels-")
        self.genes = 1 + self._matrices[-1].block

    def prepare(self, genomes: Sequence[Sequence[float]]) -> None:
        """Write the files of the levels in ``genomes``; not timed."""
        for matrix in self._matrices:
            magnitudes = matrix.weight.detach().abs()
            lowest_first = magnitudes.flatten().sort().values
            for level in {genome[matrix.block] for genome in genomes}:
                count = round(level * matrix.size)
                kept = magnitudes > lowest_first[count - 1] if count else torch.ones_like(magnitudes)
                save_file({"weight": matrix.weight * kept}, self._file(matrix.name, level))

    @torch.inference_mode()
    def score(self, genome: Sequence[float]) -> float:
        """Return the perplexity on the search text."""
        for matrix in self._matrices:
            level = genome[matrix.block]
            if self._loaded.get(matrix.name) != level:
                matrix.weight.data = load_file(self._file(matrix.name, level))["weight"]
                self._loaded[matrix.name] = level
        total = 0.0
        for window in self._tokens:
            logits = self._model(window[None]).logits[0, :-1]
            total += float(cross_entropy(logits.float(), window[1:], reduction="sum"))
        return math.exp(total / (self._tokens.shape[0] * (self._tokens.shape[1] - 1)))

    def forget(self) -> None:
        """Keep what is loaded: EvoPress reuses no states."""

    def _file(self, name: str, level: float) -> Path:
        return Path(self._home.name, f"{name}-{level}.safetensors")


class Ours:
    """The pruning problem with the settings given."""

    def __init__(self, settings: PruningSettings) -> None:
        self._problem = Pruning(settings)
        self.genes = len(self._problem.genes)

    def prepare(self, genomes: Sequence[Sequence[float]]) -> None:
        """Prepare nothing."""

    def score(self, genome: Sequence[float]) -> float:
        """Return the perplexity on the search text."""
        return self._problem.evaluate(genome).values[0]

    def forget(self) -> None:
        """Drop the states of earlier candidates: on a grid of few levels, many agree in their first block."""
        self._problem.session.fitness._states.clear()


METHODS: dict[str, type[EvoPress | Ours]] = {"evopress": EvoPress, "ours": Ours}


def moved(parent: Sequence[float], steps: Sequence[int], places: Sequence[int]) -> list[float]:
    """Move the genes at ``places`` by ``steps`` of the grid."""
    genome = list(parent)
    for place, step in zip(places, steps, strict=True):
        genome[place] = round(min(0.95, max(0.0, genome[place] + STEP * step)), 10)
    return genome


def unrelated(rng: Random, genes: int, sparsity: float) -> list[float]:
    """Draw levels evenly around ``sparsity``, then move them by steps until their mean is the target."""
    steps = [rng.randint(-SPREAD, SPREAD) for _ in range(genes)]
    while sum(steps):
        steps[rng.randrange(genes)] -= 1 if sum(steps) > 0 else -1
    return moved([sparsity] * genes, steps, range(genes))


def measure(name: str, settings: PruningSettings, rounds: int) -> None:
    """Score an unrelated candidate and a child, of 2 to 6 other genes, in each round, and print the seconds."""
    method, rng = METHODS[name](settings), Random(0)
    alone, parents = ([unrelated(rng, method.genes, settings.sparsity) for _ in range(rounds + 1)] for _ in range(2))
    children = []
    for number, parent in enumerate(parents):
        pairs = 1 + number % 3
        children.append(moved(parent, [1, -1] * pairs, rng.sample(range(method.genes), 2 * pairs)))
    method.prepare([*alone, *parents, *children])
    taken: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for seconds, before, genome in zip(taken, (None, parents[number]), (alone, children), strict=True):
            method.forget()
            if before:
                method.score(before)
            start = time.perf_counter()
            method.score(genome[number])
            seconds.append(time.perf_counter() - start)
    print(head("method", "unrelated: s", "children: s"))  # without the first round, which warms up
    print(row(name, *(f"{median(own[1:]):.2f} ({min(own[1:]):.2f} to {max(own[1:]):.2f})" for own in taken)))


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--model", default=BUNDLED_MODEL, help="as problem.model of an experiment")
    parser.add_argument("--text", default=BUNDLED_TEXT, help="a .txt file, or the bundled text")
    parser.add_argument("--window", type=int, default=256, help="tokens in a window")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    split = "validation" if given.text == BUNDLED_TEXT else None
    text = TextSettings(source=given.text, split=split, window=given.window, windows=given.windows)
    report = TextSettings(source=BUNDLED_TEXT, split="test")
    settings = PruningSettings(model=given.model, sparsity=0.45, search_text=text, report_text=report)
    measure(given.method, settings, given.rounds)


if __name__ == "__main__":
    main()
