"""The fitness of genomes against a plain forward, and what relatives share."""

import math
import random

import pytest

from problems.evaluation.prefix_cache import PrefixCache
from tests.problems.small import plain_perplexity


def genomes(count):
    rng = random.Random(0)
    drawn = [[rng.uniform(0.1, 0.6) for _ in range(3)] for _ in range(count)]
    return drawn + [[*genome[:2], rng.uniform(0.1, 0.6)] for genome in drawn]


def test_perplexity_is_that_of_a_plain_forward_of_the_transformed_model(session):
    tokens = session.texts.search.tokens
    value, scored = session.fitness.value([0.1, 0.5, 0.3])
    assert value == pytest.approx(plain_perplexity(session.resident.model, tokens), rel=1e-4)
    assert scored == tokens.numel()


@pytest.mark.parametrize("objective", ["perplexity", "kl"])
def test_what_relatives_have_computed_changes_no_result(pruning, objective, monkeypatch):
    skipped = []
    longest = PrefixCache.longest
    monkeypatch.setattr(
        PrefixCache, "longest", lambda *given: skipped.append((found := longest(*given))[0]) or found
    )  # the block that each batch begins at
    reusing, plain = (pruning(objective=objective, reuse_mib=mib).session.fitness for mib in (512, 0))
    tried = genomes(4)
    for genome in [*tried, *reversed(tried)]:
        assert reusing.value(genome) == plain.value(genome)
    assert max(skipped) == 2


@pytest.mark.parametrize(("fidelity", "windows"), [(1.0, 4), (0.6, 3), (0.5, 2), (0.01, 1)])
def test_a_fidelity_is_a_share_of_the_windows_from_the_first_on_rounded_up(pruning, small, fidelity, windows):
    session = pruning(search_text=small["search_text"] | {"windows": 4}).session
    value, scored = session.fitness.value([0.3] * 3, fidelity)
    assert scored == windows * 32
    assert value == session.fitness.perplexity([0.3] * 3, session.texts.search.tokens[:windows])


def test_the_loss_is_in_nats_whatever_the_objective(pruning):
    by_perplexity, by_divergence = (pruning(objective=name).session.fitness for name in ("perplexity", "kl"))
    genome = [0.2] * 3
    assert by_perplexity.loss(genome) == pytest.approx(math.log(by_perplexity.value(genome)[0]))
    assert by_divergence.loss(genome) == by_divergence.value(genome)[0]
    assert by_divergence.loss([0.0] * 3) == pytest.approx(0, abs=1e-6)


def test_scored_tokens_add_up_and_those_of_other_texts_do_not_count(session):
    fitness = session.fitness
    fitness.value([0.3] * 3)
    fitness.loss([0.3] * 3, 0.5)
    fitness.perplexity([0.3] * 3, session.texts.report.tokens)
    assert fitness.tokens_scored == 64 + 32
