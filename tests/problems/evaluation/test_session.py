"""What a session holds, and when its texts are read."""

import pytest
import torch

from evoprune import InputError
from problems.evaluation.session import Session
from problems.language_model.settings import LanguageModelSettings
from problems.transforms.weights.settings import WeightsSettings
from problems.transforms.weights.transform import Weights


def start(settings, made=Weights):
    return Session.start(settings, False, lambda resident, texts: made(resident, WeightsSettings(), texts))


def test_all_parts_share_one_model_and_one_search_text(small):
    session = start(LanguageModelSettings(**small))
    assert session.transform.resident is session.resident
    assert session.transform.texts is session.texts
    value, tokens = session.fitness.value(session.transform.dense)
    assert tokens == session.texts.search.tokens.numel()
    assert value == session.fitness.measure.perplexity(session.texts.search.tokens)


def test_the_hash_is_of_the_weights_before_anything_changed_them(small):
    class Spoiling(Weights):
        def __init__(self, resident, settings, texts):
            super().__init__(resident, settings, texts)
            with torch.no_grad():
                resident.matrices[0].weight.zero_()

    settings = LanguageModelSettings(**small)
    assert start(settings, Spoiling).resident.weights_sha256 == start(settings).resident.weights_sha256


def test_a_text_that_cannot_be_used_is_refused_before_a_transform_is_made(small, tmp_path):
    def make(*_):
        raise AssertionError

    (tmp_path / "short.txt").write_text("w1 w2")
    given = small | {"search_text": {"source": str(tmp_path / "short.txt"), "window": 32}}
    with pytest.raises(InputError, match="0 windows of 32"):
        Session.start(LanguageModelSettings(**given), False, make)
