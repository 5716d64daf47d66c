"""The check of an export, and facts that are missing."""

import math

import numpy as np
import pytest

from evoprune import InputError
from evoprune.problems.language_model.export.facts import Check, ExportFacts


def check_of(differences, **changed):
    """A check of a file whose losses differ from the run's by ``differences``."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    found = {"perplexity": 400.0 * math.exp(differences.mean()), "run_perplexity": 400.0, "loss_error": error}
    return Check.model_validate(found | {"tolerance": 0.02, "runtime_divergence": 0.01} | changed)


@pytest.mark.parametrize("tokens", [30, 3000])
def test_a_right_file_passes_on_few_and_many_tokens_and_a_wrong_one_fails_by_loss_or_predictions(tokens):
    noise = 0.3 * np.random.default_rng(0).standard_normal((300, tokens))
    assert sum(check_of(own).fault is not None for own in noise) <= 3
    assert any(abs(own.mean()) > 0.05 for own in noise) == (tokens == 30)
    assert all(check_of(0.5 + own).fault for own in noise)
    assert all(check_of(own, runtime_divergence=0.1, runtime_error=0.01).fault for own in noise[:3])
    for infinite in ("perplexity", "run_perplexity", "loss_error", "runtime_divergence"):
        assert check_of(noise[0], **{infinite: None}).fault


def test_facts_that_are_not_there_are_named_by_their_place(facts):
    with pytest.raises(InputError, match=r"check\.divergence"):
        ExportFacts.read(facts).compared()
    del facts["check"]["tolerance"]
    with pytest.raises(InputError, match=r"check\.tolerance"):
        ExportFacts.read(facts)
