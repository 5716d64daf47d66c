from itertools import pairwise

import pytest

from evoprune import Additive, Genes, Individual
from operators.bounds import clip
from operators.repair.scale import scale


def test_one_factor_scales_every_distance_to_the_bound(problems):
    for genes, budget in problems:
        clipped = [clip(gene, 0.0, 1.0) for gene in genes]
        bound = 0.0 if budget["budget"].excess(clipped) < 0 else 1.0
        (found,) = scale(Individual(genes), **budget)
        pairs = [(old, new) for old, new in zip(clipped, found, strict=True) if abs(old - bound) > 1e-3]
        factors = [(new - bound) / (old - bound) for old, new in pairs]
        assert 0 <= factors[0] <= 1
        assert factors == pytest.approx([factors[0]] * len(factors), abs=1e-9)


def test_order_is_kept(problems):
    for genes, budget in problems:
        (found,) = scale(Individual(genes), **budget)
        in_order = [gene for _, gene in sorted(zip(genes, found, strict=True))]
        assert all(b - a > -1e-12 for a, b in pairwise(in_order))


def test_halving_the_budget_halves_the_genes():
    genes = Genes.real("abc", 0.0, 1.0)
    budget = {"genes": genes, "budget": Additive.at_share(genes, [-1.0] * 3, -0.2)}
    (found,) = scale(Individual([0.2, 0.4, 0.6]), **budget)
    assert found == pytest.approx([0.1, 0.2, 0.3])
