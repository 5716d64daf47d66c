"""The model with any type for each matrix, also types that are no level; and its real file in llama.cpp."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy
import torch

from problems.evaluation.objectives import Divergence, Perplexity
from problems.evaluation.session import Session
from problems.gguf.base import find_base
from problems.gguf.ggml import Encoded
from problems.gguf.runtime import checked
from problems.gguf.size import tensor_bytes
from problems.gguf.write import contents
from problems.models.blocks import Matrix
from problems.texts.source import load_text
from problems.texts.windows import predictions
from problems.transforms.encoding import base_of, encoded
from problems.transforms.gguf_types.levels import DENSE, importance_of, quantised_anew
from problems.transforms.gguf_types.matrices import Copy as Made
from problems.transforms.gguf_types.transform import Types
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
        found = importance_of(self._session.resident, self._session.texts.calibration.tokens)
        return {name: squares.numpy() for name, squares in found.items()}

    def scores(self, kinds: Sequence[str]) -> tuple[float, float]:
        """The perplexity, and the divergence from the dense model in nats a token."""
        return self._scored(kinds, self._divergence.add)

    def bytes(self, kinds: Sequence[str]) -> int:
        """The bytes of the file."""
        shapes = [tuple(matrix.rows(matrix.weight).shape) for matrix in self.transform.matrices]
        half = find_base(self._session.resident, base_of(self.transform)).half
        saved = sum(
            tensor_bytes(half, shape) - tensor_bytes(kind, shape)
            for kind, shape in zip(kinds, shapes, strict=True)
            if kind != DENSE
        )
        return int(self.transform.costs("bytes")[1]) - saved

    def in_llama(self, kinds: Sequence[str]) -> dict[str, Any]:
        """What llama.cpp finds of the real file, and its bytes."""
        self.transform.apply(self.transform.dense)
        base = find_base(self._session.resident, base_of(self.transform))
        encoded = {} if set(kinds) == {DENSE} else self._give(kinds)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.gguf"
            contents(self._session.resident.model, base, encoded).write(path)
            report = self._session.texts.report
            text = load_text(report.settings, "report_text")
            found = checked(path, text, report.tokens, report.begin is not None, self._divergence.known)
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
    def _give(self, kinds: Sequence[str]) -> Mapping[str, Encoded]:
        """Give the matrices ``kinds``; what a file holds of them."""
        transform = self.transform
        places = zip(transform._typed, kinds, transform.genes, strict=True)
        others = [(sheet, kind) for sheet, kind, gene in places if kind not in gene.levels]
        importance = self.importance if others else {}  # before anything is laid: it makes the model dense
        genome = [
            float(gene.levels.index(kind)) if kind in gene.levels else 0.0
            for kind, gene in zip(kinds, transform.genes, strict=True)
        ]
        transform.apply(genome)
        for sheet, kind in others:
            sheet.lay(kind, partial(self._in_type, sheet.matrix, kind, importance.get(sheet.matrix.name)))
        return encoded(transform)

    @staticmethod
    def _in_type(matrix: Matrix, kind: str, weighed: numpy.ndarray | None, weight: torch.Tensor) -> Made:
        return quantised_anew(matrix, weight, kind, None if weighed is None else torch.from_numpy(weighed))
