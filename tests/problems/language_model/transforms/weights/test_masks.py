"""Ranks and thresholds: exact despite ties, within a matrix, its rows, or a group."""

import pytest
import torch

from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights.genes import group_matrices
from evoprune.problems.language_model.transforms.weights.masks import (
    bins,
    ranks_in_matrix,
    ranks_in_rows,
    threshold,
    thresholds_of,
)
from tests.problems.language_model.small import random_model

TIED = torch.randint(4, (7, 12), generator=torch.Generator().manual_seed(0)).float()
"""Scores with few distinct values, as 4-bit weights have."""


@pytest.mark.parametrize("count", [0, 1, 13, 41, 84])
def test_ranks_are_a_permutation_and_rows_lose_equally_many_of_their_lowest(count):
    for ranks in (ranks_in_matrix(TIED), ranks_in_rows(TIED)):
        assert sorted(ranks.flatten().tolist()) == list(range(84))
    removed = ranks_in_rows(TIED) < count
    assert removed.sum(dim=1).max() - removed.sum(dim=1).min() <= 1
    for scores, gone in zip(TIED, removed, strict=True):
        assert not gone.any() or gone.all() or scores[gone].max() <= scores[~gone].min()


@pytest.mark.parametrize("size", [1, 7, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.4567, 0.999, 1.0])
def test_a_threshold_removes_the_stated_number_and_about_the_wanted_one(size, share):
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    wanted = round(share * size)
    place, removed = threshold(wanted, size)
    assert int((bins(order) < place).sum()) == removed
    assert abs(removed - wanted) <= size / 65_535 / 2 + 1
    assert removed == wanted or size > 65_535


@pytest.mark.parametrize("sparsity", [0.0, 0.123456, 0.5, 1.0])
def test_a_group_loses_its_share_to_half_a_bin(sparsity):
    (of_block, *_) = group_matrices(find_matrices(random_model("gpt2")), "block")
    thresholds = thresholds_of(of_block, sparsity)
    assert sum(removed for _, removed in thresholds) == pytest.approx(sparsity * of_block.size, abs=1)
    for matrix, (_, removed) in zip(of_block.matrices, thresholds, strict=True):
        assert removed / matrix.size == pytest.approx(sparsity, abs=1e-3)
