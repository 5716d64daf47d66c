"""Objectives of a candidate: perplexity, or the divergence from the dense model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch.nn.functional import cross_entropy

from problems.models.device import sum_dtype


class Objective(ABC):
    """Adds up a loss over predictions, some rows of logits at a time; lower is better."""

    @abstractmethod
    def add(self, logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:
        """Return the summed loss, a scalar in nats, of ``logits`` ``(rows, vocabulary)``, float32.

        ``targets`` ``(rows,)``: the next tokens. ``first``: the number of predictions before these rows.
        """

    def value(self, total: float, predictions: int) -> float:
        return total / predictions


class Perplexity(Objective):
    """exp of the mean next-token loss; losses and sums over some rows in float32, the total in float64."""

    def add(self, logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:  # noqa: ARG002
        return cross_entropy(logits, targets, reduction="sum")

    def value(self, total: float, predictions: int) -> float:
        mean = total / predictions
        return math.exp(mean) if mean < 700 else math.inf if mean == mean else math.nan  # beyond, exp overflows


class Divergence(Objective):
    """Mean Kullback-Leibler divergence from the dense model's predictions, in nats per token.

    KL(dense || pruned) as in EvoPress (Sieberling et al., ICML 2025). The ``top`` largest of the dense model's
    probabilities are stored for each prediction, and all others as one. Merging outcomes can only lower a divergence,
    so this is a lower bound, exact if ``top`` is the vocabulary's size.
    """

    def __init__(self, predictions: int, top: int) -> None:
        self._log_p = torch.empty(predictions, top)
        self._rest = torch.empty(predictions)
        self._tokens = torch.empty(predictions, top, dtype=torch.int32)

    @property
    def known(self) -> dict[str, torch.Tensor]:
        """The stored ``log_p`` and ``top``, the tokens, ``(predictions, top)``; ``rest`` ``(predictions,)``."""
        return {"log_p": self._log_p, "top": self._tokens, "rest": self._rest}

    def learn(self, logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:  # noqa: ARG002
        """Store the dense model's ``logits`` ``(rows, vocabulary)``; return 0, as :meth:`add` would a loss."""
        rows = slice(first, first + logits.shape[0])
        log_p, tokens = logits.log_softmax(-1).topk(self._tokens.shape[1], sorted=False)
        self._log_p[rows], self._tokens[rows] = log_p.cpu(), tokens.to("cpu", torch.int32)
        self._rest[rows] = _log_rest(log_p).cpu()
        return torch.zeros(())

    def add(self, logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:  # noqa: ARG002
        rows = slice(first, first + logits.shape[0])
        log_p, rest_p = self._log_p[rows].to(logits.device), self._rest[rows].to(logits.device)
        tokens = self._tokens[rows].to(logits.device, torch.int64)
        log_q = logits.gather(1, tokens) - logits.logsumexp(-1, keepdim=True)
        inside = (log_p.exp() * (log_p - log_q)).sum(-1)
        outside = rest_p.exp() * (rest_p - _log_rest(log_q))
        return (inside + outside).to(sum_dtype(logits.device)).sum()


def _log_rest(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the probability outside ``log_probabilities`` ``(rows, top)``, float32, finite."""
    left = 1 - log_probabilities.to(sum_dtype(log_probabilities.device)).exp().sum(-1)
    return left.clamp_min(1e-9).log().float()
