import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.evaluation import EvaluationSettings
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
    value, _ = session.fitness.value([0.1, 0.5, 0.3])
    plain = plain_perplexity(session.resident.model, session.texts.search.tokens)
    assert value == pytest.approx(plain, rel=1e-4)
    assert session.fitness.scores([0.1, 0.5, 0.3], [session.texts.search])[0].perplexity == pytest.approx(
        plain, rel=1e-4
    )


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


@pytest.mark.parametrize(("fidelity", "windows"), [(1.0, 4), (0.6, 3), (0.5, 2), (0.01, 1)])
def test_a_fidelity_is_a_share_of_the_windows_from_the_first_on_rounded_up(start, small, fidelity, windows):
    session = start(search_text=small["search_text"] | {"windows": 4})
    value, scored = session.fitness.value([0.3] * 3, fidelity)
    assert scored == windows * 32
    assert value == session.fitness.measure.perplexity(session.texts.search.tokens[:windows])


def test_the_divergence_of_the_dense_model_scores_no_token(start):
    assert start(objective="kl").fitness.value([0.0] * 3) == (0, 0)
