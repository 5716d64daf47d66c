"""The model with any type for each matrix, also types that are no level; and its real file in llama.cpp."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy
import torch

from problems.language_model.evaluation.objectives import Divergence, Perplexity
from problems.language_model.gguf import ggml
from problems.language_model.gguf.find import find_base
from problems.language_model.gguf.runtime import checked
from problems.language_model.gguf.size import tensor_bytes
from problems.language_model.gguf.write import contents
from problems.language_model.session import Session
from problems.language_model.text.windows import predictions
from problems.language_model.transform import Encoded
from problems.quantization.types.levels import DENSE
from problems.quantization.types.matrices import parameter_of
from problems.quantization.types.transform import Types
from tests.benchmarks.depth.account import _both

_PERPLEXITY = Perplexity()


class Kinds:
    """Gives the resident model of ``session`` types, and scores it on the report text; ``dense``: its perplexity."""

    def __init__(self, session: Session) -> None:
        self._session, tokens = session, session.texts.report.tokens
        self.transform: Types = session.transform  # type: ignore[assignment]
        top = min(session.settings.kl_top, session.resident.forward.vocabulary)
        self._divergence = Divergence(predictions(tokens), top)
        self.dense, _ = self._scored([DENSE] * len(self.transform.matrices), self._divergence.learn)

    @cached_property
    def importance(self) -> dict[str, numpy.ndarray]:
        """Of the inputs of the blocks' matrices, by their names: the importance matrix."""
        self.transform.apply(self.transform.dense)
        return {name: found.numpy() for name, found in self.transform._importance().items()}

    def scores(self, kinds: Sequence[str]) -> tuple[float, float]:
        """The perplexity, and the divergence from the dense model in nats a token."""
        return self._scored(kinds, self._divergence.add)

    def bytes(self, kinds: Sequence[str]) -> int:
        """The bytes of the file."""
        shapes = [tuple(matrix.rows(matrix.weight).shape) for matrix in self.transform.matrices]
        half = find_base(self._session.resident, self.transform.base).half
        saved = sum(
            tensor_bytes(half, shape) - tensor_bytes(kind, shape)
            for kind, shape in zip(kinds, shapes, strict=True)
            if kind != DENSE
        )
        return int(self.transform.byte_prices()[1]) - saved

    def in_llama(self, kinds: Sequence[str]) -> dict[str, Any]:
        """What llama.cpp finds of the real file, and its bytes."""
        self.transform.apply(self.transform.dense)
        base = find_base(self._session.resident, self.transform.base)
        encoded = {} if set(kinds) == {DENSE} else self._give(kinds)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.gguf"
            contents(self._session.resident.model, base, encoded).write(path)
            found = checked(path, self._session.texts.report, self._divergence)
            return {key: found.get(key) for key in ("perplexity", "divergence", "failure")} | {
                "bytes": path.stat().st_size
            }

    def _scored(self, kinds: Sequence[str], other: Any) -> tuple[float, float]:
        self._give(kinds)
        tokens, found = self._session.texts.report.tokens, []

        def add(logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:
            return _both(found, other, logits, targets, first)

        loss = self._session.fitness.measure.total(tokens, add)
        count = predictions(tokens)
        return _PERPLEXITY.value(loss, count), float(torch.stack(found).cpu().double().sum()) / count

    @torch.no_grad()
    def _give(self, kinds: Sequence[str]) -> dict[str, Encoded]:
        """Give the matrices ``kinds``; what a file holds of them."""
        transform = self.transform
        genome = [
            float(gene.levels.index(kind)) if kind in gene.levels else 0.0
            for kind, gene in zip(kinds, transform.genes, strict=True)
        ]
        transform.apply(genome)
        encoded = dict(transform.encoded())
        for place, (kind, matrix, gene) in enumerate(zip(kinds, transform.matrices, transform.genes, strict=True)):
            if kind in gene.levels:
                continue
            rows = matrix.rows(matrix.weight)
            data = ggml.quantize(rows.float().numpy(), kind, self.importance.get(matrix.name))
            rows.copy_(torch.from_numpy(ggml.dequantize(data, kind, rows.shape[1])))
            encoded[parameter_of(matrix)] = Encoded(kind, data)
            transform._now[place] = kind  # so that the next genome restores it
        return encoded
