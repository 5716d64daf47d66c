"""The sparsities of genomes, and groups of matrices."""

import random

import pytest

from evoprune import Additive
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights.allocations import shift
from evoprune.problems.language_model.transforms.weights.genes import BlockAndKind, Sparsities, group
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from tests.problems.language_model.small import random_model


def sparsities_of(genes):
    kind = BlockAndKind if genes == "block_and_kind" else Sparsities
    return kind(find_matrices(random_model("llama")), WeightsSettings(genes=genes))


@pytest.fixture(params=["block", "matrix", "block_and_kind"])
def sparsities(request):
    return sparsities_of(request.param)


def drawn(sparsities, target, rng):
    """A genome within the bounds, on the budget."""
    genes = sparsities.genes
    genome = [rng.uniform(gene.low, gene.up) for gene in genes]
    prices = [-weight for weight in sparsities.weights]
    total = sum(group.size for group in sparsities.groups)
    budget = Additive(genes, prices, (1 - target) * total, "weights", float(total))
    found = shift(budget, genome)
    assert budget.kept(found)
    return found


def test_a_genome_on_the_budget_removes_it_whatever_its_genes_mean(sparsities):
    rng, sizes = random.Random(0), [group.size for group in sparsities.groups]
    for _ in range(20):
        found = sparsities.of(drawn(sparsities, 0.45, rng))
        removed = sum(s * size for s, size in zip(found, sizes, strict=True))
        assert removed / sum(sizes) == pytest.approx(0.45, abs=1e-9)
        assert all(-1e-12 <= s <= 0.9 + 1e-12 for s in found)


@pytest.mark.parametrize("sparsity", [0.0, 0.45, 0.9, 0.95])
def test_uniform_is_the_same_for_every_matrix(sparsities, sparsity):
    assert list(sparsities.of(sparsities.uniform(sparsity))) == pytest.approx([sparsity] * len(sparsities.groups))


def test_block_and_kind_add_up():
    sparsities = sparsities_of("block_and_kind")
    kinds = len(sparsities.genes) - 3
    genome = [0.3, 0.4, 0.5] + [0.01 * kind for kind in range(kinds)]
    expected = [block + kind for block in genome[:3] for kind in genome[3:]]
    assert list(sparsities.of(genome)) == pytest.approx(expected)


@pytest.mark.parametrize(("genes", "count"), [("block", 3), ("matrix", 12), ("block_and_kind", 12)])
def test_groups_part_the_matrices(genes, count):
    matrices = find_matrices(random_model("gpt2"))
    groups = group(matrices, genes)
    assert len(groups) == len({one.name for one in groups}) == count
    assert sorted(m.name for one in groups for m in one.matrices) == sorted(m.name for m in matrices)
