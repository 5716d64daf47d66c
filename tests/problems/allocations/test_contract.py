"""Every registered allocation is within bounds and on the budget."""

import pytest

from evoprune.experiment.registry import names
from problems.allocations import ALLOCATIONS


@pytest.mark.parametrize("name", sorted(names(ALLOCATIONS)))
def test_an_allocation_is_within_bounds_and_on_budget(name, bound, find):
    genome = find(name, bound)
    assert len(genome) == len(bound.session.transform.groups)
    assert bound.genes.allow(genome)
    sizes = [group.size for group in bound.session.transform.groups]
    assert sum(g * s for g, s in zip(genome, sizes, strict=True)) / sum(sizes) == pytest.approx(0.5, abs=1e-9)
    assert bound.evaluate(genome).measures["sparsity"] == pytest.approx(0.5, abs=1e-4)
