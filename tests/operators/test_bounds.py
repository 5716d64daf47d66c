from evoprune import Individual
from operators.bounds import clip, clip_genes


def test_clip():
    assert [clip(value, 0.0, 1.0) for value in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_clip_genes_works_in_place_with_bounds_of_their_own():
    individual = Individual([-1.0, 5.0, 5.0])
    assert clip_genes(individual, [0.0, 0.0, 6.0], [1.0, 2.0, 7.0]) is individual
    assert individual == [0.0, 2.0, 6.0]
