"""Accuracy on a task file, by the losses of the choices."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from evoprune.problems.language_model.evaluation.measure import Measure, Objective
from evoprune.problems.language_model.models.forward import predictions
from evoprune.problems.language_model.texts.tasks import Line, token_rows
from evoprune.problems.language_model.texts.windows import Windows


class _Likelihoods(Objective):
    """Stores the loss of each token, and whether it is the likeliest one; the value is the mean loss."""

    def __init__(self, count: int) -> None:
        self.losses, self.likeliest = torch.empty(count), torch.empty(count, dtype=torch.bool)

    def add(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:
        losses, rows = cross_entropy(logits, targets, reduction="none"), slice(first, first + len(targets))
        self.losses[rows], self.likeliest[rows] = losses.cpu(), (logits.argmax(-1) == targets).cpu()
        return losses.sum()


Answer = tuple[float, bool]
"""The loss of an answer, in nats, and True if each of its tokens is the likeliest one after the tokens before."""


def variants_of(windows: Windows, tokenizer: Any) -> Tensor:
    """Return the tokens of ``windows`` of a task file: a row for each choice of each line."""
    variants = [variant for line in windows.lines for variant in line.variants]
    tokens = torch.from_numpy(token_rows(variants, windows.settings, tokenizer, windows.text.shape[1]))
    if windows.bos_token is not None:
        tokens = torch.cat([windows.tokens[:1, :1].expand(len(tokens), 1), tokens], dim=1)
    return tokens


def right_answers(lines: Sequence[Line], answers: Iterable[Answer]) -> list[bool]:
    """Return for each of ``lines`` whether it is answered right, by the answers of the rows of :func:`variants_of`.

    A line without choices is right if each token is the likeliest one. Otherwise the right choice must have the
    highest log-probability per character, as in lm-evaluation-harness's ``acc_norm``.
    """
    rows = iter(answers)
    return [_is_right(line, [next(rows) for _ in line.variants]) for line in lines]


def right_lines(windows: Windows, tokenizer: Any, measure: Measure) -> list[bool]:
    """Return for each line of ``windows`` of a task file whether the model of ``measure`` answers it right."""
    tokens = variants_of(windows, tokenizer)
    likelihoods = _Likelihoods(predictions(tokens))
    measure.value(tokens, likelihoods, label="measuring the accuracy")
    counts = [predictions(row) for row in tokens.split(1)]
    rows = zip(likelihoods.losses.split(counts), likelihoods.likeliest.split(counts), strict=True)
    return right_answers(windows.lines, ((float(loss.double().sum()), bool(best.all())) for loss, best in rows))


def accuracy(windows: Windows, tokenizer: Any, measure: Measure) -> float:
    """Return the share of the lines of ``windows`` that are answered right."""
    right = right_lines(windows, tokenizer, measure)
    return sum(right) / len(right)


def _is_right(line: Line, answers: Sequence[Answer]) -> bool:
    if not line.choices:
        return answers[0][1]
    losses = [loss / len(choice) for choice, (loss, _) in zip(line.choices, answers, strict=True)]
    return losses.index(min(losses)) == line.right
