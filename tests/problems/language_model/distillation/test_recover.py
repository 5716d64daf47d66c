"""A recovered model is better, or it stays as it was; zeros stay zero."""

import math
from functools import cache

import numpy
import pytest
import torch

from evoprune import InputError, Stopped
from evoprune.api import Run
from evoprune.problems.language_model.distillation import training
from evoprune.problems.language_model.distillation.recovery import Distillation
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.distillation.training import Training
from evoprune.problems.language_model.gguf import encoded
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.results.final_model import FinalModel
from tests.problems.language_model.recoveries import recover_with, recovered, stop_at_step_5
from tests.problems.language_model.small import plain_perplexity


def test_the_dense_model_has_nothing_to_learn_from_itself(smaller_run, tmp_path):
    rows = recovered(smaller_run, tmp_path, ["dense"], cross_entropy=0).rows
    assert rows["dense"].tokens == 0
    assert rows["dense"].perplexity_after == rows["dense"].perplexity_before
    lost = math.log(rows["evolved"].perplexity_after / rows["dense"].perplexity_before)
    assert rows["evolved"].behind_dense == pytest.approx(lost)


def test_zeros_of_a_pruned_model_stay(run_on, tmp_path):
    found = Run.open(run_on("llama"))
    final = FinalModel(found.problem.session, found.best.genome)
    weights = recover_with(final, tmp_path).weights
    for name, before in final.make_resident().model.named_parameters():
        assert torch.equal(weights[name] == 0, before == 0)
        assert "mlp" not in name or not torch.equal(weights[name], before)


