"""Updates of the result block by block, and of candidates at stages and between them."""

import random
from types import SimpleNamespace

import pytest
import torch

from evoprune.problems.language_model.calibration.statistics import statistics
from evoprune.problems.language_model.calibration.update import inverse_factor
from evoprune.problems.language_model.calibration.update import update as updated_by
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights import masks as masking
from evoprune.problems.language_model.transforms.weights.genes import group_matrices
from evoprune.problems.language_model.transforms.weights.masks import BASE, Masks
from evoprune.problems.language_model.transforms.weights.reconstruction import reconstruct, reconstruct_at_stages
from evoprune.problems.language_model.transforms.weights.scoring import Scoring
from tests.problems.language_model.small import inputs_of, random_model, weights_of

GENOME, OTHER = [0.3, 0.4, 0.5], [0.2] * 3


@pytest.fixture
def problem(pruning):
    return pruning(reconstruct="least_squares")


def update(cut, genome):
    """Mask the model of ``cut``, and reconstruct it."""
    cut.apply(genome)
    reconstruct(cut.resident, cut.masks, cut.texts.calibration.tokens)


def test_as_many_zeros_are_in_each_matrix_and_the_next_genome_is_not_touched(problem):
    model = problem.session.resident.model
    before = problem.evaluate(GENOME).values, problem.evaluate(OTHER).values
    problem.session.transform.apply(GENOME)
    masked = weights_of(model)
    update(problem.session.transform.transforms[0], GENOME)
    for weight, old in zip(weights_of(model), masked, strict=True):
        assert int((weight == 0).sum()) == int((old == 0).sum())
        assert not torch.equal(weight, old)
    assert (problem.evaluate(GENOME).values, problem.evaluate(OTHER).values) == before


def test_each_block_is_updated_on_what_the_reconstructed_ones_before_it_give(problem):
    cut, model = problem.session.transform.transforms[0], problem.session.resident.model
    update(cut, GENOME)
    done = {matrix.name: matrix.weight.clone() for matrix in cut.matrices}
    middle = [matrix for matrix in cut.matrices if matrix.block == 1]
    for matrix in middle:  # dense again, between those before it and after it as they came out
        matrix.weight.copy_(cut.masks.original(matrix))
    inputs = inputs_of(model, problem.session.texts.calibration.tokens)
    for matrix in middle:
        rows, removed = torch.from_numpy(inputs[matrix.name]), int((done[matrix.name] == 0).sum())
        gram = rows.T @ rows / len(rows)
        expected = updated_by(matrix.rows(matrix.weight), gram, inverse_factor(gram), removed)
        assert torch.allclose(matrix.rows(done[matrix.name]), expected, atol=3e-3)


STAGES = (0.25, 0.5, 0.75)


def masks(model, tokens, score="magnitude", genes="block"):
    """Masks of ``model`` with stages, and without."""
    matrices = find_matrices(model)
    groups = group_matrices(matrices, genes)
    scoring = Scoring(matrices, score, SimpleNamespace(calibration=SimpleNamespace(tokens=tokens, identity="")))
    stored = {BASE + m.name: m.weight.detach().clone() for m in matrices} | scoring.bins(model)
    updated = reconstruct_at_stages(STAGES, model, matrices, tokens, stored)
    return Masks(groups, stored | updated, stages=STAGES), Masks(groups, stored)


def zeros(model):
    return [int((weight == 0).sum()) for weight in weights_of(model)]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])  # Conv1D, Linear
def test_at_a_stage_each_layer_is_what_reconstruction_gives_on_the_dense_models_inputs(architecture, tokens):
    model = random_model(architecture)
    grams = [known["gram"] for _, known in statistics(model, tokens, find_matrices(model), {"gram"})]
    staged, plain = masks(model, tokens, genes="matrix")
    dense = weights_of(model)
    for stage in STAGES:
        plain.apply([stage] * len(dense))
        counts = zeros(model)
        staged.apply([stage] * len(dense))
        for matrix, weight, gram, removed in zip(find_matrices(model), dense, grams, counts, strict=True):
            expected = updated_by(matrix.rows(weight), gram, inverse_factor(gram), removed)
            assert torch.equal(matrix.rows(matrix.weight), expected)
            assert int((expected == 0).sum()) == removed


@pytest.mark.parametrize(
    ("architecture", "score", "most_bins"), [("gpt2", "magnitude", 2**16 - 1), ("llama", "wanda", 1000)]
)
def test_between_stages_as_many_go_as_without_and_the_way_there_does_not_matter(
    architecture, score, most_bins, tokens, monkeypatch
):
    monkeypatch.setattr(masking, "_MOST_BINS", most_bins)  # with 1,000, bins have several weights
    model = random_model(architecture)
    staged, plain = masks(model, tokens, score=score)
    rng = random.Random(0)
    seen = []
    for genome in [[0.0] * 3, *([rng.random() for _ in range(3)] for _ in range(8)), [1.0] * 3]:
        expected = plain.apply(genome), zeros(model)
        plain.invalidate()
        staged.invalidate()
        assert (staged.apply(genome), zeros(model)) == expected
        seen.append((genome, weights_of(model)))
    rng.shuffle(seen)
    for genome, before in seen:
        staged.apply(genome)
        assert all(map(torch.equal, weights_of(model), before))
