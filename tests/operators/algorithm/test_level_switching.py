import pytest

from evoprune.operators.algorithm.level_switching import level_switching
from tests.operators.algorithm.conftest import GENES, TARGET, drive

START = [[TARGET] * GENES]


@pytest.mark.parametrize(("screening", "sizes"), [(0.25, [(9, 0.25), (2, 1.0)]), (1.0, [(9, 1.0)])])
def test_many_are_screened_and_few_scored_in_full(toolbox, screening, sizes):
    algorithm = level_switching(toolbox, initial_genomes=START, offspring=9, survivors=2, screening=screening)
    _, requests = drive(algorithm, 4)
    assert [(len(r.individuals), r.fidelity) for r in requests] == [(1, 1.0)] + 3 * sizes
