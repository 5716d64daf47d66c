"""A whole small model reconstructed: its mask, its way back, and what it is good for."""

import pytest
import torch

from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.model.walk import Walk
from problems.pruning.reconstruct.sequential import reconstruct
from problems.pruning.reconstruct.sparsegpt import inverse_factor, sparsegpt
from problems.pruning.report import _reconstructed
from problems.pruning.settings import PruningSettings
from tests.problems.pruning.statistics.test_calibration import inputs_of


@pytest.fixture
def evaluator():
    """The bundled model, calibrated on a little text."""
    text = {"source": "bundled:python-docs", "window": 64}
    return Evaluator(
        PruningSettings(
            dtype="float32",
            search_text=text | {"split": "validation", "windows": 4},
            report_text=text | {"split": "test", "windows": 4},
            calibration_text=text | {"split": "validation", "windows": 16},
            reconstruct_mask="score",
        )
    )


def test_zeros_are_the_masks_and_the_next_genome_is_not_touched(evaluator):
    genome, other = [0.3 + 0.02 * block for block in range(12)], [0.2] * 12
    before = evaluator.evaluate(genome).values, evaluator.evaluate(other).values
    evaluator.masks.apply(genome)
    masked = {matrix.name: matrix.weight.clone() for matrix in evaluator.matrices}
    reconstruct(evaluator, genome)
    for matrix in evaluator.matrices:
        assert torch.equal(matrix.weight == 0, masked[matrix.name] == 0)
        assert not torch.equal(matrix.weight, masked[matrix.name])
    assert (evaluator.evaluate(genome).values, evaluator.evaluate(other).values) == before


def test_an_interrupted_reconstruction_leaves_nothing_behind(evaluator, monkeypatch):
    genome = [0.4] * 12
    before = evaluator.evaluate(genome).values

    class Interrupted(Walk):
        def advance(self, block):
            if block == 3:
                raise KeyboardInterrupt
            super().advance(block)

    monkeypatch.setattr("problems.pruning.reconstruct.sequential.Walk", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(evaluator, genome)
    assert evaluator.evaluate(genome).values == before


def test_each_block_is_updated_on_what_the_reconstructed_ones_before_it_give(evaluator):
    genome = [0.4] * 12
    reconstruct(evaluator, genome)
    done = {matrix.name: matrix.weight.clone() for matrix in evaluator.matrices}
    kept = {matrix.name: matrix.rows(matrix.weight != 0) for matrix in evaluator.matrices}
    for matrix in evaluator.matrices:
        if matrix.block == 7:  # dense again, between those before it and after it as they came out
            matrix.weight.copy_(evaluator.masks.base(matrix))
    inputs = inputs_of(evaluator.model, evaluator.calibration.tokens)
    for matrix in evaluator.matrices:
        if matrix.block == 7:
            rows = torch.from_numpy(inputs[matrix.name])
            expected = sparsegpt(
                matrix.rows(matrix.weight), inverse_factor(rows.T @ rows / len(rows)), kept[matrix.name]
            )
            assert torch.allclose(matrix.rows(done[matrix.name]), expected, atol=1e-3)


def test_perplexity_falls_and_sparsegpts_own_mask_is_on_budget(evaluator):
    genome = [0.4] * 12
    masked = evaluator.perplexity(genome, evaluator.report.tokens)
    reconstruct(evaluator, genome)
    assert evaluator.measure.perplexity(evaluator.report.tokens) < 0.5 * masked
    evaluator.settings = evaluator.settings.model_copy(update={"reconstruct_mask": "adaptive"})
    reconstruct(evaluator, genome)
    assert evaluator.measure.perplexity(evaluator.report.tokens) < 0.5 * masked
    assert evaluator.masks.zeros() / evaluator.masks.total == pytest.approx(0.4, abs=1e-4)


def test_least_squares_keeps_the_mask_and_is_no_worse_on_what_calibrated(evaluator):
    perplexities = []
    for way in ("sparsegpt", "least_squares"):
        evaluator.settings = evaluator.settings.model_copy(update={"reconstruct": way})
        reconstruct(evaluator, [0.6] * 12)
        assert evaluator.masks.zeros() / evaluator.masks.total == pytest.approx(0.6, abs=1e-4)
        perplexities.append(evaluator.measure.perplexity(evaluator.calibration.tokens))
    assert perplexities[1] < perplexities[0]


def test_uniform_is_reconstructed_alike_whatever_the_genes_mean(evaluator):
    """A gene for a kind is added to its blocks' sparsity: uniform is not the same number everywhere."""
    other = Evaluator(evaluator.settings.model_copy(update={"genes": "block_and_kind"}))
    found = [_reconstructed(each, each.genes.uniform(0.3))["report_reconstructed"] for each in (evaluator, other)]
    assert found[0]["uniform"] == pytest.approx(found[1]["uniform"], rel=1e-3)
