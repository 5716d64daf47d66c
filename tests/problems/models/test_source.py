"""The format of a source is that of most of its weights, whatever its config says."""

import json

import pytest
import torch
from safetensors.torch import save_file

from problems.models.load import stored_dtype, weight_files
from problems.models.settings import ModelSettings


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_most_weights_decide(tmp_path, dtype):
    save_file({"a": torch.zeros(64, 4, dtype=getattr(torch, dtype))}, tmp_path / "model-00001.safetensors")
    save_file({"b": torch.zeros(9, dtype=torch.float64)}, tmp_path / "model-00002.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "float64"}))
    settings = ModelSettings(model=str(tmp_path))
    assert stored_dtype(settings) == dtype
    assert [path.name for path in weight_files(settings)] == ["model-00001.safetensors", "model-00002.safetensors"]


def test_the_same_weights_in_other_files_are_not_counted_again(tmp_path):
    weights = {"a": torch.zeros(64), "b": torch.zeros(9)}
    for name, tensor in weights.items():
        save_file({name: tensor}, tmp_path / f"model-{name}.safetensors")
    save_file(weights, tmp_path / "consolidated.safetensors")
    index = {"weight_map": {name: f"model-{name}.safetensors" for name in weights}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    names = [path.name for path in weight_files(ModelSettings(model=str(tmp_path)))]
    assert names == ["model-a.safetensors", "model-b.safetensors"]
    save_file(weights, tmp_path / "model.safetensors")
    assert [path.name for path in weight_files(ModelSettings(model=str(tmp_path)))] == ["model.safetensors"]


def test_weights_that_were_quantised_have_16_bits(tmp_path):
    pytest.importorskip("gguf")
    from tests.problems.gguf.models import random_llama, write_model

    path = write_model(random_llama(), tmp_path / "model.gguf")
    assert stored_dtype(ModelSettings(model=str(path))) == "float16"
    save_file({"a": torch.zeros(64, dtype=torch.int8)}, tmp_path / "model.safetensors")
    assert stored_dtype(ModelSettings(model=str(tmp_path))) == "float16"


def test_the_bundled_model_has_16_bits_and_what_is_not_here_none():
    assert stored_dtype(ModelSettings()) == "float16"
    assert stored_dtype(ModelSettings(model="nobody/nothing")) is None
