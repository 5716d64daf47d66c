"""The budgets of the file, against the size of a file that is written."""

import pytest
from safetensors.torch import save_model

from evoprune import InputError
from evoprune.testing import check_budget
from problems.budgets.amounts import file_bytes

WIDTHS = ["heads", "channels"]
GENOME = [1.0, 0.0, 4.0, 0.0, 2.0, 4.0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_bytes_are_those_of_a_file_beside_its_header(language_model, tmp_path, dtype):
    problem = language_model(transforms=WIDTHS, dtype=dtype, budget={"use": "bits_per_weight", "at_most": 24})
    transform = problem.session.transform
    transform.apply(GENOME)
    save_model(transform.resident.model, str(tmp_path / "weights"))
    written = (tmp_path / "weights").read_bytes()
    size = len(written) - 8 - int.from_bytes(written[:8], "little")
    assert file_bytes(transform, removed=0.25).spent(GENOME) == size
    assert problem.budget.spent(GENOME) == pytest.approx(8 * size / transform.resident.parameters)
    check_budget(problem.budget)
    assert file_bytes(transform, removed=0.25).limit == 0.75 * file_bytes(transform, removed=0.25).spent(
        transform.dense
    )
    assert file_bytes(transform, at_most=10**6).limit == 10**6


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"transforms": WIDTHS, "budget": {"use": "bytes"}}, "at_most and removed"),
        ({"transforms": WIDTHS, "budget": {"use": "bytes", "removed": 0.25, "at_most": 10**6}}, "at_most and removed"),
        ({"budget": {"use": "bytes", "removed": 0.25}}, "Weights counts in weights"),
        ({"budget": {"use": "operations", "removed": 0.25}}, "Weights counts in weights"),
    ],
)
def test_what_has_no_limit_or_leaves_zeros_is_refused(language_model, settings, fragment):
    with pytest.raises(InputError, match=fragment):
        _ = language_model(**settings).budget
