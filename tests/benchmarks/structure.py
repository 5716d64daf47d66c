"""Searches of others for attentions and MLPs to drop: costs of single sublayers, a sliding window, and EvoPress.

Those that are published for equal numbers of attentions and MLPs drop the fewest of each that keep the budget.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise

import numpy
import torch
from torch.nn.functional import cross_entropy

from evoprune import Algorithm, Evaluate, Generation, Individual
from evoprune.operators.algorithm.breeding import losses
from evoprune.operators.knapsack import Floats
from evoprune.problems.language_model.models.sublayers import find_sublayers
from tests.benchmarks.rivals import dynamic, evopress, mip, summed, swapped
from tests.benchmarks.search import Search, Way

GRADIENT = 3
"""Tokens that a token of a gradient counts as: a forward pass, and a backward one of twice its work."""


def block_influence(search: Search) -> Floats:
    """1 - the mean cosine similarity of the hidden states before and after the sublayer, in [0, 2].

    ShortGPT (Men et al., 2024, equation 1), for the addition of a sublayer instead of a block; on the calibration text,
    which counts once: running a block three times, without both, without the MLP, and whole, spares hooks.
    """
    session = search.session
    transform, forward, tokens = session.transform, session.resident.forward, session.texts.calibration.tokens
    sums = torch.zeros(len(transform.dense), dtype=torch.float64)
    for window in tokens.split(1):
        search.pay(window.numel())
        state = None
        for first in range(0, len(sums), 2):
            states = []
            for dropped in ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0)):
                genome = list(transform.dense)
                genome[first : first + 2] = dropped
                transform.apply(genome)
                with forward.through(first // 2) as run:
                    states.append(run(window.to(forward.device), state))
            state = states[-1]
            for place, (before, after) in enumerate(pairwise(states), start=first):
                sums[place] += float(torch.cosine_similarity(before.float(), after.float(), dim=-1).sum())
    return _of_levels(search, (1 - sums / tokens.numel()).tolist())


def taylor(search: Search) -> Floats:
    """The sum over the sublayer's weights of |w dL/dw|, L the mean loss on the calibration text, in nats a token.

    Shortened LLaMA (Kim et al., 2024, section 3.1, Taylor without its heuristics); gradients are added in float32.
    """
    session = search.session
    session.transform.apply(session.transform.dense)
    model, tokens = session.resident.model, session.texts.calibration.tokens
    parts = [[layer.weight for layer in sublayer.layers] for sublayer in find_sublayers(model)]
    weights = [weight for part in parts for weight in part]
    sums = {weight: torch.zeros_like(weight, dtype=torch.float32) for weight in weights}
    for weight in weights:
        weight.requires_grad_()
    with torch.enable_grad():
        for window in tokens:
            search.pay(GRADIENT * window.numel())
            window = window.to(model.device)
            logits = model(input_ids=window[None], use_cache=False).logits[0, :-1].float()
            found = torch.autograd.grad(cross_entropy(logits, window[1:]), weights)
            for weight, gradient in zip(weights, found, strict=True):
                sums[weight] += gradient.float()
    for weight in weights:
        weight.requires_grad_(False)
    costs = [sum(float((weight * sums[weight]).abs().double().sum()) for weight in part) for part in parts]
    return _of_levels(search, [cost / len(tokens) for cost in costs])


def alone(search: Search) -> Floats:
    """The rise of the loss on the search text without this sublayer: nats a token, or the divergence.

    Shortened LLaMA (Kim et al., 2024, section 3.1, PPL), as a difference of logarithms, which can be summed.
    """
    fitness, dense = search.session.fitness, search.session.transform.dense
    values = []
    for place in (None, *range(len(dense))):
        search.pay(search.session.texts.search.tokens.numel())
        values.append(fitness.value([float(gene == place) for gene in range(len(dense))])[0])
    before, *after = losses(values) if search.problem.settings.objective == "perplexity" else values
    return _of_levels(search, [loss - before for loss in after])


def _of_levels(search: Search, costs: Sequence[float]) -> Floats:
    """Zero for each gene that is kept, its cost where it is dropped."""
    return numpy.concatenate([[0.0, cost][: len(own)] for cost, own in zip(costs, search.choices.own, strict=True)])


def by_rate(search: Search, costs: Floats) -> list[float]:
    """Drop the lowest cost for its weight until the limit is kept (Dantzig, Operations Research 5, 1957)."""
    genome, cost = search.budget.extreme(most=True), costs[[own[-1] for own in search.choices.own]]
    for gene in sorted(search.budget.free, key=lambda gene: cost[gene] / search.budget.weights[gene]):
        if search.budget.within(genome):
            break
        genome[gene] = 1.0
    return genome


def kinds(search: Search) -> list[list[int]]:
    """The free genes of attentions, and of MLPs: those of equal weight."""
    weights = search.budget.weights
    return [[gene for gene in search.budget.free if weights[gene] == each] for each in dict.fromkeys(weights) if each]


def number(search: Search) -> int:
    """The fewest attentions, and as many MLPs, that keep the budget whichever they are."""
    least = [accumulate(sorted(search.budget.weights[gene] for gene in kind)) for kind in kinds(search)]
    needed = search.budget.most - search.budget.limit
    return next(count for count, saved in enumerate(map(sum, zip(*least, strict=True)), 1) if saved >= needed)


def equal_numbers(search: Search, costs: Floats) -> list[float]:
    """Drop the :func:`number` of each kind that cost the least."""
    cost, count = costs[[own[-1] for own in search.choices.own]], number(search)
    return _without(search, [gene for kind in kinds(search) for gene in sorted(kind, key=cost.__getitem__)[:count]])


def windows(search: Search) -> list[list[float]]:
    """The genomes that drop :func:`number` consecutive blocks."""
    pairs, count = [*zip(*kinds(search), strict=True)], number(search)
    runs = [sum(pairs[at : at + count], ()) for at in range(len(pairs) - count + 1)]
    return [_without(search, run) for run in runs]


def _without(search: Search, dropped: Sequence[int]) -> list[float]:
    return [float(gene in {*dropped}) for gene in range(len(search.budget.genes))]


def sliding_window(search: Search) -> Algorithm:
    """All genomes in which consecutive blocks are dropped."""
    people = [Individual(genome) for genome in windows(search)]
    yield Evaluate(people)
    yield Generation(people)


def drop_search(search: Search) -> Algorithm:
    """EvoPress's (section 4.1): swaps within attentions, and within MLPs, in equal numbers.

    As published: 64 first points, 32 children, two left after the first step of selection, which reads 2,048 of the
    32,768 tokens of the second.
    """
    both, count = kinds(search), number(search)
    drawn = [[gene for kind in both for gene in random.sample(kind, count)] for _ in range(64)]
    breed = partial(swapped, search, group=lambda: random.choice(both))
    first = [Individual(_without(search, dropped)) for dropped in drawn]
    return evopress(first, lambda parent: [breed(parent) for _ in range(32)], [1 / 16], [2])


ONCE: dict[str, Way] = {
    "sliding window": sliding_window,
    "block influence, equal numbers": summed(block_influence, equal_numbers),
    "Taylor, equal numbers": summed(taylor, equal_numbers),
    "alone, equal numbers": summed(alone, equal_numbers),
    "alone, by rate": summed(alone, by_rate),
    "alone, DP": summed(alone, dynamic),
    "alone, MIP": summed(alone, mip),
}
SEEDED: dict[str, Way] = {"EvoPress": drop_search}
