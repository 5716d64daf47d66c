from types import SimpleNamespace

import pytest

from evoprune import Gene, Genes, minimize
from evoprune.operators.algorithm.auto import auto

BITS = [Gene.integer(f"b{place}", 0, 1) for place in range(100)]


def chosen(genes, objectives=1):
    problem = SimpleNamespace(genes=Genes(genes), signs=(-1.0,) * objectives, budget=None, noisy=False)
    return auto(problem)[0]["algorithm"]


@pytest.mark.parametrize(
    ("genes", "algorithm"), [(BITS, "generational"), (BITS[:9], "cma"), ([*BITS, Gene("real")], "cma")]
)
def test_many_genes_with_levels_alone_are_bred(genes, algorithm):
    assert chosen(genes) == algorithm


def test_bits_are_all_found_in_a_few_thousand_evaluations():
    found = minimize(sum, BITS, evaluations=4000, target=100, maximise=True)
    assert (found.values, found.algorithm) == ((100.0,), "generational")
