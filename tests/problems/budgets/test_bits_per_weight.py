"""The budget in bits of the file for each parameter of the dense model."""

import pytest

from evoprune.testing import check_budget
from problems.budgets.file_size import unlimited_bytes

STRUCTURE = {"transforms": ["heads", "channels"]}


def test_it_counts_the_bits_of_the_file(language_model):
    problem = language_model(**STRUCTURE, budget={"use": "bits_per_weight", "at_most": 24})
    check_budget(problem.budget)
    resident, dense = problem.session.resident, problem.session.transform.dense
    assert problem.budget.spent(dense) == pytest.approx(32)
    genome = [1.0, 0.0, 4.0, 0.0, 2.0, 4.0]
    stored = unlimited_bytes(problem.session.transform).spent(genome)
    assert problem.budget.spent(genome) == pytest.approx(8 * stored / resident.parameters)


def test_out_of_reach_says_what_is_in_reach(language_model):
    with pytest.raises(
        ValueError, match=r"40 bits a weight is out of reach: the least that can be spent is .* most 32"
    ):
        language_model(**STRUCTURE, budget={"use": "bits_per_weight", "at_most": 40}).budget.check_reachable()
