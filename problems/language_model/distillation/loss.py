"""The loss of distillation, some tokens at a time: tokens x vocabulary in float32 is held for a chunk only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from evoprune.problems.language_model.distillation.targets import DenseModel, Targets
from evoprune.problems.language_model.evaluation.measure import Measure, Objective, Perplexity
from evoprune.problems.language_model.models.forward import Forward, pieces
from evoprune.problems.language_model.models.token_mask import predictions, scored

PARTS = ("divergence", "cross_entropy")  # parts of the loss

Head = nn.Module | None  # turns rows into logits; None if a model's rows are logits already


def loss_on(
    tokens: torch.Tensor, student: Forward, teacher: DenseModel, cross_entropy: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of ``student`` on ``tokens`` ``(windows, window)``, and its :data:`PARTS` ``(2,)`` without weights."""
    taught = teacher.targets(tokens)
    rows, targets = scored(student.rows(tokens), tokens)
    return distillation(rows, student.head, targets, taught, cross_entropy)


class _Chunked(torch.autograd.Function):
    """Computes the gradient with the loss: the logits are gone when the backward pass comes.

    As in Liger Kernel (Hsu et al., 2024). The heads are not trained.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, head: Head, targets: torch.Tensor, taught: Targets, cross_entropy: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gradient = torch.empty_like(rows)
        sums = torch.zeros(2, device=rows.device)
        count = len(targets)
        weight: Any = rows.T if head is None else head.weight
        for part in pieces(count, len(weight)):
            inputs = rows[part].detach().requires_grad_()
            with torch.enable_grad():
                logits = inputs if head is None else head(inputs)
            log_q = logits.detach().float().log_softmax(-1)
            log_p = taught(part)
            p = log_p.exp()
            wanted = targets[part, None]
            sums[0] += (p * (log_p - log_q)).sum()
            sums[1] -= log_q.gather(1, wanted).sum()
            slope = log_q.exp_().mul_(1 + cross_entropy).sub_(p)  # of both losses in the logits
            slope.scatter_add_(1, wanted, slope.new_full(wanted.shape, -cross_entropy))
            gradient[part] = torch.autograd.grad(logits, inputs, slope.div_(count).to(logits.dtype))[0]
        ctx.save_for_backward(gradient)
        means = sums / count
        ctx.mark_non_differentiable(means)
        return means[0] + cross_entropy * means[1], means

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None, None, None


def distillation(
    rows: torch.Tensor, head: Head, targets: torch.Tensor, taught: Targets, cross_entropy: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss in nats a token, a scalar, and its parts ``(2,)``: KL(teacher || student), and cross-entropy.

    ``cross_entropy``: weight of the second part, 0 or more. ``targets`` ``(n,)``: the next tokens. ``rows``
    ``(n, width)``: input of the student's ``head``, which has a gradient; ``taught``: predictions of the teacher.
    Computed in float32.
    """
    loss, parts = _Chunked.apply(rows, head, targets, taught, cross_entropy)
    return loss, parts


class _Exact(Objective):
    """KL(teacher || student) over the whole vocabulary, and the next-token loss of the student."""

    def __init__(self, taught: Targets) -> None:
        self._taught = taught

    def add(self, logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:
        log_q, log_p = logits.log_softmax(-1), self._taught(slice(first, first + len(logits)))
        return torch.stack([(log_p.exp() * (log_p - log_q)).sum(), -log_q.gather(1, targets[:, None]).sum()])


def divergence(student: Forward, teacher: DenseModel, tokens: torch.Tensor) -> tuple[float, float]:
    """KL(teacher || student) in nats a token, exact, and the student's perplexity: both on ``tokens``.

    ``tokens``: ``(windows, window)``, on the CPU.
    """
    return measured(student, tokens, _Exact(teacher.kept_targets(tokens)))


def measured(student: Forward, tokens: torch.Tensor, objective: Objective) -> tuple[float, float]:
    """A divergence, by an ``objective`` that also sums the next-token loss, and the perplexity."""
    diverged, lost = Measure(student, None).totals(tokens, objective.add, label="measuring")
    count = predictions(tokens)
    return objective.value(diverged, count), Perplexity().value(lost, count)
