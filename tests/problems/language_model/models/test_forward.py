import torch
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM, Gemma3Config

from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.models.forward import Forward, Walk
from tests.problems.language_model.small import random_model


def test_every_architecture_resumes_exactly_from_every_block_and_is_left_as_it_was(model, tokens):
    forward = Forward(model)
    before = [set(block.__dict__) for block in forward._blocks]
    assert forward.resumable
    whole, kept = forward(tokens, keep=range(1, forward.depth))
    for block, state in kept.items():
        assert torch.equal(forward(tokens, block, state)[0], whole)
    assert torch.equal(forward(tokens)[0], whole)
    assert [set(block.__dict__) for block in forward._blocks] == before


def test_a_model_is_probed_once_and_by_a_pass_and_a_half(model):
    ran, blocks = [], find_blocks(model)[1]
    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    forwards = [Forward(model) for _ in range(2)]
    assert all(forward.resumable and forward.head is not None for forward in forwards)
    assert [ran.count(number) for number in range(3)] == [2, 2, 2]  # of those before the middle the hooks alone


def test_models_whose_blocks_exchange_more_than_a_tensor_are_always_run_whole(tokens):
    model, seen = random_model("gpt2", blocks=6), {}
    blocks = find_blocks(model)[1]
    blocks[1].register_forward_hook(lambda _, given, output: seen.update(output=output))
    blocks[-1].register_forward_hook(lambda _, given, output: output + seen["output"])
    assert not Forward(model).resumable
    config = BloomConfig(vocab_size=128, hidden_size=32, n_layer=3, n_head=2)
    model = BloomForCausalLM(config).eval().requires_grad_(False)
    forward = Forward(model)
    assert not forward.resumable
    assert torch.allclose(forward.logits(forward(tokens)[0]), model(tokens).logits, atol=1e-5)


def test_of_a_model_that_reads_images_too_the_part_for_text_is_run(tokens):
    text = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "head_dim": 8}
    images = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = AutoModelForCausalLM.from_config(Gemma3Config(text_config=text, vision_config=images)).eval()
    forward = Forward(model)
    assert forward.depth == 3
    assert forward.resumable
    assert forward(tokens)[0].shape == (*tokens.shape, 32)
    assert forward.bytes_per_state == 32 * 4


def test_a_walk_gives_block_by_block_the_states_of_the_whole_model(model, tokens):
    forward = Forward(model)
    _, states = forward(tokens, keep=range(1, forward.depth))
    walk = Walk(forward, tokens, 64)  # batches of two windows
    for block in range(forward.depth - 1):
        found = walk.run(block)
        assert [len(batch) for batch in found] == [2, 2, 1]
        torch.testing.assert_close(torch.cat(found), states[block + 1])
        walk.advance(block)


def test_a_walk_sees_blocks_as_they_are_when_it_comes_to_them(tokens):
    model = random_model("gpt2")
    forward = Forward(model)
    walk = Walk(forward, tokens, 64)
    before = torch.cat(walk.run(0))
    model.transformer.h[0].mlp.c_proj.weight.mul_(2)
    walk.advance(0)
    after = torch.cat(walk.run(1))
    assert not torch.equal(torch.cat(Walk(forward, tokens, 64).run(0)), before)
    torch.testing.assert_close(after, forward(tokens, keep=[2])[1][2])
