"""What is read of the facts beside a .gguf file."""

import pytest

from evoprune import InputError
from problems.language_model.problem import LanguageModel

FACTS = {
    "base_model": "small",
    "bytes": 1000,
    "check": {"divergence": 0.25, "perplexity": 60.0, "failure": "none"},
    "runtime": {
        "decode": {"dense": 100.0, "evolved": 150.0},
        "prefill": {"dense": 1000.0, "evolved": 500.0},
        "threads": 2,
        "processor": "a processor",
    },
    "protocol": {
        "weights_sha256": "a" * 64,
        "report_text": {"source": "/home/me/text.txt", "windows": 4, "window": 32, "sha256": "b" * 64},
    },
}


def test_speeds_are_multiples_of_the_dense_files_and_stated_as_measured():
    found = LanguageModel.standing(FACTS)
    assert found.values["divergence"] == 0.25
    assert found.values["bytes"] == 1000
    assert (found.values["decode"], found.values["prefill"]) == (1.5, 0.5)
    assert (found.values["decode_speed"], found.values["prefill_speed"]) == (150.0, 500.0)
    assert found.values["machine"] == "a processor, 2 threads"
    assert set(found.values) == set(LanguageModel.quantities)


def test_an_untimed_file_has_no_speed():
    found = LanguageModel.standing(FACTS | {"runtime": None})
    assert found.values == {"bytes": 1000, "divergence": 0.25, "perplexity": 60.0}


@pytest.mark.parametrize("key", ["weights_sha256", "report_text"])
def test_other_weights_or_another_text_are_another_thing_to_measure(key):
    other = {"weights_sha256": "c" * 64, "report_text": FACTS["protocol"]["report_text"] | {"sha256": "d" * 64}}
    changed = FACTS | {"protocol": FACTS["protocol"] | {key: other[key]}}
    assert LanguageModel.standing(changed).measured_on != LanguageModel.standing(FACTS).measured_on


def test_a_divergence_of_fewer_tokens_is_another_measure():
    fewer = FACTS | {"check": FACTS["check"] | {"kl_top": 8}}
    assert LanguageModel.standing(fewer).measured_on != LanguageModel.standing(FACTS).measured_on


def test_a_path_of_this_machine_is_not_told():
    assert "/home" not in LanguageModel.standing(FACTS).measured_on


def test_an_exported_folder_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^states no check\.divergence; expected what 'export RUN_DIR OUT\.gguf'"):
        LanguageModel.standing(FACTS | {"check": {"perplexity": 60.0}})
