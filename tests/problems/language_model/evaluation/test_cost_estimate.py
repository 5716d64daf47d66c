"""The speed of a model is measured on the model."""

from evoprune.problems.language_model.evaluation.cost_estimate import pace
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings


def test_a_pace_is_positive_and_leaves_the_model_as_it_was(small, tokens):
    resident = Resident.load(ModelSettings(model=small["model"], dtype="float32", device="cpu"))
    before = resident.weights_sha256
    found = pace(resident, tokens, with_gradients=True)
    assert 0 < 2 * found.scored <= found.gradients
    assert pace(resident, tokens, with_gradients=False).gradients is None
    del vars(resident)["weights_sha256"]
    assert resident.weights_sha256 == before
    assert not any(parameter.requires_grad for parameter in resident.model.parameters())