def test_a_device_without_memory_is_told_and_the_checkpoints_stay(smaller_run, tmp_path, monkeypatch):
    stop_at_step_5(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(Stopped, match="no memory left"):
        recovered(smaller_run, tmp_path)
    assert (tmp_path / "evolved" / "step-last.safetensors").exists()


@pytest.fixture
def typed(language_model):
    """Two of three blocks, in 4-bit types."""
    pytest.importorskip("llama_cpp_py_sync")
    types = {"use": "types", "types": ["Q4_0"], "importance": False}
    problem = language_model(transforms=[{"use": "sublayers", "genes": "block"}, types])
    return FinalModel(problem.session, [gene.up * (place != 0) for place, gene in enumerate(problem.genes)])


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_scales_of_a_model_in_16_bits_are_trained(products, language_model, tmp_path, monkeypatch):
    pytest.importorskip("llama_cpp_py_sync")
    monkeypatch.setattr(training, "pick_dtype", lambda *_: products)
    types = {"use": "types", "types": ["Q4_0"], "importance": False}
    problem = language_model(transforms=types, dtype="bfloat16")
    final = FinalModel(problem.session, [gene.up for gene in problem.genes])
    found = recover_with(final, tmp_path, train="scales")
    assert {weight.dtype for weight in found.weights.values()} <= {torch.uint8, torch.bfloat16, torch.float32}
    assert found.rows["evolved"].tokens > 0


def test_weights_are_measured_as_they_are_rounded(typed, tmp_path):
    found, report = recover_with(typed, tmp_path), typed.session.texts.report.tokens
    model = FinalModel(typed.session, typed.genome, found.weights).copy().model
    assert found.rows["evolved"].perplexity_after == pytest.approx(plain_perplexity(model, report), rel=1e-4)
    assert found.helped


def test_a_recovery_that_helps_only_before_rounding_did_not_help(typed, tmp_path, monkeypatch):
    types, models = typed.session.transform.form, []
    encode = types.encode

    def spoilt_when_trained(model, *given):
        found = encode(model, *given)
        models.append(model)
        if len(models) > 1:
            model.get_input_embeddings().weight.data.mul_(-3)
        return found

    monkeypatch.setattr(types, "encode", spoilt_when_trained)
    row = recover_with(typed, tmp_path).rows["evolved"]
    assert row.curve[-1]["held_out"] < row.curve[0]["held_out"]
    assert row.decided[1] > row.decided[0]
    assert not row.helped
    assert row.perplexity_after == row.perplexity_before


@pytest.fixture(scope="module")
def quantised(small):
    """All matrices in 4-bit types of 32 weights, one of them with minima."""
    pytest.importorskip("llama_cpp_py_sync")
    types = {"use": "types", "types": ["Q4_1", "Q4_0"], "importance": False}
    problem = LanguageModel(LanguageModelSettings(**small, transforms=types))
    return FinalModel(problem.session, [float(gene.up - place % 2) for place, gene in enumerate(problem.genes)])


@pytest.fixture(scope="module")
def whole(quantised, tmp_path_factory):
    """Its recovery by scales, each with other settings once."""

    @cache
    def of(**settings):
        return recover_with(quantised, tmp_path_factory.mktemp("whole"), train="scales", **settings)

    return of


def test_codes_that_make_up_for_their_errors_are_trained_from_and_kept(quantised, whole):
    plain, found = whole(keep_codes=True), whole()
    rows = [each.rows["evolved"] for each in (plain, found)]
    assert rows[0].divergence_before == rows[1].divergence_before
    before, (model, after) = (
        quantised.copy().encoded,
        FinalModel(quantised.session, quantised.genome, found.weights).copy(),
    )
    assert rows[1].perplexity_after == pytest.approx(
        plain_perplexity(model, quantised.session.texts.report.tokens), rel=1e-5
    )
    name = next(name for name in after if ".h." in name)
    zeros = 0 * before[name].scales
    assert not numpy.array_equal(after[name].with_scales(zeros).data, before[name].with_scales(zeros).data)


def test_codes_that_are_worse_are_dropped(quantised, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(encoded.GgmlMatrix, "compensated", lambda own, *_: own.with_data(0 * own.data))
    found, plain = recover_with(quantised, tmp_path, train="scales"), whole(keep_codes=True)
    assert all(torch.equal(weight, plain.weights[name]) for name, weight in found.weights.items())


@pytest.mark.parametrize(
    ("given", "left", "found"), [("2m", 30.0, "30.0s"), ("20s", 30.0, "30.0s"), ("2m", -5.0, "1.0s"), (None, 3.0, None)]
)
def test_a_training_has_the_time_that_is_left(given, left, found):
    assert RecoverSettings(time=given).lasting(left).time == found


def test_scales_are_the_default_of_types_without_cuts_and_learn_the_divergence_alone(quantised, typed, session):
    settings = RecoverSettings()
    decided = Distillation(quantised.session, settings, {}).settings
    assert (decided.train, decided.cross_entropy_weight) == ("scales", 0)
    assert Distillation(typed.session, settings, {}).settings == settings
    with pytest.raises(InputError, match="train"):
        Distillation(session, RecoverSettings(train="scales"), {}).check()


def test_a_training_of_scales_that_was_interrupted_ends_with_the_same_bytes(quantised, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_at_step_5(patched, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            recover_with(quantised, tmp_path, train="scales")
    again, weights = recover_with(quantised, tmp_path, train="scales"), whole().weights
    assert again.weights.keys() == weights.keys()
    assert all(torch.equal(each, weights[name]) for name, each in again.weights.items())


def test_scales_are_trained_further_from_where_they_were(quantised, whole, tmp_path):
    further = FinalModel(quantised.session, quantised.genome, whole().weights)
    second, key = recover_with(further, tmp_path, train="scales"), "held_out_divergence"
    best = min(point[key] for point in whole().rows["evolved"].curve)
    assert second.rows["evolved"].curve[0][key] == pytest.approx(best, rel=1e-4)


def test_matrices_may_be_trained_after_their_scales_and_are_then_rounded_anew(quantised, whole, tmp_path):
    further = FinalModel(quantised.session, quantised.genome, whole().weights)
    found = recover_with(further, tmp_path, train="all")
    model = FinalModel(quantised.session, quantised.genome, found.weights).copy().model
    report = quantised.session.texts.report.tokens
    assert found.rows["evolved"].perplexity_after == pytest.approx(plain_perplexity(model, report), rel=1e-4)


def test_the_rate_of_scales_is_lower_where_little_was_lost(quantised, tmp_path, monkeypatch):
    step, rates = Training._step, []

    def noting(training, number, rate):
        rates.append(rate)
        return step(training, number, rate)

    monkeypatch.setattr(Training, "_step", noting)
    found = recover_with(quantised, tmp_path, train="scales", rate=None)
    highest = min(1e-3, 0.003 * found.rows["evolved"].curve[0]["held_out_divergence"])
    assert 0.8 * highest < max(rates) <= highest
