"""What a resident model is known by."""

import pytest
import torch

from evoprune import InputError
from problems.models.resident import Resident
from problems.models.settings import ModelSettings
from tests.problems.small import random_model, save


@pytest.fixture
def settings(tmp_path):
    return ModelSettings(model=save(random_model("gpt2"), tmp_path), dtype="float32", device="cpu")


@pytest.mark.parametrize("part", ["transformer.wte", "transformer.ln_f", "transformer.h.0.mlp.c_fc"])
def test_weights_of_every_part_of_the_model_are_in_its_hash(part, settings, tmp_path):
    resident = Resident.load(settings)
    before = resident.weights_sha256
    assert Resident.load(settings).weights_sha256 == before
    resident.model.get_submodule(part).weight.mul_(1.5)
    changed = settings.model_copy(update={"model": save(resident.model, tmp_path / "changed")})
    assert Resident.load(changed).weights_sha256 != before


def test_the_number_format_is_in_the_hash(settings):
    half = settings.model_copy(update={"dtype": "bfloat16"})
    assert Resident.load(half).dtype == "bfloat16"
    assert Resident.load(half).weights_sha256 != Resident.load(settings).weights_sha256


def test_the_hash_is_that_of_what_was_loaded_whatever_changes_the_model_later(settings):
    resident = Resident.load(settings)
    before = resident.weights_sha256
    with torch.no_grad():
        resident.matrices[0].weight.zero_()
    assert resident.weights_sha256 == before


def test_a_resident_knows_its_source_its_size_and_its_place(settings):
    resident = Resident.load(settings)
    assert resident.source == settings.model
    assert resident.parameters == sum(p.numel() for p in random_model("gpt2").parameters())
    assert (resident.dtype, resident.place) == ("float32", "cpu")
    assert {matrix.block for matrix in resident.matrices} == {0, 1, 2}


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no config\.json"):
        Resident.load(ModelSettings(model=str(tmp_path)))
