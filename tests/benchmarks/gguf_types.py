"""Searches of others for a GGUF type for each matrix: errors of quantisation, added up; presets; and EvoPress."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import numpy
import torch

from evoprune import Algorithm, Evaluate, Generation, Individual
from evoprune.operators.knapsack import Floats
from evoprune.problems.language_model.calibration import gradients
from evoprune.problems.language_model.transforms.gguf_types.levels import importance_of
from tests.benchmarks.rivals import dynamic, evopress, lagrangian, mip, summed, swapped
from tests.benchmarks.search import Search, Way
from tests.benchmarks.structure import GRADIENT

_FIRST = 16  # first points of EvoPress's search


def imatrix(search: Search) -> Floats:
    """The squared error of the weights, each weighted by its input's mean square (llama.cpp's pull request 15550).

    Matrices without an importance matrix, here the embedding, have weights of 1.
    """
    session = search.session
    session.transform.apply(session.transform.dense)
    weights, ones = importance_of(session.resident, session.texts.calibration.tokens), torch.ones(1)
    return _summed(search, lambda name, change: change.square() * weights.get(name, ones))


def first_order(search: Search) -> Floats:
    """The sum of |g dw| (AutoScheme of AutoRound); g: gradients of the next-token loss on the calibration text."""
    found = _gradients(search)
    return _summed(search, lambda name, change: found[name][gradients.SIZES] * change.abs())


def fisher(search: Search) -> Floats:
    """The sum of g^2 dw^2 (ModelOpt's search by gradients, but of weights, not of outputs)."""
    found = _gradients(search)
    return _summed(search, lambda name, change: found[name][gradients.SQUARES] * change.square())


def _gradients(search: Search) -> dict[str, dict[str, torch.Tensor]]:
    session = search.session
    tokens = session.texts.calibration.tokens
    search.pay(GRADIENT * tokens.numel())
    session.transform.apply(session.transform.dense)
    return gradients.gather(session.resident.model, tokens, session.transform.transforms[0].matrices, gradients.NAMES)


def _summed(search: Search, cost: Callable[[str, torch.Tensor], torch.Tensor]) -> Floats:
    """The sum of ``cost`` over the changes of a matrix's weights ``(out, in)``, given its name, by each level."""
    transform, costs = search.session.transform, []
    transform.apply(transform.dense)
    whole = [matrix.rows(matrix.weight).float().clone() for matrix in transform.matrices]
    for place, (matrix, gene) in enumerate(zip(transform.matrices, search.budget.genes, strict=True)):
        for level in range(len(gene.levels)):
            transform.apply([float(level) * (at == place) for at in range(len(whole))])
            change = matrix.rows(matrix.weight).float() - whole[place]
            costs.append(float(cost(matrix.name, change).sum(dtype=torch.float64)))
    return numpy.array(costs)


def presets(search: Search) -> Algorithm:
    """The best of llama.cpp's presets that fit, as the project's types: the first genomes of a search."""
    people = [Individual(genome) for genome in search.problem.initial_genomes()]
    yield Evaluate(people)
    yield Generation(people)


def type_search(search: Search, children: int = 128, survivors: tuple[int, int] = (16, 4)) -> Algorithm:
    """EvoPress's, from its start near uniform: swaps among matrices of equal shape, three steps of selection.

    First points have all types one larger than uniform, and then smaller ones at random until the limit is kept. Types
    have no equal steps in bytes, so children beyond the limit are drawn again. As published, the steps of selection
    read 1/64, 1/8 and all of 131,072 tokens.
    """
    genes, shapes = (
        search.budget.genes,
        [tuple(matrix.weight.shape) for matrix in search.session.transform.transforms[0].matrices],
    )
    groups = [[at for at, shape in enumerate(shapes) if shape == each] for each in dict.fromkeys(shapes)]
    sizes = [len(group) for group in groups]
    breed = partial(swapped, search, group=lambda: random.choices(groups, sizes)[0])

    def first() -> Individual:
        point = Individual(max(0.0, level - 1) for level in search.problem.references()["uniform"])
        while not search.budget.within(point):
            place = random.choice([place for place, level in enumerate(point) if level < genes[place].up])
            point[place] += 1
        return point

    def bred(parent: Individual) -> list[Individual]:
        found: dict[tuple[float, ...], Individual] = {}
        for _ in range(20 * children):
            child = breed(parent)
            if child.genome != parent.genome and search.budget.within(child):
                found.setdefault(child.genome, child)
            if len(found) == children:
                break
        return [*found.values()]

    return evopress([first() for _ in range(_FIRST)], bred, [1 / 64, 1 / 8], survivors)


ONCE: dict[str, Way] = {
    "preset": presets,
    "imatrix error, Lagrangian": summed(imatrix, lagrangian),
    "first order, DP": summed(first_order, dynamic),
    "Fisher, MIP": summed(fisher, mip),
}
SEEDED: dict[str, Way] = {
    "EvoPress": type_search,
    "EvoPress, 16 children": partial(type_search, children=16, survivors=(8, 2)),
}
