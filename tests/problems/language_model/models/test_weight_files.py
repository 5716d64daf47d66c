"""The files that hold weights."""

import json

import pytest
import torch
from safetensors.torch import save_file

from evoprune import InputError
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import BUNDLED_WEIGHTS, stored_dtype, weight_files


@pytest.mark.parametrize(
    ("dtype", "stored"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("float16", "float16"), ("int8", "float16")]
)
def test_the_stored_dtype_is_that_of_most_weights(tmp_path, dtype, stored):
    save_file({"a": torch.zeros(64, 4, dtype=getattr(torch, dtype))}, tmp_path / "model-00001.safetensors")
    save_file({"b": torch.zeros(9, dtype=torch.float64)}, tmp_path / "model-00002.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "float64"}))
    assert stored_dtype(ModelSettings(model=str(tmp_path))) == stored


def test_the_same_weights_in_other_files_are_not_counted_again(tmp_path):
    weights = {"a": torch.zeros(64), "b": torch.zeros(9)}
    for name, tensor in weights.items():
        save_file({name: tensor}, tmp_path / f"model-{name}.safetensors")
    save_file(weights, tmp_path / "consolidated.safetensors")
    index = {"weight_map": {name: f"model-{name}.safetensors" for name in weights}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_files(ModelSettings(model=str(tmp_path))) == [tmp_path / f"model-{name}.safetensors" for name in "ab"]
    save_file(weights, tmp_path / "model.safetensors")
    assert weight_files(ModelSettings(model=str(tmp_path))) == [tmp_path / "model.safetensors"]


@pytest.mark.parametrize("content", ["", "{}"])
def test_a_damaged_list_of_files_is_named(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json"):
        weight_files(ModelSettings(model=str(tmp_path)))


def test_the_bundled_model_is_there_and_a_model_of_the_hub_may_not_be():
    assert weight_files(ModelSettings()) == [BUNDLED_WEIGHTS / "model.safetensors"]
    assert weight_files(ModelSettings(model="nobody/nothing")) == []
    assert stored_dtype(ModelSettings(model="nobody/nothing")) is None
