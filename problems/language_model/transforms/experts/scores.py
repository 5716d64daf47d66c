"""Scores of routed experts on calibration text: how much a block loses without each of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from evoprune.console.phase import steps
from evoprune.problems.language_model.calibration.statistics import BATCH_TOKENS
from evoprune.problems.language_model.models.blocks import find_mixtures
from evoprune.problems.language_model.models.device import sum_dtype
from evoprune.problems.language_model.models.experts import RoutedExperts, states_noted
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.late import at_home
from evoprune.problems.language_model.models.walk import Walk

Score = Callable[[RoutedExperts, torch.Tensor], torch.Tensor]
"""Sums over the tokens of ``states`` ``(1, tokens, width)`` a score for each expert: ``(experts,)``."""


def _counts(experts: RoutedExperts, states: torch.Tensor) -> torch.Tensor:
    chosen = experts.routing(states).chosen
    return torch.bincount(chosen.flatten(), minlength=experts.count)


def _weighted_norms(experts: RoutedExperts, states: torch.Tensor) -> torch.Tensor:
    flat, chosen, weights = experts.routing(states)
    sums = []
    for expert in range(experts.count):
        tokens, place = torch.where(chosen == expert)
        norms = experts.alone(expert, flat[tokens]).float().norm(dim=1)
        sums.append((norms * weights[tokens, place]).sum())
    return torch.stack(sums)


def _output_errors(experts: RoutedExperts, states: torch.Tensor) -> torch.Tensor:
    """Squared: the tokens that chose an expert choose again without it; others are taken to keep their output."""
    chosen, every, sums = experts.routing(states).chosen, torch.arange(experts.count), []
    for expert in range(experts.count):
        concerned = states[:, (chosen == expert).any(1)]
        before = experts.output(concerned)
        with experts.only(every[every != expert]):
            sums.append((experts.output(concerned) - before).float().square().sum())
    return torch.stack(sums)


SCORES: dict[str, Score] = {"frequency": _counts, "output": _output_errors, "reap": _weighted_norms}
"""``reap``: the mean over an expert's tokens of its weight times the norm of its output (Lasby et al., "REAP the
experts", 2025); the others are sums over all tokens."""

_OF_TOKENS = {"reap"}  # scores that are means over the tokens of an expert


@torch.no_grad()
def score_experts(
    model: Any, found: Sequence[RoutedExperts], tokens: torch.Tensor, name: str
) -> Iterator[tuple[RoutedExperts, torch.Tensor, torch.Tensor]]:
    """Yield each of ``found`` with the scores ``name`` of its experts, and the number of ``tokens`` that chose them."""
    with at_home(model):
        walk, by_block = Walk(Forward(model), tokens, BATCH_TOKENS), {experts.block: experts for experts in found}
        exact = sum_dtype(model.device)
        for block in steps(range(1 + max(by_block)), f"experts by {name}", "block"):
            noted: list[torch.Tensor] = []
            own = [mixture for mixture in find_mixtures(model) if mixture.block == block]
            with states_noted(own, lambda _, states, noted=noted: noted.append(states.flatten(0, 1)[None])):  # type: ignore[misc]
                walk.advance(block)
            if block in by_block:
                experts = by_block[block]
                counts = torch.stack([_counts(experts, states) for states in noted]).sum(0)
                scores = torch.stack([SCORES[name](experts, states).to(exact) for states in noted]).sum(0)
                yield experts, scores / counts.clamp(min=1) if name in _OF_TOKENS else scores, counts
