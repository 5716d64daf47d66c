import random

import pytest
import torch

from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.evaluation.prefix_cache import PrefixCache
from evoprune.problems.language_model.models.forward import Forward
from tests.problems.language_model.small import masks_of, random_model

STATE_BYTES = 5 * 32 * 64 * 4
"""Of the states of five windows of 32 tokens, width 64, float32."""


class Evaluator:
    """Scores genomes of a small model, with and without states."""

    def __init__(self, architecture, blocks, limit):
        self.forward = Forward(random_model(architecture, blocks=blocks))
        self.masks = masks_of(self.forward.model)
        self.measure = Measure(self.forward, 64)
        self.states = PrefixCache(blocks, STATE_BYTES, limit)

    def score(self, genome, tokens, reuse=True):
        self.masks.apply(genome)
        self.states.set_candidate(self.masks.block_thresholds())
        return self.measure.total(tokens, Perplexity().add, self.states if reuse else None)


def relatives(rng, blocks, pairs):
    """Parents, each followed by a child that differs in some blocks; parents are often met again."""
    parents = [[rng.random() for _ in range(blocks)] for _ in range(10)]
    for _ in range(pairs):
        parent = rng.choice(parents)
        child = list(parent)
        for gene in rng.sample(range(blocks), rng.randint(1, blocks)):
            child[gene] = rng.random()
        yield from (parent, child)


@pytest.mark.parametrize(
    ("architecture", "limit"),
    [("gpt2", STATE_BYTES), ("llama", 30 * STATE_BYTES), ("opt", 30 * STATE_BYTES), ("gpt_neox", 10**9)],
)
def test_reuse_changes_no_result(architecture, limit, tokens):
    evaluator, rng = Evaluator(architecture, 6, limit), random.Random(0)
    for genome in relatives(rng, 6, 20):
        windows = tokens[: rng.choice([1, 2, 3, 5])]  # screening on a part, in any order
        assert evaluator.score(genome, windows) == evaluator.score(genome, windows, reuse=False)
        assert evaluator.states.bytes <= limit


def test_a_child_runs_only_the_blocks_from_the_first_that_differs(tokens):
    evaluator = Evaluator("gpt2", 6, 10**9)
    runs = [0] * 6
    for index, block in enumerate(evaluator.forward._blocks):
        attention = block.attn

        def count(*_, index=index):
            runs[index] += 1

        attention.register_forward_pre_hook(count)
    evaluator.score([0.5] * 6, tokens)
    assert runs == [3] * 6  # batches of two windows
    evaluator.score([0.5, 0.5, 0.5, 0.5, 0.2, 0.5], tokens)
    assert runs == [3, 3, 3, 3, 6, 6]


def test_little_memory_keeps_few_checkpoints_and_none_is_no_error():
    wanted = [len(PrefixCache(30, 100, limit).checkpoints(0)) for limit in (0, 100, 600, 6_000, 10**6)]
    assert wanted == sorted(wanted)
    assert wanted[0] == 0
    assert wanted[-1] == 29


def test_the_least_recently_used_state_goes_first():
    states = PrefixCache(2, 100, 600)

    def score(name):
        states.set_candidate([name, ""])
        if is_stored := states.longest(0, 1)[0] == 1:
            return is_stored
        states.store(0, {1: torch.zeros(1, 25)})
        return False

    assert not any(map(score, range(6)))
    assert score(0)
    assert not score("new")
    assert [score(name) for name in (0, 2, 3, 4, 5, "new")] == [True] * 6
    assert not score(1)


def test_fingerprints_are_told_apart_whatever_they_are_beside():
    states = PrefixCache(4, 100, 10**6)
    states.set_candidate([11, 11, 2, 2])
    states.store(0, {1: torch.zeros(1, 25), 2: torch.zeros(1, 25)})
    states.set_candidate([1, 1, 1, 1])
    assert states.longest(0, 1) == (0, None)
