"""The bundled mixture of experts."""

from evoprune.problems.language_model.models.experts import find_experts
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import BUNDLED_MIXTURE, ModelSettings
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files

SETTINGS = ModelSettings(model=BUNDLED_MIXTURE, device="cpu", dtype="float32")


def test_it_is_small_and_its_blocks_have_eight_experts_of_which_two_are_active():
    assert bytes_of(weight_files(SETTINGS)) < 12_000_000
    experts = find_experts(Resident.load(SETTINGS).model)
    assert [(each.count, each.active) for each in experts] == [(8, 2)] * 6
