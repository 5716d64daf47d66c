from evoprune import Gene, Individual
from operators.bounds import another_level, clip, clip_genes


def test_clip():
    assert [clip(value, 0.0, 1.0) for value in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_clip_genes_works_in_place_with_bounds_of_their_own():
    individual = Individual([-1.0, 5.0, 5.0])
    assert clip_genes(individual, [0.0, 0.0, 6.0], [1.0, 2.0, 7.0]) is individual
    assert individual == [0.0, 2.0, 6.0]


def test_another_level_is_never_the_old_one_and_lies_on_the_side_of_the_new_value():
    gene = Gene.of_levels("a", range(4))
    assert [another_level(gene, 1.0, new) for new in (-5.0, 0.9, 1.2, 3.4)] == [0.0, 0.0, 2.0, 3.0]
    assert [another_level(gene, 0.0, -0.1), another_level(gene, 3.0, 9.0)] == [1.0, 2.0]
    assert another_level(Gene.of_levels("b", [5]), 0.0, 1.0) == 0.0
