"""The bundled model as a .gguf file."""

import sys

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from problems.bundled import base
from problems.gguf import llama
from problems.models.load import load_model
from problems.models.settings import ModelSettings
from problems.texts.source import python_docs


def test_llama_reads_texts_in_the_same_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["base", str(tmp_path / "bundled.gguf")])
    base.main()
    model = llama.Llama(str(tmp_path / "bundled.gguf"), 1)
    _, tokenizer = load_model(ModelSettings(dtype="float32", device="cpu"))
    for text in (python_docs("test"), "It's  1234567 times\n\n\t\u00e9\u4e16\U0001f600 _x__ ...<|endoftext|> done "):
        assert model.tokenise(text).tolist() == tokenizer(text)["input_ids"]
