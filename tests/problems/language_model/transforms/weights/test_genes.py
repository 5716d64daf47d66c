"""The sparsities of genomes, groups of matrices, and how a group shares its cut."""

import random

import pytest
import torch

from evoprune import Additive
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights.allocations import shift
from evoprune.problems.language_model.transforms.weights.genes import group, sparsities_of, split
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from tests.problems.language_model.small import random_model

SHAPES = ("block", "matrix", "block_and_kind")


@pytest.fixture(params=SHAPES)
def sparsities(request):
    return sparsities_of(find_matrices(random_model("llama")), WeightsSettings(genes=request.param))


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
    sparsities = sparsities_of(find_matrices(random_model("llama")), WeightsSettings(genes="block_and_kind"))
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


@pytest.mark.parametrize("sparsity", [0.0, 0.123456, 0.5, 1.0])
def test_what_a_group_loses_is_its_share_to_half_a_level(sparsity):
    (of_block, *_) = group(find_matrices(random_model("gpt2")), "block")
    cuts = of_block.cuts(sparsity)
    assert sum(removed for _, removed in cuts) == pytest.approx(sparsity * of_block.size, abs=1)
    for matrix, (_, removed) in zip(of_block.matrices, cuts, strict=True):
        assert removed / matrix.size == pytest.approx(sparsity, abs=1e-3)


def test_a_split_takes_the_lowest_scores_of_all_together():
    low, high = torch.arange(10.0), torch.arange(100.0, 110.0)
    tables = split([high, low])
    half = len(tables[0]) // 2
    assert tables[0][[0, half, -1]].tolist() == [0, 0, 10]  # of the higher ones none goes before all the lower ones
    assert tables[1][[0, half, -1]].tolist() == [0, 10, 20]  # counted up over the matrices
