"""What models write is what generating with transformers gives."""

import torch

from problems.language_model.writing import PROMPTS, greedy, written


def test_the_likeliest_tokens_are_those_of_generate(model, tokens):
    expected = model.generate(tokens[:2, :8], min_new_tokens=10, max_new_tokens=10, do_sample=False)
    assert torch.equal(greedy(model, tokens[:2, :8], 10), expected[:, 8:])


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
