"""The budget in bytes, against the size of a file that is written."""

import pytest
from safetensors.torch import save_model

from evoprune import InputError
from evoprune.testing import check_budget
from problems.budgets.file_size import file_bytes

STRUCTURE = {"transforms": ["heads", "channels"]}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_spent_is_what_a_file_holds_beside_its_header(language_model, tmp_path, dtype):
    transform = language_model(**STRUCTURE, dtype=dtype).session.transform
    genome = [1.0, 0.0, 4.0, 0.0, 2.0, 4.0]
    transform.apply(genome)
    save_model(transform.resident.model, str(tmp_path / "weights"))
    written = (tmp_path / "weights").read_bytes()
    header = 8 + int.from_bytes(written[:8], "little")
    assert file_bytes(transform, removed=0.25).spent(genome) == len(written) - header


def test_a_share_is_one_of_the_whole_dense_file(language_model):
    problem = language_model(**STRUCTURE, budget={"use": "bytes", "removed": 0.25})
    assert problem.budget.limit == 0.75 * 4 * problem.session.resident.parameters
    check_budget(problem.budget)
    assert language_model(**STRUCTURE, budget={"use": "bytes", "at_most": 10**6}).budget.limit == 10**6


@pytest.mark.parametrize("given", [{}, {"removed": 0.25, "at_most": 10**6}])
def test_one_of_two_limits_is_asked_for(language_model, given):
    with pytest.raises(InputError, match="one of at_most and removed, and not both"):
        _ = language_model(**STRUCTURE, budget={"use": "bytes", **given}).budget


def test_a_transform_that_leaves_zeros_is_refused(language_model):
    with pytest.raises(InputError, match="Weights counts in weights, not in 'parameters'"):
        _ = language_model(budget={"use": "bytes", "removed": 0.25}).budget
