"""Perplexity of a causal language model over windows of tokens."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

_LOGITS_AT_ONCE = 2**24
"""How many logits are held at a time, at most: 64 MiB in float32."""


class Perplexity:
    """exp of the mean next-token loss over non-overlapping windows.

    Losses are taken in float32 and summed in float64. The logits of one forward pass are
    never held whole: the head is applied to some rows at a time.
    """

    def __init__(self, model: nn.Module, batch_tokens: int) -> None:
        self._model: Any = model
        self._batch_tokens = batch_tokens
        self._chunked = self._head_is_plain()

    def __call__(self, tokens: torch.Tensor) -> float:
        """The perplexity of ``tokens`` ``(windows, window)``, int64; infinity where it overflows."""
        total = 0.0
        for batch in tokens.split(max(1, self._batch_tokens // tokens.shape[1])):
            total += self._loss(batch.to(self._model.device))
        mean = total / (tokens.shape[0] * (tokens.shape[1] - 1))
        return math.exp(mean) if mean < 700 else math.inf if mean == mean else math.nan

    @torch.inference_mode()
    def _loss(self, tokens: torch.Tensor) -> float:
        """The sum of the next-token losses of ``tokens``, in nats."""
        targets = tokens[:, 1:].flatten()
        if not self._chunked:
            logits = self._model(input_ids=tokens, use_cache=False).logits[:, :-1].flatten(0, 1)
            return float(cross_entropy(logits.float(), targets, reduction="sum").double())
        hidden = self._model.base_model(input_ids=tokens, use_cache=False)[0][:, :-1].flatten(0, 1)
        head = self._model.get_output_embeddings()
        rows = max(1, _LOGITS_AT_ONCE // head.weight.shape[0])
        losses = [
            cross_entropy(head(some).float(), wanted, reduction="sum").double()
            for some, wanted in zip(hidden.split(rows), targets.split(rows), strict=True)
        ]
        return float(torch.stack(losses).sum())

    @torch.inference_mode()
    def _head_is_plain(self) -> bool:
        """Whether the model's logits are its head applied to its base's output, and no more.

        Some architectures scale or cap their logits; they are given the whole forward.
        """
        head = self._model.get_output_embeddings()
        if head is None or self._model.base_model is self._model:
            return False
        tokens = torch.arange(8, device=self._model.device)[None] % head.weight.shape[0]
        whole = self._model(input_ids=tokens, use_cache=False).logits
        ours = head(self._model.base_model(input_ids=tokens, use_cache=False)[0])
        return whole.shape == ours.shape and torch.allclose(whole, ours, rtol=1e-3, atol=1e-3)
