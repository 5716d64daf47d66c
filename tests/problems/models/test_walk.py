"""Block after block gives what the whole model gives, with blocks as they are when the walk comes to them."""

import torch

from problems.models.forward import Forward, Walk
from tests.problems.small import random_model


def test_the_states_after_a_block_are_those_before_the_next_in_the_whole_model(model, tokens):
    forward = Forward(model)
    _, states = forward(tokens, keep=range(1, forward.depth))
    walk = Walk(forward, tokens, 64)  # batches of two windows
    for block in range(forward.depth - 1):
        found = walk.run(block)
        assert [len(batch) for batch in found] == [2, 2, 1]
        torch.testing.assert_close(torch.cat(found), states[block + 1])
        walk.advance(block)


def test_what_was_changed_before_the_walk_came_there_is_seen_by_the_next_blocks(tokens):
    model = random_model("gpt2")
    forward = Forward(model)
    walk = Walk(forward, tokens, 64)
    before = torch.cat(walk.run(0))
    model.transformer.h[0].mlp.c_proj.weight.mul_(2)
    walk.advance(0)
    after = torch.cat(walk.run(1))
    assert not torch.equal(torch.cat(Walk(forward, tokens, 64).run(0)), before)
    torch.testing.assert_close(after, forward(tokens, keep=[2])[1][2])
