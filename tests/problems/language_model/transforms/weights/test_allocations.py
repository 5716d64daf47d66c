"""Allocations: within bounds, on the budget, and the groups that each spares."""

import pytest
import torch

from evoprune import Additive, Genes
from evoprune.experiment.registry import find_plugin, names
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights.allocations import fit, shift
from evoprune.problems.language_model.transforms.weights.genes import group
from evoprune.problems.language_model.transforms.weights.settings import ALLOCATIONS
from tests.problems.language_model.small import random_model, save

LOOSE = {"sparsity": 0.5, "min_sparsity": 0.0, "max_sparsity": 1.0}


def allocated(name, problem):
    return find_plugin(ALLOCATIONS, name)(problem.session.transform.transforms[0], problem.budget)


@pytest.mark.parametrize("genes", ["block", "matrix"])
@pytest.mark.parametrize("name", sorted(names(ALLOCATIONS)))
def test_an_allocation_is_within_bounds_and_on_budget(name, genes, pruning):
    problem = pruning(genes=genes, sparsity=0.5, min_sparsity=0.35, max_sparsity=0.6)
    genome, sizes = allocated(name, problem), [one.size for one in problem.session.transform.transforms[0].groups]
    assert problem.genes.allow(genome)
    assert sum(g * s for g, s in zip(genome, sizes, strict=True)) / sum(sizes) == pytest.approx(0.5, abs=1e-9)
    assert problem.evaluate(genome).measures["sparsity"] == pytest.approx(0.5, abs=1e-4)


SIZES = [1.0, 2.0, 3.0]


@pytest.fixture
def budget():
    """Genes between 0.2 and 0.8 whose mean, counted by ``SIZES``, must be a half."""
    genes = Genes.real(["a", "b", "c"], 0.2, 0.8, scale=1.0)
    return Additive.at_share(genes, [-size for size in SIZES], -0.5, fixed=sum(SIZES))


def mean(genome):
    return sum(gene * size for gene, size in zip(genome, SIZES, strict=True)) / sum(SIZES)


def test_genomes_are_fitted_to_the_budget_or_as_near_as_bounds_allow(budget):
    genome = fit(budget, lambda scale: [0.5 * scale, scale, scale], 0.0, 2.0)
    assert mean(genome) == pytest.approx(0.5, abs=1e-12)
    assert genome[1] == genome[2] == pytest.approx(2 * genome[0])
    assert fit(budget, lambda scale: [scale] * 3, 0.2, 0.3) == pytest.approx([0.3] * 3)
    assert fit(budget, lambda scale: [scale] * 3, 0.6, 0.7) == pytest.approx([0.6] * 3)
    shifted = shift(budget, [-3.0, 0.1, 0.3])
    assert shifted[0] == 0.2
    assert shifted[2] - shifted[1] == pytest.approx(0.2)
    assert mean(shifted) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("genes", ["block", "matrix"])
def test_owl_spares_the_group_with_outliers(genes, pruning, tmp_path):
    before = allocated("owl", pruning(genes=genes, **LOOSE))
    model = random_model("gpt2")
    for matrix in group(find_matrices(model), genes)[2].matrices:
        matrix.weight.view(-1)[::50] *= 20
    genome = allocated("owl", pruning(genes=genes, model=save(model, tmp_path), **LOOSE))
    assert genome[2] < before[2]
    assert max(genome) - min(genome) == pytest.approx(0.16, abs=1e-6)


@pytest.mark.parametrize("genes", ["block", "matrix"])
def test_a_global_ranking_removes_the_lowest_scores_of_the_whole_model(genes, pruning):
    problem = pruning(genes=genes, **LOOSE)
    cut, genome = problem.session.transform.transforms[0], allocated("global", problem)
    scores = {matrix.name: matrix.weight.abs().flatten() for matrix in cut.matrices}
    threshold = torch.cat(list(scores.values())).sort().values[sum(map(len, scores.values())) // 2]
    for one, gene in zip(cut.groups, genome, strict=True):
        below = sum(int((scores[matrix.name] < threshold).sum()) for matrix in one.matrices) / one.size
        assert gene == pytest.approx(below, abs=2e-3)
