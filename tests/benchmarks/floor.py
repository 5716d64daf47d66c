"""The floor: the bare time of the matrix products that scoring a candidate cannot do without."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from problems.language_model.problem import Pruning
from problems.language_model.settings import PruningSettings
from problems.models.attention import _QUERIES
from problems.models.forward import _LOGITS_AT_ONCE
from tests.benchmarks.ways import Way

Product = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Two factors, and where their product goes."""


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
        """See :meth:`Way.genes`."""
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
        """As in :func:`problems.models.attention.blocked_attention`: keys after a block are not read."""
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
