from itertools import pairwise

from evoprune import Additive, Genes, Individual
from operators.repair.shift import shift


def test_differences_between_genes_away_from_the_bounds_stay(problems):
    compared = 0
    for genes, budget in problems:
        (found,) = shift(Individual(genes), **budget)
        free = [(old, new) for old, new in zip(genes, found, strict=True) if 0 < new < 1]
        for (a, x), (b, y) in pairwise(free):
            assert abs((y - x) - (b - a)) < 1e-9
            compared += 1
    assert compared > 100


def test_the_uniform_genome_goes_to_the_target():
    genes = Genes.real("abc", 0.0, 0.9)
    budget = {"genes": genes, "budget": Additive.at_share(genes, [-1.0, -5.0, -2.0], -0.45)}
    (found,) = shift(Individual([0.2] * 3), **budget)
    assert max(abs(gene - 0.45) for gene in found) < 1e-12
