import pytest

from operators.survival.elitist import elitist


@pytest.mark.parametrize(("fraction", "kept"), [(0.01, 1), (0.3, 3), (0.5, 5), (0.9, 9)])
@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_the_best_fraction_passes_on_itself(scored, weight, fraction, kept):
    individuals = scored([-weight * value for value in (5.0, 3.0, 9.0, 1.0, 7.0, 2.0, 8.0, 4.0, 6.0, 0.0)], weight)
    before = [list(i) for i in individuals]
    found = elitist(individuals, fraction=fraction)
    best = sorted(individuals, key=lambda i: -weight * i.fitness.values[0])[:kept]
    assert [id(i) for i in found] == [id(i) for i in best]
    assert [list(i) for i in individuals] == before
