import torch
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM, Gemma3Config

from problems.models.forward import Forward
from tests.problems.small import random_model


def test_every_architecture_resumes_exactly_from_every_block(model, tokens):
    forward = Forward(model)
    assert forward.resumable
    whole, kept = forward(tokens, keep=range(1, forward.depth))
    for block, state in kept.items():
        assert torch.equal(forward(tokens, block, state)[0], whole)
    assert torch.equal(forward(tokens)[0], whole)


def test_a_model_whose_blocks_pass_something_by_each_other_is_always_run_whole():
    """The last block also reads what the second one gave."""
    model, seen = random_model("gpt2", blocks=6), {}
    blocks = Forward(model)._blocks
    blocks[1].register_forward_hook(lambda _, given, output: seen.update(output=output))
    blocks[-1].register_forward_hook(lambda _, given, output: output + seen["output"])
    assert not Forward(model).resumable


def test_a_model_whose_blocks_return_more_than_a_tensor_is_always_run_whole(tokens):
    config = BloomConfig(vocab_size=128, hidden_size=32, n_layer=3, n_head=2)
    model = BloomForCausalLM(config).eval().requires_grad_(False)
    forward = Forward(model)
    assert not forward.resumable
    assert torch.allclose(forward.logits(forward(tokens)[0]), model(tokens).logits, atol=1e-5)


def test_the_model_is_left_as_it_was(model, tokens):
    before = [dict(block.__dict__) for block in Forward(model)._blocks]
    forward = Forward(model)
    _, kept = forward(tokens, keep=[1])
    forward(tokens, 1, kept[1])
    assert [set(block.__dict__) for block in forward._blocks] == [set(names) for names in before]


def test_of_a_model_that_reads_images_too_the_part_for_text_is_run(tokens):
    text = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "head_dim": 8}
    images = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = AutoModelForCausalLM.from_config(Gemma3Config(text_config=text, vision_config=images)).eval()
    forward = Forward(model)
    assert forward.depth == 3
    assert forward.resumable
    assert forward(tokens)[0].shape == (*tokens.shape, 32)
    assert forward.bytes_per_state == 32 * 4
