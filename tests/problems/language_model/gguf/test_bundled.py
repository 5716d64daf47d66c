"""The bundled model as a .gguf file."""

import torch

from evoprune.problems.language_model.gguf import llama
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.load import load_model
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.texts.source import python_docs


def test_llama_and_transformers_read_it_back(tmp_path):
    resident = Resident.load(ModelSettings(device="cpu", dtype="float32"))
    contents(resident.model, find_base(resident), {}).write(tmp_path / "bundled.gguf")
    model = llama.Llama(str(tmp_path / "bundled.gguf"), 1)
    dense, tokenizer = load_model(ModelSettings(dtype="float32", device="cpu"))
    for text in (python_docs("test"), "It's  1234567 times\n\n\t\u00e9\u4e16\U0001f600 _x__ ...<|endoftext|> done "):
        assert model.tokenise(text).tolist() == tokenizer(text)["input_ids"]
    settings = ModelSettings(model=str(tmp_path / "bundled.gguf"), dtype="float32", device="cpu")
    back, again = load_model(settings)
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    tokens = torch.arange(40)[None]
    torch.testing.assert_close(back(tokens).logits, dense(tokens).logits, rtol=1e-3, atol=1e-3)
