import shutil

import torch
from transformers import AutoModelForCausalLM

from problems.language_model.model.load import BUNDLED_WEIGHTS, load_model
from problems.language_model.settings import ModelSettings
from tests.problems.small import random_model


def test_bfloat16_rounds_the_weights_but_not_the_rotary_frequencies(tmp_path):
    """As transformers does when it loads in bfloat16 itself."""
    random_model("llama").save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED_WEIGHTS / name, tmp_path)
    ours, _ = load_model(ModelSettings(model=str(tmp_path), dtype="bfloat16", device="cpu"))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.bfloat16}
    buffers = dict(theirs.named_buffers())
    assert buffers
    for name, buffer in ours.named_buffers():
        assert buffer.dtype == torch.float32
        assert torch.equal(buffer, buffers[name])
