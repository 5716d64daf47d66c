"""A form of a stranger: matrices in 32 or 16 bits, beside a transform that prunes, without GGUF."""

from __future__ import annotations

import math
from typing import Any

import pytest
from torch import nn

from evoprune import Gene, Genes, InputError
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.testing import check_transform
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, dense_cost
from evoprune.problems.language_model.transforms.form import Form
from evoprune.problems.language_model.transforms.weights.transform import Weights
from evoprune.problems.language_model.transforms.widths.cuts import Channels
from evoprune.testing import check_budget

SIZES = {"float32": 4, "float16": 2}
REST = 8.0  # bytes of a header


class Halves(Form):
    units = (WEIGHTS, PARAMETERS)
    zeros_refused = "zeros take 16 bits"

    def __init__(self, resident, settings, texts):
        super().__init__(resident, settings, texts)
        self.matrices = resident.matrices
        self._genes = Genes(Gene.of_levels(matrix.name, [*SIZES]) for matrix in self.matrices)
        self._weights: dict[Any, nn.Parameter] = {}
        self._chosen: list[str] = ["float32"] * len(self.matrices)

    @property
    def genes(self):
        return self._genes

    def fit(self, shapes):
        assert {matrix.parameter for matrix in self.matrices} <= shapes.dense.keys()

    def swap_out(self):
        for module, weight in self._weights.items():
            module.weight = weight
        self._weights.clear()

    def swap_in(self, genome, kept):
        self._chosen = self.genes.chosen(genome)
        for matrix, kind in zip(self.matrices, self._chosen, strict=True):
            if kind == "float16":
                self._weights[matrix.module] = matrix.weight
                matrix.module.weight = nn.Parameter(matrix.weight.half().float(), requires_grad=False)

    def block_fingerprints(self):
        both = [*zip(self.matrices, self._chosen, strict=True)]
        blocks = range(1 + self.matrices[-1].block)
        return [tuple(kind for matrix, kind in both if matrix.block == block) for block in blocks]

    def prices(self, unit):
        return [[0.0, 0.0] for _ in self.genes], dense_cost(self.resident, unit)

    def encoded(self):
        return {}

    def encode(self, model, genome, kept):
        raise NotImplementedError

    def file_costs(self, shapes, vocabularies):
        assert not vocabularies
        terms = shapes.terms(lambda _, shape, kind: SIZES[kind or "float32"] * math.prod(shape), self.kinds(shapes))
        return terms, lambda _: REST

    def timer(self, model, load, cuts):
        raise NotImplementedError


@pytest.fixture
def session_with(language_model):
    settings = language_model().settings
    return lambda *cuts: Session.start(settings, [(kind, kind.Settings()) for kind in (Halves, *cuts)])


def test_it_comes_last_and_its_bytes_are_counted_in_the_shapes_that_are_left(session_with):
    session = session_with(Channels)
    stack = session.transform
    assert stack.transforms == [stack.find(Channels), stack.form]
    check_transform(session, pairs=2)
    budget = stack.costs.budget(BYTES, None)
    check_budget(budget)
    dense = sum(4 * weight.numel() for weight in session.resident.model.parameters())
    assert budget.spent(stack.dense) == dense + REST
    genome = [gene.up for gene in stack.genes]
    stack.apply(genome)
    left = dict(session.resident.model.named_parameters())
    halves = {matrix.parameter for matrix in stack.form.matrices} & left.keys()
    sizes = {name: weight.numel() * (2 if name in halves else 4) for name, weight in left.items()}
    assert budget.spent(genome) == sum(sizes.values()) + REST


def test_zeros_are_refused_in_its_own_words(session_with):
    with pytest.raises(InputError, match=f"Halves and Weights: {Halves.zeros_refused}"):
        session_with(Weights)
