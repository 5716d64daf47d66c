"""The sparsities of genomes, and groups of matrices."""

import random

import pytest

from evoprune import Additive
from evoprune.interfaces.algorithm import Individual
from evoprune.operators.repair.shift import shift
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights.genes import BlockAndKind, Sparsities
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from tests.problems.language_model.small import random_model


def sparsities_of(genes):
    kind = BlockAndKind if genes == "block_and_kind" else Sparsities
    return kind(find_matrices(random_model("llama")), WeightsSettings(genes=genes))


@pytest.mark.parametrize(("genes", "groups"), [("block", 3), ("matrix", 21), ("block_and_kind", 21)])
def test_a_genome_on_the_budget_removes_it_from_all_matrices_and_uniform_is_the_same_for_each(genes, groups):
    sparsities, rng = sparsities_of(genes), random.Random(0)
    assert len({group.name for group in sparsities.groups}) == len(sparsities.groups) == groups
    sizes = [group.size for group in sparsities.groups]
    assert sum(sizes) == sum(matrix.size for matrix in find_matrices(random_model("llama")))
    prices = [-weight for weight in sparsities.gene_sizes]
    budget = Additive(sparsities.genes, prices, 0.55 * sum(sizes), "weights", float(sum(sizes)))
    for _ in range(20):
        drawn = Individual([rng.uniform(gene.low, gene.up) for gene in sparsities.genes])
        (genome,) = shift(drawn, genes=sparsities.genes, budget=budget)
        assert budget.kept(genome)
        shares = sparsities.group_sparsities(genome)
        removed = sum(share * size for share, size in zip(shares, sizes, strict=True))
        assert removed / sum(sizes) == pytest.approx(0.45, abs=1e-9)
        assert all(-1e-12 <= share <= 0.9 + 1e-12 for share in shares)
    for sparsity in (0.0, 0.45, 0.9, 0.95):
        assert list(sparsities.group_sparsities(sparsities.uniform(sparsity))) == pytest.approx([sparsity] * groups)


def test_block_and_kind_add_up():
    sparsities = sparsities_of("block_and_kind")
    kinds = len(sparsities.genes) - 3
    genome = [0.3, 0.4, 0.5] + [0.01 * kind for kind in range(kinds)]
    expected = [block + kind for block in genome[:3] for kind in genome[3:]]
    assert list(sparsities.group_sparsities(genome)) == pytest.approx(expected)
