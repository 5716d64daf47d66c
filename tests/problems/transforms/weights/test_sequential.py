"""A whole model reconstructed: its mask, its way back, and what it is good for."""

import pytest
import torch
from problems.reconstruction.sparsegpt import inverse_factor, sparsegpt

from problems.models.forward import Walk
from problems.transforms.weights.reconstruction import reconstruct
from tests.problems.small import counted_sparsity, inputs_of, weights_of

GENOME, OTHER = [0.3, 0.4, 0.5], [0.2] * 3


@pytest.fixture
def problem(pruning):
    """On the small model; what goes is what the score says."""
    return pruning(reconstruct="sparsegpt", reconstruct_mask="score")


def update(cut, genome, **settings):
    """Mask the model of ``cut``, and reconstruct it with its settings changed."""
    cut.apply(genome)
    reconstruct(cut.resident, cut.settings.model_copy(update=settings), cut.masks, cut.texts.calibration.tokens)


def test_zeros_are_the_masks_and_the_next_genome_is_not_touched(problem):
    model = problem.session.resident.model
    before = problem.evaluate(GENOME).values, problem.evaluate(OTHER).values
    problem.session.transform.apply(GENOME)
    masked = weights_of(model)
    update(problem.session.transform, GENOME)
    for weight, old in zip(weights_of(model), masked, strict=True):
        assert torch.equal(weight == 0, old == 0)
        assert not torch.equal(weight, old)
    assert (problem.evaluate(GENOME).values, problem.evaluate(OTHER).values) == before


def test_an_interrupted_reconstruction_leaves_nothing_behind(problem, monkeypatch):
    before = problem.evaluate(GENOME).values

    class Interrupted(Walk):
        def advance(self, block):
            if block == 1:
                raise KeyboardInterrupt
            super().advance(block)

    monkeypatch.setattr("problems.transforms.weights.reconstruction.Walk", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        update(problem.session.transform, GENOME)
    assert problem.evaluate(GENOME).values == before


def test_each_block_is_updated_on_what_the_reconstructed_ones_before_it_give(problem):
    cut, model = problem.session.transform, problem.session.resident.model
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


@pytest.mark.parametrize("way", ["sparsegpt", "least_squares"])
def test_sparsegpts_own_mask_is_on_budget_in_each_matrix(problem, way):
    problem.session.transform.apply(GENOME)
    masked = weights_of(problem.session.resident.model)
    update(problem.session.transform, GENOME, reconstruct=way, reconstruct_mask="adaptive")
    for weight, old in zip(weights_of(problem.session.resident.model), masked, strict=True):
        assert int((weight == 0).sum()) == int((old == 0).sum())
        assert not torch.equal(weight == 0, old == 0)


@pytest.mark.slow
def test_a_trained_model_loses_less_and_sparsegpts_own_mask_is_on_budget(bundled):
    """Whatever updates it; least squares does no worse than SparseGPT on what calibrated."""
    problem = bundled(reconstruct="sparsegpt")
    session, cut = problem.session, problem.session.transform
    measure, genome = session.fitness.measure, [0.4] * 12
    masked = session.fitness.perplexity(genome, session.texts.report.tokens)
    for settings in ({"reconstruct_mask": "score"}, {"reconstruct_mask": "adaptive"}):
        update(cut, genome, **settings)
        assert measure.perplexity(session.texts.report.tokens) < 0.5 * masked
        assert counted_sparsity(session.resident.model) == pytest.approx(0.4, abs=1e-4)
    perplexities = []
    for way in ("sparsegpt", "least_squares"):
        update(cut, [0.6] * 12, reconstruct=way, reconstruct_mask="score")
        assert counted_sparsity(session.resident.model) == pytest.approx(0.6, abs=1e-4)
        perplexities.append(measure.perplexity(session.texts.calibration.tokens))
    assert perplexities[1] < perplexities[0]
