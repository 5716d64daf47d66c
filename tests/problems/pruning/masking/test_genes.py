import random

import pytest

from evoprune import Individual
from operators.repair.project import project
from problems.pruning.masking.genes import make_genes
from problems.pruning.model.blocks import find_matrices
from problems.pruning.settings import PruningSettings
from tests.problems.pruning.conftest import masks_of

SHAPES = ("block", "matrix", "kind", "block_and_kind")


@pytest.fixture(params=SHAPES)
def genes(request, model):
    return make_genes(find_matrices(model), PruningSettings(genes=request.param))


def drawn(genes, target, rng):
    """A genome within the bounds, on the budget."""
    low, up = genes.bounds
    genome = Individual([rng.uniform(a, b) for a, b in zip(low, up, strict=True)])
    (genome,) = project(genome, low=low, up=up, weights=genes.weights, target=genes.target(target))
    return genome


def test_a_genome_on_the_budget_removes_it_whatever_its_genes_mean(genes):
    rng, sizes = random.Random(0), [group.size for group in genes.groups]
    for _ in range(20):
        sparsities = genes.sparsities(drawn(genes, 0.45, rng))
        removed = sum(s * size for s, size in zip(sparsities, sizes, strict=True))
        assert removed / sum(sizes) == pytest.approx(0.45, abs=1e-9)
        assert all(-1e-12 <= s <= 0.9 + 1e-12 for s in sparsities)


@pytest.mark.parametrize("sparsity", [0.0, 0.45, 0.9, 0.95])
def test_uniform_is_the_same_for_every_matrix(genes, sparsity):
    assert list(genes.sparsities(genes.uniform(sparsity))) == pytest.approx([sparsity] * len(genes.groups))


def test_every_matrix_is_in_one_group(genes, model):
    names = [matrix.name for group in genes.groups for matrix in group.matrices]
    assert sorted(names) == sorted(matrix.name for matrix in find_matrices(model))


def test_block_and_kind_add_up(model):
    genes = make_genes(find_matrices(model), PruningSettings(genes="block_and_kind"))
    kinds = len(genes.names) - 3
    genome = [0.3, 0.4, 0.5] + [0.01 * kind for kind in range(kinds)]
    expected = [block + kind for block in genome[:3] for kind in genome[3:]]
    assert list(genes.sparsities(genome)) == pytest.approx(expected)


def test_masks_count_what_the_genes_mean(model):
    genes = make_genes(find_matrices(model), PruningSettings(genes="block_and_kind"))
    masks = masks_of(model, "block_and_kind")
    masks._meaning = genes.sparsities
    rng = random.Random(1)
    for _ in range(5):
        assert masks.apply(drawn(genes, 0.45, rng)) == pytest.approx(0.45, abs=1e-4)
