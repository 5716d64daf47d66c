"""Masks: on target, a function of the genome alone, the lowest first."""

import random

import pytest
import torch

from evoprune.problems.language_model.models.blocks import count_zeros, find_matrices
from tests.problems.language_model.small import counted_sparsity, masks_of


@pytest.mark.parametrize("genes", ["block", "matrix"])
@pytest.mark.parametrize("levels", [None, 4])
def test_sparsity_counted_from_zeros_is_on_target_despite_ties(model, genes, levels):
    if levels:  # few distinct magnitudes and no zeros, as in a model stored in 4 bits
        with torch.no_grad():
            for matrix in find_matrices(model):
                weight = matrix.weight
                weight.copy_(weight.sign() * (weight.abs() / weight.abs().max() * levels).ceil())
    masks = masks_of(model, genes)
    rng = random.Random(0)
    for _ in range(20):
        genome = [rng.random() for _ in masks.groups]
        expected = sum(s * g.size for s, g in zip(genome, masks.groups, strict=True)) / masks.total
        sparsity = masks.apply(genome)
        assert sparsity == pytest.approx(expected, abs=1e-4)
        assert counted_sparsity(model) == sparsity
        assert count_zeros(find_matrices(model)) == round(sparsity * masks.total)
