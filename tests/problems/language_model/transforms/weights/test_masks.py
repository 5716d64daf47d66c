"""Ranks and cuts: exact despite ties, within a matrix, its rows, or a group."""

import pytest
import torch

from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights.genes import group
from evoprune.problems.language_model.transforms.weights.masks import (
    cut,
    cuts_of,
    levels,
    ranks_in_matrix,
    ranks_in_rows,
)
from tests.problems.language_model.small import random_model


def tied(rows, columns, seed=0):
    """Scores with few distinct values, as 4-bit weights have."""
    return torch.randint(4, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("rank", [ranks_in_matrix, ranks_in_rows])
def test_ranks_are_a_permutation_despite_ties(rank):
    ranks = rank(tied(7, 12))
    assert sorted(ranks.flatten().tolist()) == list(range(84))


@pytest.mark.parametrize("count", [0, 1, 13, 41, 84])
def test_rows_lose_equally_many_of_their_own_lowest(count):
    score = tied(7, 12)
    removed = ranks_in_rows(score) < count
    per_row = removed.sum(dim=1)
    assert removed.sum() == count
    assert per_row.max() - per_row.min() <= 1
    for scores, gone in zip(score, removed, strict=True):
        assert not gone.any() or gone.all() or scores[gone].max() <= scores[~gone].min()


@pytest.mark.parametrize("size", [1, 7, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.4567, 0.999, 1.0])
def test_a_cut_removes_what_it_says_and_about_what_was_wanted(size, share):
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    wanted = round(share * size)
    place, removed = cut(wanted, size)
    assert int((levels(order) < place).sum()) == removed
    assert abs(removed - wanted) <= size / 65_535 / 2 + 1
    assert removed == wanted or size > 65_535


@pytest.mark.parametrize("sparsity", [0.0, 0.123456, 0.5, 1.0])
def test_what_a_group_loses_is_its_share_to_half_a_level(sparsity):
    (of_block, *_) = group(find_matrices(random_model("gpt2")), "block")
    cuts = cuts_of(of_block, sparsity)
    assert sum(removed for _, removed in cuts) == pytest.approx(sparsity * of_block.size, abs=1)
    for matrix, (_, removed) in zip(of_block.matrices, cuts, strict=True):
        assert removed / matrix.size == pytest.approx(sparsity, abs=1e-3)
