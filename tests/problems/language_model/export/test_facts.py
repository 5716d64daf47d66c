"""The typed facts of an export, and what a front compares of them."""

import pytest

from evoprune import InputError
from evoprune.problems.language_model.export.facts import QUANTITIES, ExportFacts

RUNTIME = {
    "decode": {"dense": 100.0, "evolved": 150.0},
    "prefill": {"dense": 1000.0, "evolved": 500.0},
    "file_bytes": {"dense": 2000, "evolved": 1000},
    "length": 512,
    "threads": 2,
    "processor": "a processor",
}


@pytest.fixture
def standing(facts):
    """What is compared of a file, with other facts if given."""
    facts["check"] |= {"divergence": 0.25, "kl_top": 64}
    return lambda **changed: ExportFacts.read(facts | changed).standing()


def test_speeds_are_multiples_of_the_dense_files_and_stated_as_measured(standing):
    found = standing(runtime=RUNTIME).values
    assert found["divergence"] == 0.25
    assert found["bytes"] == 1200
    assert (found["decode"], found["prefill"]) == (1.5, 0.5)
    assert (found["decode_speed"], found["prefill_speed"]) == (150.0, 500.0)
    assert found["machine"] == "a processor, 2 threads"
    assert set(found) == set(QUANTITIES)
    assert standing().values == {"bytes": 1200, "divergence": 0.25, "perplexity": 30.5}


def test_what_was_measured_on_something_else_is_told_apart(standing, facts):
    protocol = facts["protocol"]
    others = [
        standing(protocol=protocol | {"weights_sha256": "c" * 64}),
        standing(protocol=protocol | {"report_text": protocol["report_text"] | {"sha256": "d" * 64}}),
        standing(check=facts["check"] | {"kl_top": 8}),
    ]
    assert len({standing().measured_on, *(other.measured_on for other in others)}) == 4
    assert "/home" not in standing().measured_on


def test_facts_that_are_not_there_are_named_by_their_place(facts):
    with pytest.raises(InputError, match=r"check\.divergence"):
        ExportFacts.read(facts).standing()
    del facts["check"]["tolerance"]
    with pytest.raises(InputError, match=r"check\.tolerance"):
        ExportFacts.read(facts)
