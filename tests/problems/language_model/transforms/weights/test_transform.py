"""Final weights, weights that layers make, results in the cache, and settings."""

import importlib

import pytest
import torch

from evoprune.experiment.registry import plugin
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.settings import PruningSettings
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from tests.problems.language_model.small import counted_sparsity, weights_of


@pytest.mark.parametrize(("settings", "changes"), [({}, False), ({"reconstruct": "least_squares"}, True)])
def test_to_finalise_is_to_apply_unless_the_rest_is_updated(pruning, settings, changes):
    made, genome = pruning(**settings).session.transform.transforms[0], [0.4] * 3
    assert made.updates == changes
    made.apply(genome)
    applied = weights_of(made.resident.model)
    made.finalise(genome)
    assert all(map(torch.equal, weights_of(made.resident.model), applied)) != changes
    assert counted_sparsity(made.resident.model) == pytest.approx(0.4, abs=1e-4)
    made.apply(genome)
    assert all(map(torch.equal, weights_of(made.resident.model), applied))


def test_weights_made_as_their_layer_runs_give_the_same_bits(pruning):
    at_once, late = (pruning(memory=memory, score="wanda").session for memory in ("resident", "stream"))
    loaded = weights_of(late.resident.model)
    for genome in ([0.4, 0.0, 0.7], [0.4, 0.3, 0.7], [0.0] * 3):
        one, other = (session.fitness.value(genome) for session in (at_once, late))
        assert one == other
        assert at_once.resident.removed_weights == late.resident.removed_weights
        assert all(map(torch.equal, weights_of(late.resident.model), loaded))
        copied = FinalModel(late, genome).copy().model
        assert all(map(torch.equal, weights_of(copied), weights_of(at_once.resident.model)))


@pytest.mark.parametrize("settings", [{}, {"reconstruct_stages": (0.2, 0.5)}])
def test_what_is_kept_is_what_is_computed(pruning, monkeypatch, settings):
    def finalised(genome):
        made = pruning(score="gblm", reconstruct="least_squares", **settings).session.transform.transforms[0]
        genome = [genome] * len(made.genes)
        made.apply(genome)
        applied = weights_of(made.resident.model)
        made.finalise(genome)
        return applied + weights_of(made.resident.model)

    computed, other = finalised(0.4), finalised(0.6)
    assert not all(map(torch.equal, computed, other))

    def again(*_):
        raise AssertionError("computed again")

    for name in ("scoring.statistics", "reconstruction.update"):
        monkeypatch.setattr(f"evoprune.problems.language_model.transforms.weights.{name}", again)
    assert all(map(torch.equal, finalised(0.4), computed))
    assert all(map(torch.equal, finalised(0.6), other))


def test_a_score_that_was_edited_is_not_taken_for_what_it_was(pruning, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code = "def helped(weight):\n    return _help(weight)\n\ndef _help(weight):\n    return {}weight\n"
    means = []
    for sign in ("", "-"):
        (tmp_path / "edited_scores.py").write_text(code.format(sign))
        importlib.reload(plugin("edited_scores"))
        cut = pruning(score="edited_scores:helped").session.transform.transforms[0]
        cut.apply([0.5] * 3)
        weight = cut.matrices[0].weight
        means.append(weight[weight != 0].mean())
    assert means[1] < 0 < means[0]


def test_stages_need_a_way_to_reconstruct_and_rise_between_dense_and_nothing():
    for settings in (WeightsSettings, PruningSettings):
        with pytest.raises(ValueError, match="reconstruct_stages needs reconstruct: least_squares"):
            settings(reconstruct_stages=(0.3, 0.5))
    for stages in ((0.5, 0.3), (0.3, 0.3), (0.0, 0.3), (0.3, 1.0)):
        with pytest.raises(ValueError, match="expected rising sparsities"):
            WeightsSettings(reconstruct="least_squares", reconstruct_stages=stages)
