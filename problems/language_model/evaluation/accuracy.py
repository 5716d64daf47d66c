"""The accuracy of a model on the lines of a task file, from one pass over each of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from evoprune.problems.language_model.evaluation.measure import Measure, Objective
from evoprune.problems.language_model.models.forward import predictions
from evoprune.problems.language_model.texts.tasks import Line, rows_of
from evoprune.problems.language_model.texts.windows import Windows


class _Likelihoods(Objective):
    """Keeps the loss of each token, and whether it is the likeliest one; the value is the mean loss."""

    def __init__(self, count: int) -> None:
        self.losses, self.likeliest = torch.empty(count), torch.empty(count, dtype=torch.bool)

    def add(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:
        losses, rows = cross_entropy(logits, targets, reduction="none"), slice(first, first + len(targets))
        self.losses[rows], self.likeliest[rows] = losses.cpu(), (logits.argmax(-1) == targets).cpu()
        return losses.sum()


def accuracy(windows: Windows, tokenizer: Any, measure: Measure) -> float:
    """Return the share of the lines of ``windows``, those of a task file, that the model of ``measure`` gets right.

    A line without choices is right if each token of its answers is the likeliest one, given those before it. Of
    choices, the one with the highest log-probability divided by its number of characters must be the right one, as in
    lm-evaluation-harness's ``acc_norm``.
    """
    variants = [variant for line in windows.lines for variant in line.variants]
    tokens = torch.from_numpy(rows_of(variants, windows.settings, tokenizer, windows.text.shape[1]))
    if windows.begin is not None:
        tokens = torch.cat([windows.tokens[:1, :1].expand(len(tokens), 1), tokens], dim=1)
    found = _Likelihoods(predictions(tokens))
    measure.value(tokens, found, label="measuring the accuracy")
    counts = [predictions(row) for row in tokens.split(1)]
    rows = zip(found.losses.split(counts), found.likeliest.split(counts), strict=True)
    right = [_is_right(line, [next(rows) for _ in line.variants]) for line in windows.lines]
    return sum(right) / len(right)


def _is_right(line: Line, rows: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Tell by the losses of the tokens of each variant of ``line``, and whether each is the likeliest one."""
    if not line.choices:
        return bool(rows[0][1].all())
    losses = [float(own.double().sum()) / len(choice) for choice, (own, _) in zip(line.choices, rows, strict=True)]
    return losses.index(min(losses)) == line.right
