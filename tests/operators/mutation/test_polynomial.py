import random

import pytest

from evoprune import Gene, Genes, Individual
from operators.mutation.polynomial import polynomial


def mutated(genes, low=0.0, up=1.0, **parameters):
    random.seed(1)
    space = Genes.real([str(place) for place in range(len(genes))], low, up)
    (child,) = polynomial(Individual(genes), genes=space, **parameters)
    return child


def test_a_larger_eta_makes_smaller_changes():
    def size(eta):
        return sum(abs(gene - 0.5) for gene in mutated([0.5] * 2000, eta=eta, indpb=1.0))

    assert size(1.0) > 2 * size(20.0) > 0


@pytest.mark.parametrize("indpb", [0.0, 0.3, 1.0])
def test_indpb_is_the_share_of_genes_that_change(indpb):
    changed = sum(gene != 0.5 for gene in mutated([0.5] * 4000, indpb=indpb))
    assert changed / 4000 == pytest.approx(indpb, abs=0.03)


def test_parents_outside_the_bounds_give_real_numbers_within():
    child = mutated([-3.0, 4.0] * 200, eta=2.5, indpb=1.0)
    assert all(isinstance(gene, float) and 0.0 <= gene <= 1.0 for gene in child)


def test_fixed_genes_stay_and_the_others_move():
    random.seed(1)
    genes = Genes([Gene("a", 0.2, 0.2), Gene("b"), Gene("c", 0.7, 0.7)])
    (child,) = polynomial(Individual([0.2, 0.5, 0.7]), genes=genes, indpb=1.0)
    assert child[0] == 0.2
    assert child[1] != 0.5
    assert child[2] == 0.7


def test_a_gene_with_levels_that_is_drawn_moves_to_another_level():
    random.seed(1)
    genes = Genes([Gene.of_levels(str(place), range(2 + place % 5)) for place in range(200)])
    start = genes.random()
    (child,) = polynomial(Individual(start), genes=genes, indpb=1.0)
    assert genes.allow(child)
    assert all(new != old for new, old in zip(child, start, strict=True))
