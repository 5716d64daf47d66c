"""The numbers of .gguf files that a front compares."""

import pytest

from evoprune.problems.language_model.gguf.export.facts import GgufFacts

RUNTIME = {
    "decode": {"dense": 100.0, "evolved": 150.0},
    "prefill": {"dense": 1000.0, "evolved": 500.0},
    "file_bytes": {"dense": 2000, "evolved": 1000},
    "length": 512,
    "threads": 2,
    "processor": "a processor",
}


@pytest.fixture
def compared(facts):
    """What is compared of a file, with other facts if given."""
    facts["check"] |= {"divergence": 0.25, "kl_top": 64}
    return lambda **changed: GgufFacts.read(facts | changed).compared()


def test_times_are_shares_of_those_of_the_source(compared):
    assert list(compared()[0].values()) == [0.25, 1200]
    values, _ = compared(runtime=RUNTIME)
    assert list(values.values()) == [0.25, 1200, pytest.approx(2 / 3), pytest.approx(2.0)]


def test_what_was_measured_on_something_else_is_told_apart(compared, facts):
    protocol = facts["protocol"]
    others = [
        compared(protocol=protocol | {"weights_sha256": "c" * 64}),
        compared(protocol=protocol | {"report_text": protocol["report_text"] | {"sha256": "d" * 64}}),
        compared(check=facts["check"] | {"kl_top": 8}),
    ]
    assert len({measured_on for _, measured_on in (compared(), *others)}) == 4
    assert "/home" not in compared()[1]
