"""What models write is what generating with transformers gives."""

import torch
from transformers import Lfm2Config, Lfm2ForCausalLM

from problems.results.continuations import PROMPTS, greedy, written


def test_the_likeliest_tokens_are_those_of_generate(model, tokens):
    expected = model.generate(tokens[:2, :8], min_new_tokens=10, max_new_tokens=10, do_sample=False)
    assert torch.equal(greedy(model, tokens[:2, :8], 10), expected[:, 8:])


def test_a_model_that_keeps_other_states_than_keys_and_values_writes_too(tokens):
    config = Lfm2Config(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, layer_types=["conv", "full_attention", "conv"],
    )  # fmt: skip
    model = Lfm2ForCausalLM(config).eval()
    assert greedy(model, tokens[:2, :8], 3).shape == (2, 3)


def test_each_model_continues_the_same_prompts_and_the_last_stays(language_model):
    session = language_model().session
    tokenizer, report = session.resident.tokenizer, session.texts.report
    found = written(session, {"dense": [0.0] * 3, "evolved": [0.8] * 3})
    assert list(found) == [tokenizer.decode(row) for row in report.tokens[:PROMPTS, :16]]
    assert all(set(said) == {"dense", "evolved"} for said in found.values())
    assert [said for said in found.values() if said["dense"] != said["evolved"]]
    assert session.resident.removed_weights > 0
    session.transform.apply([0.0] * 3)
    model = session.resident.model
    expected = model.generate(report.tokens[:1, :16], min_new_tokens=24, max_new_tokens=24, do_sample=False)
    first = next(iter(found.values()))
    assert first["dense"] == tokenizer.decode(expected[0, 16:], skip_special_tokens=True)
