"""Updates of the result block by block, and of candidates at stages and between them."""

import random

import pytest
import torch

from evoprune.problems.language_model.calibration.statistics import statistics
from evoprune.problems.language_model.calibration.update import inverse_factor, least_squares, sparsegpt
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights import ranks
from evoprune.problems.language_model.transforms.weights.genes import group
from evoprune.problems.language_model.transforms.weights.masks import BASE, Masks
from evoprune.problems.language_model.transforms.weights.reconstruction import reconstruct, reconstruct_at_stages
from evoprune.problems.language_model.transforms.weights.scoring import Scoring
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from tests.problems.language_model.small import inputs_of, random_model, weights_of

GENOME, OTHER = [0.3, 0.4, 0.5], [0.2] * 3


@pytest.fixture
def problem(pruning):
    """On the small model; what goes is what the score says."""
    return pruning(reconstruct="sparsegpt", reconstruct_mask="score")


def update(cut, genome, **settings):
    """Mask the model of ``cut``, and reconstruct it with its settings changed."""
    cut.apply(genome)
    reconstruct(cut.resident, cut.settings.model_copy(update=settings), cut.masks, cut.texts.calibration.tokens)


@pytest.mark.parametrize("mask", ["score", "adaptive"])
def test_as_many_zeros_are_in_each_matrix_and_the_next_genome_is_not_touched(problem, mask):
    model = problem.session.resident.model
    before = problem.evaluate(GENOME).values, problem.evaluate(OTHER).values
    problem.session.transform.apply(GENOME)
    masked = weights_of(model)
    update(problem.session.transform.transforms[0], GENOME, reconstruct_mask=mask)
    for weight, old in zip(weights_of(model), masked, strict=True):
        assert int((weight == 0).sum()) == int((old == 0).sum())
        assert torch.equal(weight == 0, old == 0) == (mask == "score")  # SparseGPT has a mask of its own
        assert not torch.equal(weight, old)
    assert (problem.evaluate(GENOME).values, problem.evaluate(OTHER).values) == before


def test_each_block_is_updated_on_what_the_reconstructed_ones_before_it_give(problem):
    cut, model = problem.session.transform.transforms[0], problem.session.resident.model
    update(cut, GENOME)
    done = {matrix.name: matrix.weight.clone() for matrix in cut.matrices}
    middle = [matrix for matrix in cut.matrices if matrix.block == 1]
    for matrix in middle:  # dense again, between those before it and after it as they came out
        matrix.weight.copy_(cut.masks.base(matrix))
    inputs = inputs_of(model, problem.session.texts.calibration.tokens)
    for matrix in middle:
        rows, kept = torch.from_numpy(inputs[matrix.name]), matrix.rows(done[matrix.name] != 0)
        expected = sparsegpt(matrix.rows(matrix.weight), inverse_factor(rows.T @ rows / len(rows)), kept)
        assert torch.allclose(matrix.rows(done[matrix.name]), expected, atol=1e-3)


STAGES = (0.25, 0.5, 0.75)


def masks(model, tokens, **others):
    """Masks of ``model`` with stages, and without."""
    settings = WeightsSettings(**{"reconstruct": "sparsegpt", "reconstruct_stages": STAGES} | others)
    matrices = find_matrices(model)
    groups = group(matrices, settings.genes)
    scoring = Scoring(matrices, settings.score, settings.scores, settings.scope)
    stored = {BASE + m.name: m.weight.detach().clone() for m in matrices} | scoring.levels(model, groups, tokens)
    updated = reconstruct_at_stages(settings, model, matrices, tokens, stored)
    return Masks(groups, stored | updated, stages=STAGES), Masks(groups, stored)


def zeros(model):
    return [int((weight == 0).sum()) for weight in weights_of(model)]


@pytest.mark.parametrize(
    ("architecture", "way", "mask"),
    [
        ("gpt2", "sparsegpt", "adaptive"),  # Conv1D
        ("llama", "sparsegpt", "score"),  # Linear
        ("llama", "least_squares", "adaptive"),
        ("gpt2", "least_squares", "score"),
    ],
)
def test_at_a_stage_each_layer_is_what_reconstruction_gives_on_the_dense_models_inputs(architecture, way, mask, tokens):
    model = random_model(architecture)
    grams = [known["gram"] for _, known in statistics(model, tokens, find_matrices(model), {"gram"})]
    staged, plain = masks(model, tokens, genes="matrix", reconstruct=way, reconstruct_mask=mask)
    dense = weights_of(model)
    for stage in STAGES:
        plain.apply([stage] * len(dense))
        kept = [matrix.rows(plain.kept(matrix)) for matrix in find_matrices(model)]
        staged.apply([stage] * len(dense))
        for matrix, weight, gram, keeps in zip(find_matrices(model), dense, grams, kept, strict=True):
            rows, removed = matrix.rows(weight), int((~keeps).sum())
            if (way, mask) == ("least_squares", "score"):
                expected = least_squares(rows, gram, keeps, rows * keeps)
            else:
                expected = sparsegpt(rows, inverse_factor(gram), keeps if mask == "score" else None, removed)
            if (way, mask) == ("least_squares", "adaptive"):
                expected = least_squares(rows, gram, expected != 0, expected)
            assert torch.equal(matrix.rows(matrix.weight), expected)
            assert int((expected == 0).sum()) == removed


@pytest.mark.parametrize(
    ("architecture", "scope", "most_levels"),
    [("gpt2", "matrix", 2**16 - 1), ("llama", "row", 1000), ("gpt2", "group", 1000)],
)
def test_between_stages_as_many_go_as_without_and_the_way_there_does_not_matter(
    architecture, scope, most_levels, tokens, monkeypatch
):
    monkeypatch.setattr(ranks, "_MOST_LEVELS", most_levels)  # with 1,000, levels hold several weights
    model = random_model(architecture)
    staged, plain = masks(model, tokens, scope=scope)
    rng = random.Random(0)
    seen = []
    for genome in [[0.0] * 3, *([rng.random() for _ in range(3)] for _ in range(8)), [1.0] * 3]:
        expected = plain.apply(genome), zeros(model)
        plain.forget()
        staged.forget()
        assert (staged.apply(genome), zeros(model)) == expected
        seen.append((genome, weights_of(model)))
    rng.shuffle(seen)
    for genome, before in seen:
        staged.apply(genome)
        assert all(map(torch.equal, weights_of(model), before))
