"""The budget in parameters, against parameters that are counted."""

import pytest

from problems.budgets.parameters import parameters
from problems.models.blocks import find_blocks


@pytest.fixture
def transform(language_model):
    return language_model(transforms={"use": "sublayers", "genes": "block"}).session.transform


def test_dropping_a_block_spends_its_parameters_less(transform):
    blocks = find_blocks(transform.resident.model)[1]
    a_block = sum(parameter.numel() for parameter in blocks[0].parameters())
    budget = parameters(transform, removed=0.5)
    assert budget.spent(transform.dense) == transform.resident.parameters
    assert transform.resident.parameters - budget.spent([0.0, 1.0, 0.0]) == a_block
    assert budget.excess([1.0, 1.0, 0.0]) < 0 < budget.excess([1.0, 0.0, 0.0])


def test_the_limit_is_the_same_whatever_was_applied_before(transform):
    before = parameters(transform, removed=0.5).limit
    transform.apply([1.0, 0.0, 1.0])
    assert parameters(transform, removed=0.5).limit == before
