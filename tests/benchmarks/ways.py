"""Ways to score a candidate: plain, EvoPress's and ours; and the floor, the products that none can do without."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from evoprune.problems.language_model.models.attention import _QUERIES
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.forward import _LOGITS_AT_ONCE
from evoprune.problems.language_model.models.load import load_model
from evoprune.problems.language_model.problem import Pruning
from evoprune.problems.language_model.settings import PruningSettings
from evoprune.problems.language_model.texts.windows import cut_windows


class Way:
    """One way of turning a genome into a perplexity. Built in its own process, from settings alone."""

    def __init__(self, settings: PruningSettings) -> None:
        self.settings = settings

    def genes(self) -> int:
        """How many blocks there are."""
        raise NotImplementedError

    def prepare(self, genomes: list[list[float]]) -> None:
        """Do what is done once before a search that will meet ``genomes``; not timed."""

    def score(self, genome: list[float]) -> float:
        """The perplexity on the search text."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what earlier candidates left, so that the next one is unrelated."""

    def timed(self, genome: list[float]) -> tuple[float, float]:
        """Seconds, and the perplexity."""
        start = time.perf_counter()
        perplexity = self.score(genome)
        return time.perf_counter() - start, perplexity


class Plain(Way):
    """The dense weights copied, a threshold sought in each matrix, the whole forward with all its logits."""

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        self._model, tokenizer = load_model(settings.model_copy(update={"dtype": "float32"}))
        self._tokens = cut_windows(settings.search_text, tokenizer, "search_text").tokens
        self._matrices = find_matrices(self._model)
        self._dense = {matrix.name: matrix.weight.clone() for matrix in self._matrices}
        self._batch = 1

    def genes(self) -> int:
        return 1 + self._matrices[-1].block

    def prepare(self, genomes: list[list[float]]) -> None:
        """Find out which batch is faster here."""
        self._batch = self._faster()

    def score(self, genome: list[float]) -> float:
        for matrix in self._matrices:
            matrix.weight.copy_(self._dense[matrix.name])
            prune(matrix.weight, genome[matrix.block])
        return perplexity(self._model, self._tokens, self._batch)

    def _faster(self) -> int:
        """Windows in a batch: eight (or all) or one, whichever runs faster here."""
        tokens = self._tokens[:8]
        seconds = {}
        perplexity(self._model, tokens[:1])  # the first is slower
        for batch in (len(tokens), 1):
            start = time.perf_counter()
            perplexity(self._model, tokens, batch)
            seconds[batch] = time.perf_counter() - start
        return min(seconds, key=lambda batch: seconds[batch])


@torch.no_grad()
def prune(weight: torch.Tensor, sparsity: float) -> None:
    """Zero the share ``sparsity`` of ``weight`` with the lowest magnitudes, by a threshold."""
    count = round(sparsity * weight.numel())
    if count:
        threshold = weight.abs().flatten().kthvalue(count).values
        weight[weight.abs() <= threshold] = 0


@torch.inference_mode()
def perplexity(model: Any, tokens: torch.Tensor, batch: int = 1) -> float:
    """By the model's own forward; ``batch`` windows of ``tokens`` ``(windows, window)`` at a time."""
    total = 0.0
    for part in tokens.split(batch):
        logits = model(part).logits[:, :-1].flatten(0, 1)
        total += float(cross_entropy(logits.float(), part[:, 1:].flatten(), reduction="sum"))
    return math.exp(total / (tokens.shape[0] * (tokens.shape[1] - 1)))


class EvoPress(Way):
    """The changed matrices are loaded from their files; bfloat16, a window at a time, all its logits.

    Their scripts keep ``.pth`` files; safetensors, mapped into memory, load no slower.
    """

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        self._model, tokenizer = load_model(settings.model_copy(update={"dtype": "bfloat16"}))
        self._model.set_attn_implementation("sdpa")
        self._tokens = cut_windows(settings.search_text, tokenizer, "search_text").tokens
        self._matrices = find_matrices(self._model)
        self._loaded = dict.fromkeys((matrix.name for matrix in self._matrices), 0.0)
        self._home = TemporaryDirectory(prefix="levels-")

    def genes(self) -> int:
        return 1 + self._matrices[-1].block

    def prepare(self, genomes: list[list[float]]) -> None:
        """Write the files of the levels in ``genomes``; must come before anything is scored."""
        for matrix in self._matrices:
            magnitudes = matrix.weight.detach().abs()
            lowest_first = magnitudes.flatten().sort().values
            for level in {genome[matrix.block] for genome in genomes}:
                count = round(level * matrix.size)
                kept = magnitudes > lowest_first[count - 1] if count else torch.ones_like(magnitudes)
                self._file(matrix.name, level).parent.mkdir(exist_ok=True)
                save_file({"weight": matrix.weight * kept}, self._file(matrix.name, level))

    def score(self, genome: list[float]) -> float:
        for matrix in self._matrices:
            level = genome[matrix.block]
            if self._loaded[matrix.name] != level:
                matrix.weight.data = load_file(self._file(matrix.name, level))["weight"]
                self._loaded[matrix.name] = level
        return perplexity(self._model, self._tokens)

    def _file(self, name: str, level: float) -> Path:
        return Path(self._home.name) / name / f"{level}.safetensors"


