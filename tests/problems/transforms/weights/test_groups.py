"""Which matrices belong together, and how a group shares what it loses."""

import pytest
import torch

from problems.models.blocks import find_matrices
from problems.transforms.weights.genes import group, split
from tests.problems.small import random_model


@pytest.mark.parametrize(("genes", "count"), [("block", 3), ("kind", 4), ("matrix", 12), ("block_and_kind", 12)])
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
