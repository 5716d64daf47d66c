import pytest

from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.sublayers import set_dropped
from tests.problems.language_model.small import random_model, save


@pytest.fixture
def settings(tmp_path):
    return ModelSettings(model=save(random_model("gpt2"), tmp_path), dtype="float32", device="cpu")


@pytest.mark.parametrize("part", ["transformer.wte", "transformer.ln_f", "transformer.h.0.mlp.c_fc"])
def test_the_hash_is_of_the_weights_of_every_part_as_they_were_loaded(part, settings, tmp_path):
    resident = Resident.load(settings)
    before = resident.weights_sha256
    assert Resident.load(settings).weights_sha256 == before
    resident.model.get_submodule(part).weight.mul_(1.5)
    assert resident.weights_sha256 == before
    changed = settings.model_copy(update={"model": save(resident.model, tmp_path / "changed")})
    assert Resident.load(changed).weights_sha256 != before


def test_the_number_format_is_in_the_hash(settings):
    half = Resident.load(settings.model_copy(update={"dtype": "bfloat16"}))
    assert half.dtype == "bfloat16"
    assert half.weights_sha256 != Resident.load(settings).weights_sha256


@pytest.fixture
def resident(model):
    found = Resident(model, None, "random")
    found.remember_dense()
    return found


def test_zeros_and_dropped_sublayers_are_removed_weights(resident, model):
    assert resident.removed_weights == 0
    resident.matrices[-1].weight[:3] = 0
    zeros = int((resident.matrices[-1].weight == 0).sum())
    attention = resident.sublayers[0]
    set_dropped(find_blocks(model)[1][0], attention, dropped=True)
    assert resident.removed_weights == attention.weights + zeros


def test_a_model_that_was_loaded_to_plan_is_that_of_the_run_once(settings):
    anywhere = settings.model_copy(update={"device": "auto"})
    planned = Resident.load(anywhere)
    planned.keep_for_run()
    assert Resident.load(anywhere) is planned
    assert Resident.load(anywhere) is not planned
    planned.keep_for_run()
    assert Resident.load(anywhere.model_copy(update={"dtype": "bfloat16"})).dtype == "bfloat16"
