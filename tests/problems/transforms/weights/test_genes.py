import random

import pytest

from evoprune import Additive
from problems.allocations.fitting import shift
from problems.models.blocks import find_matrices
from problems.transforms.weights.genes import make_genes
from problems.transforms.weights.settings import WeightsSettings
from tests.problems.small import masks_of

SHAPES = ("block", "matrix", "kind", "block_and_kind")


@pytest.fixture(params=SHAPES)
def meaning(request, model):
    return make_genes(find_matrices(model), WeightsSettings(genes=request.param))


def drawn(meaning, target, rng):
    """A genome within the bounds, on the budget."""
    genes = meaning.genes
    genome = [rng.uniform(gene.low, gene.up) for gene in genes]
    prices = [-weight for weight in meaning.weights]
    total = sum(group.size for group in meaning.groups)
    budget = Additive(genes, prices, (1 - target) * total, "weights", float(total))
    found = shift(budget, genome)
    assert budget.kept(found)
    return found


def test_a_genome_on_the_budget_removes_it_whatever_its_genes_mean(meaning):
    rng, sizes = random.Random(0), [group.size for group in meaning.groups]
    for _ in range(20):
        sparsities = meaning.sparsities(drawn(meaning, 0.45, rng))
        removed = sum(s * size for s, size in zip(sparsities, sizes, strict=True))
        assert removed / sum(sizes) == pytest.approx(0.45, abs=1e-9)
        assert all(-1e-12 <= s <= 0.9 + 1e-12 for s in sparsities)


@pytest.mark.parametrize("sparsity", [0.0, 0.45, 0.9, 0.95])
def test_uniform_is_the_same_for_every_matrix(meaning, sparsity):
    assert list(meaning.sparsities(meaning.uniform(sparsity))) == pytest.approx([sparsity] * len(meaning.groups))


def test_every_matrix_is_in_one_group(meaning, model):
    names = [matrix.name for group in meaning.groups for matrix in group.matrices]
    assert sorted(names) == sorted(matrix.name for matrix in find_matrices(model))


def test_block_and_kind_add_up(model):
    meaning = make_genes(find_matrices(model), WeightsSettings(genes="block_and_kind"))
    kinds = len(meaning.names) - 3
    genome = [0.3, 0.4, 0.5] + [0.01 * kind for kind in range(kinds)]
    expected = [block + kind for block in genome[:3] for kind in genome[3:]]
    assert list(meaning.sparsities(genome)) == pytest.approx(expected)


def test_masks_count_what_the_genes_mean(model):
    meaning = make_genes(find_matrices(model), WeightsSettings(genes="block_and_kind"))
    masks = masks_of(model, "block_and_kind")
    masks._meaning = meaning.sparsities
    rng = random.Random(1)
    for _ in range(5):
        assert masks.apply(drawn(meaning, 0.45, rng)) == pytest.approx(0.45, abs=1e-4)
