"""Scores of the experts of a mixture beside all sets of two blocks: ``python -m tests.benchmarks.experts``."""

from __future__ import annotations

import argparse
import math
from itertools import combinations, product
from typing import Any

import torch

from evoprune.problems.language_model.evaluation.measure import Perplexity
from evoprune.problems.language_model.models.blocks import find_mixtures
from evoprune.problems.language_model.models.experts import RoutedExperts, find_experts, states_noted
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.transforms.experts.scores import SCORES

TEXT = {"source": "bundled:python-docs", "window": 256}


def problem_of(model: str, score: str, windows: int, searched: int) -> LanguageModel:
    """The problem on ``model``, ranked by ``score``, that reports on so many ``windows``."""
    texts = {
        "search_text": TEXT | {"split": "validation", "windows": searched},
        "report_text": TEXT | {"split": "test", "windows": windows},
        "calibration_text": TEXT | {"split": "train", "windows": 32},
    }
    given = {"model": model, "dtype": "float32", "device": "cpu", "transforms": {"use": "experts", "score": score}}
    return LanguageModel(LanguageModelSettings(**given, **texts))


def perplexity(session: Any, tokens: torch.Tensor) -> float:
    """The perplexity of the model as it is now."""
    return float(session.fitness.measure.value(tokens, Perplexity()))


@torch.no_grad()
def tell_routing(model: Any, tokens: torch.Tensor) -> None:
    """Print the entropy of routing for each block, over all tokens and of a token, as shares of the most possible."""
    states: dict[int, torch.Tensor] = {}
    found = find_experts(model)
    with states_noted(find_mixtures(model), states.__setitem__):
        model(tokens)
    for experts in found:
        flat = states[experts.block].flatten(0, 1)
        chosen = experts.routing(flat[None]).chosen
        shares = torch.bincount(chosen.flatten(), minlength=experts.count) / chosen.numel()
        same = specialised(chosen, tokens.flatten(), experts)
        print(
            f"block {experts.block}: experts chosen {', '.join(f'{share:.1%}' for share in shares.tolist())}; entropy "
            f"{_entropy(shares) / math.log(experts.count):.1%}; of the choice, {same:.1%} is known from the token"
        )


def _entropy(shares: torch.Tensor) -> float:
    return float(torch.special.entr(shares).sum())


def specialised(chosen: torch.Tensor, tokens: torch.Tensor, experts: RoutedExperts) -> float:
    """The share of the entropy of the ``chosen`` experts that the token itself explains; biased up for rare ones."""
    counts = torch.zeros(int(tokens.max()) + 1, experts.count)
    for place in range(experts.active):
        counts.index_put_((tokens, chosen[:, place]), torch.ones(len(tokens)), accumulate=True)
    often = counts[counts.sum(1) >= 20 * experts.active]
    within = sum(float(row.sum()) * _entropy(row / row.sum()) for row in often) / float(often.sum())
    return 1 - within / _entropy(often.sum(0) / often.sum())


@torch.no_grad()
def enumerate_pairs(session: Any, blocks: list[int], gone: int, tokens: torch.Tensor) -> dict[Any, float]:
    """The perplexity for each set of experts that ``blocks`` may lose, ``gone`` of each."""
    found = {each.block: each for each in find_experts(session.resident.model)}
    sets = [list(combinations(range(found[block].count), found[block].count - gone)) for block in blocks]
    values: dict[Any, float] = {}
    for kept in product(*sets):
        for block, left in zip(blocks, kept, strict=True):
            found[block].narrow(torch.tensor(left))
        values[kept] = perplexity(session, tokens)
    for block in blocks:
        found[block].narrow(torch.arange(found[block].count))
    return values


def main() -> None:
    """Print routing, uniform cuts by each score, and the rank of each score's sets among all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="bundled:moe-mini")
    parser.add_argument("--windows", type=int, default=32, help="of the report text")
    parser.add_argument("--searched", type=int, default=4, help="windows of the search text, for the enumeration")
    parser.add_argument("--blocks", type=int, nargs=2, default=(4, 5))
    parser.add_argument("--gone", type=int, default=2, help="experts that each of these blocks loses")
    options = parser.parse_args()
    sessions = {score: problem_of(options.model, score, options.windows, options.searched).session for score in SCORES}
    session = next(iter(sessions.values()))
    report, search, blocks = session.texts.report.tokens, session.texts.search.tokens, list(options.blocks)
    tell_routing(session.resident.model, session.texts.calibration.tokens)
    print(f"dense: {perplexity(session, report):.2f} on the report text", flush=True)
    for score, own in sessions.items():
        for share in (0.25, 0.5):
            levels = [float(round(share * gene.levels[0])) for gene in own.transform.genes]
            own.transform.apply(levels)
            print(f"{share:.0%} gone by {score}: {perplexity(own, report):.2f} on the report text", flush=True)
        own.transform.apply(own.transform.dense)
    values = enumerate_pairs(session, blocks, options.gone, search)
    ranked = sorted(values.values())
    print(f"{len(values)} sets of blocks {blocks} on the search text: {ranked[0]:.2f} to {ranked[-1]:.2f}")
    for score, own in sessions.items():
        counts = [int(own.transform.genes[block].levels[0]) - options.gone for block in blocks]
        kept = tuple(tuple(own.transform.kept(b, n).tolist()) for b, n in zip(blocks, counts, strict=True))
        print(f"{score}: {values[kept]:.2f}, rank {1 + ranked.index(values[kept])}")


if __name__ == "__main__":
    main()
