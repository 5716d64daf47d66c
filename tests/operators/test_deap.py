"""Operators of DEAP by their names, without wrappers."""

import pytest

from evoprune import Gene, InputError, minimize

BITS = [Gene.integer(f"b{place}", 0, 1) for place in range(20)]
REALS = [Gene("fixed", 0.5, 0.5), *(Gene(f"x{place}", -1.0, 2.0) for place in range(4))]


@pytest.mark.parametrize("mate", ["one_point", "two_point"])
@pytest.mark.parametrize(
    "select",
    ["lexicase", {"use": "double_tournament", "fitness_size": 3, "parsimony_size": 1.5, "fitness_first": True}],
)
def test_bits_are_crossed_at_points_and_flipped(mate, select):
    operators = {"select": select, "mate": mate, "mutate": {"use": "flip_bit", "indpb": 0.05}}
    how = {"algorithm": "generational", "operators": operators, "population": 50}
    found = minimize(sum, BITS, evaluations=2000, maximise=True, target=20, **how)
    assert found.values == (20.0,)


def test_numbers_are_crossed_within_their_bounds():
    how = {"mate": {"use": "simulated_binary", "eta": 15.0}, "mutate": "polynomial"}
    found = minimize(lambda values: sum(x**2 for x in values), REALS, algorithm="generational", operators=how)
    assert found.values[0] < 0.26  # 0.25 is the share of the fixed gene
    assert all(gene.low <= x <= gene.up for genome, _ in found.history for gene, x in zip(REALS, genome, strict=True))


def test_an_operator_that_fails_on_one_gene_is_named():
    with pytest.raises(InputError, match="'two_point' fails"):
        minimize(sum, BITS[:1], algorithm="generational", operators={"mate": "two_point"})
