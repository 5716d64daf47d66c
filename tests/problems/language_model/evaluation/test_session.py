import random

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.evaluation import EvaluationSettings
from evoprune.problems.language_model.evaluation.prefix_cache import PrefixCache
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from evoprune.problems.language_model.transforms.weights.transform import Weights
from tests.problems.language_model.small import plain_perplexity


@pytest.fixture
def start(small):
    """Starts a session of masked weights, with other settings where they are given."""

    def call(made=Weights, **given):
        settings = EvaluationSettings(**small | given)
        return Session.start(settings, [(made, WeightsSettings())])

    return call


def test_all_parts_share_one_model_and_one_search_text(start):
    session = start()
    assert session.transform.resident is session.resident
    assert session.transform.transforms[0].texts is session.texts
    value, tokens = session.fitness.value(session.transform.dense)
    assert tokens == session.texts.search.tokens.numel()
    assert value == session.fitness.measure.perplexity(session.texts.search.tokens)


def test_the_hash_is_of_the_weights_before_anything_changed_them(start):
    class Spoiling(Weights):
        def __init__(self, resident, settings, texts):
            super().__init__(resident, settings, texts)
            with torch.no_grad():
                resident.matrices[0].weight.zero_()

    assert start(Spoiling).resident.weights_sha256 == start().resident.weights_sha256


def test_a_text_that_cannot_be_used_is_refused_before_a_transform_is_made(start, tmp_path):
    class Made(Weights):
        def __init__(self, *_):
            pytest.fail("made")

    (tmp_path / "short.txt").write_text("w1 w2")
    with pytest.raises(InputError, match="0 windows of 32"):
        start(Made, search_text={"source": str(tmp_path / "short.txt"), "window": 32})


def test_perplexity_is_that_of_a_plain_forward_of_the_transformed_model(start):
    session = start()
    tokens = session.texts.search.tokens
    value, scored = session.fitness.value([0.1, 0.5, 0.3])
    assert value == pytest.approx(plain_perplexity(session.resident.model, tokens), rel=1e-4)
    assert scored == tokens.numel()


@pytest.mark.parametrize("objective", ["perplexity", "kl"])
def test_what_relatives_have_computed_changes_no_result(start, objective, monkeypatch):
    skipped, longest = [], PrefixCache.longest
    monkeypatch.setattr(PrefixCache, "longest", lambda *given: skipped.append((found := longest(*given))[0]) or found)
    reusing, plain = (start(objective=objective, reuse_mib=mib).fitness for mib in (512, 0))
    rng = random.Random(0)
    parents = [[rng.uniform(0.1, 0.6) for _ in range(3)] for _ in range(4)]
    tried = parents + [[*genome[:2], rng.uniform(0.1, 0.6)] for genome in parents]
    for genome in [*tried, *reversed(tried)]:
        assert reusing.value(genome) == plain.value(genome)
    assert max(skipped) == 2


@pytest.mark.parametrize(("fidelity", "windows"), [(1.0, 4), (0.6, 3), (0.5, 2), (0.01, 1)])
def test_a_fidelity_is_a_share_of_the_windows_from_the_first_on_rounded_up(start, small, fidelity, windows):
    session = start(search_text=small["search_text"] | {"windows": 4})
    value, scored = session.fitness.value([0.3] * 3, fidelity)
    assert scored == windows * 32
    assert value == session.fitness.measure.perplexity(session.texts.search.tokens[:windows])


def test_the_divergence_of_the_dense_model_scores_no_token(start):
    assert start(objective="kl").fitness.value([0.0] * 3) == (0, 0)
