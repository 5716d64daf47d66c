"""What models write: their likeliest continuations of the same beginnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from problems.evaluation.session import Session
from problems.models.blocks import max_positions
from problems.results.final_model import FinalModel

PROMPTS = 3

_GIVEN, _WRITTEN = 16, 24
"""Tokens of a prompt, and of what is written after it, where the windows and the model are long enough."""


def written(session: Session, genomes: Mapping[str, Sequence[float]]) -> dict[str, dict[str, str]]:
    """By prompt: what each of the models of ``genomes``, by name, writes after it, token by token the likeliest.

    Prompts are the beginnings of the first windows of the report text. Where the transform updates weights, they are
    updated. The last model stays resident.
    """
    resident, report = session.resident, session.texts.report
    given = report.tokens[:PROMPTS, : min(_GIVEN, report.tokens.shape[1])]
    most = min(
        _WRITTEN, (max_positions(resident.model) or _WRITTEN + _GIVEN) - given.shape[1] + 1
    )  # the last is not read
    decode = resident.tokenizer.decode
    prompts = [decode(row, skip_special_tokens=True) for row in given]
    found: dict[str, dict[str, str]] = {prompt: {} for prompt in prompts}
    for name, genome in genomes.items():
        FinalModel(session, genome).reside()
        for prompt, row in zip(prompts, greedy(resident.model, given, most), strict=True):
            found[prompt][name] = decode(row, skip_special_tokens=True)
    return found


@torch.inference_mode()
def greedy(model: Any, tokens: torch.Tensor, count: int) -> torch.Tensor:
    """The ``count`` tokens that ``model`` writes after each row of ``tokens`` ``(rows, length)``, int64 on the CPU."""
    text = tokens.to(model.device)
    for _ in range(count):  # all of it each time: what a model keeps between two tokens differs by architecture
        text = torch.cat([text, model(input_ids=text, use_cache=False).logits[:, -1].argmax(1, keepdim=True)], dim=1)
    return text[:, tokens.shape[1] :].cpu()
