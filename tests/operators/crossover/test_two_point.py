import random

from evoprune import Individual
from operators.crossover.two_point import two_point


def test_one_stretch_of_genes_changes_places():
    random.seed(1)
    lengths = set()
    for _ in range(200):
        first, second = two_point(Individual([0.0] * 8), Individual([1.0] * 8))
        assert [a + b for a, b in zip(first, second, strict=True)] == [1.0] * 8
        swapped = "".join(str(int(gene)) for gene in first)
        assert "1" in swapped
        assert set(swapped.strip("0")) == {"1"}
        lengths.add(swapped.count("1"))
    assert len(lengths) > 3


def test_a_single_gene_stays():
    assert two_point(Individual([0.1]), Individual([0.9])) == ([0.1], [0.9])
