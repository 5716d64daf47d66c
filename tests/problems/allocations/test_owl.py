import pytest

from problems.models.blocks import find_matrices
from problems.transforms.weights.genes import group
from tests.problems.small import random_model, save


def test_owl_spares_the_group_with_outliers(loose, find, tmp_path):
    problem = loose()
    before = find("owl", problem)
    model = random_model("gpt2")
    for matrix in group(find_matrices(model), problem.settings.genes)[2].matrices:
        matrix.weight.view(-1)[::50] *= 20
    genome = find("owl", loose(model=save(model, tmp_path)))
    assert genome[2] < before[2]
    assert max(genome) - min(genome) == pytest.approx(0.16, abs=1e-6)