class Ours(Way):
    """The pruning problem with the settings given."""

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        self._problem = Pruning(settings)

    def genes(self) -> int:
        return len(self._problem.genes)

    def score(self, genome: list[float]) -> float:
        return self._problem.evaluate(genome).values[0]

    def forget(self) -> None:
        """On a grid of few levels, unrelated candidates would often agree in their first block by chance."""
        self._problem.session.fitness._states.clear()


class Compiled(Ours):
    """The same with ``compile: true``."""

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings.model_copy(update={"compile": True}))


Product = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Two factors, and the place of their product."""


class Floor(Way):
    """The products alone: the same weights, dtype, batches and chunks, random inputs, results written in place."""

    def __init__(self, settings: PruningSettings) -> None:
        super().__init__(settings)
        session = Pruning(settings.model_copy(update={"reuse_mib": 0})).session
        session.transform.apply([settings.sparsity] * len(session.transform.genes))
        self._model, matrices = session.resident.model, session.resident.matrices
        self._blocks = 1 + matrices[-1].block
        self._weights = [matrix.weight if matrix.transposed else matrix.weight.T for matrix in matrices]
        tokens = session.texts.search.tokens
        self._window = tokens.shape[1]
        windows = max(1, session.fitness.measure.batch_tokens // self._window)
        self._batches = [len(batch) for batch in tokens.split(windows)]
        self._buffers: dict[tuple[object, ...], torch.Tensor] = {}
        self._kinds = {
            "matrices": list(self._matrix_products()),
            "head": list(self._head_products()),
            "attention": list(self._attention_products()),
        }

    def genes(self) -> int:
        return self._blocks

    @torch.inference_mode()
    def seconds(self) -> dict[str, float]:
        """Of the prunable matrices' products, the head's, and the two of causal attention, over the search text."""
        seconds = {}
        for kind, products in self._kinds.items():
            start = time.perf_counter()
            for left, right, result in products:
                torch.matmul(left, right, out=result)
            if self._model.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[kind] = time.perf_counter() - start
        return seconds

    def _matrix_products(self) -> Iterator[Product]:
        for windows in self._batches:
            rows = windows * self._window
            for weight in self._weights:
                yield self._buffer("in", rows, weight.shape[0]), weight, self._buffer("out", rows, weight.shape[1])

    def _head_products(self) -> Iterator[Product]:
        head = self._model.get_output_embeddings().weight.T
        chunk = max(1, _LOGITS_AT_ONCE // head.shape[1])
        for windows in self._batches:
            rows = windows * (self._window - 1)
            for first in range(0, rows, chunk):
                count = min(chunk, rows - first)
                yield self._buffer("in", count, head.shape[0]), head, self._buffer("logits", count, head.shape[1])

    def _attention_products(self) -> Iterator[Product]:
        """As in ``models.attention.blocked_attention``: keys after a block are not read."""
        config = self._model.config
        heads = config.num_attention_heads
        shared = getattr(config, "num_key_value_heads", None) or heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        for windows in self._batches * self._blocks:
            for start in range(0, self._window, _QUERIES):
                end = min(self._window, start + _QUERIES)
                rows = heads // shared * (end - start)
                queries = self._buffer("queries", windows * shared, rows, size)
                keys = self._buffer("keys", windows * shared, end, size)
                scores = self._buffer("scores", windows * shared, rows, end)
                yield queries, keys.transpose(1, 2), scores
                yield scores, keys, self._buffer("mixed", windows * shared, rows, size)

    def _buffer(self, use: str, *shape: int) -> torch.Tensor:
        """Of the same shape and use, one for all: as in a model, what was just written is met again."""
        if (use, shape) not in self._buffers:
            self._buffers[use, shape] = torch.rand(shape, device=self._model.device).to(self._model.dtype) / 8
        return self._buffers[use, shape]


WAYS = {"plain": Plain, "evopress": EvoPress, "ours": Ours, "compiled": Compiled, "floor": Floor}
