from types import SimpleNamespace

import pytest

from evoprune import Gene, Genes, minimize
from evoprune.operators.algorithm.auto import auto

BITS = [Gene.integer(f"b{place}", 0, 1) for place in range(100)]
WHOLE = [Gene.integer(f"n{place}", 0, 20) for place in range(31)]
KINDS = [Gene.choice(f"kind{place}", range(20)) for place in range(3)]


def chosen(genes, objectives=1):
    problem = SimpleNamespace(genes=Genes(genes), signs=(-1.0,) * objectives, budget=None, noisy=False)
    return auto(problem)[0]["algorithm"]


@pytest.mark.parametrize(
    ("genes", "algorithm"),
    [
        (BITS, "optimal_mixing"), (BITS[:9], "optimal_mixing"), ([*BITS, Gene("real")], "cma"),
        (WHOLE, "optimal_mixing"), (WHOLE[:30], "cma"), (KINDS, "optimal_mixing"),
        ([Gene.integer(f"b{place}", 0, 1) for place in range(1001)], "generational"),
    ],
)  # fmt: skip
def test_levels_that_are_few_or_without_an_order_or_of_many_genes_are_mixed(genes, algorithm):
    assert chosen(genes) == algorithm


def test_bits_are_all_found_in_a_few_hundred_evaluations():
    found = minimize(sum, BITS, evaluations=400, target=100, maximise=True)
    assert (found.values, found.algorithm) == ((100.0,), "optimal_mixing")
