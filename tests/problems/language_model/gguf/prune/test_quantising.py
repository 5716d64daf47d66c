"""The types of a first candidate that is quantised within a time."""

import pytest

from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf.prune import quantising
from evoprune.problems.language_model.gguf.prune.quantising import Tried, tried_types, used_types
from tests.problems.language_model.gguf.models import random_llama, write_quantised

ERRORS = {"Q5_0": 0.0016, "Q4_0": 0.0065, "IQ4_NL": 0.005, "Q8_0": 3e-5}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The transform with the types Q5_0 and Q4_0, for a file in Q8_0."""
    return transform_of("Q8_0", tmp_path_factory.mktemp("model"))


def transform_of(kind, folder):
    """The same for a file in another ``kind``."""
    source = write_quantised(random_llama(blocks=4), folder / "own.gguf", kind)
    text = {"source": "bundled:python-docs", "split": "validation", "window": 32, "windows": 4, "part": (0.0, 0.5)}
    texts = {"search_text": text, "calibration_text": text, "report_text": text | {"part": (0.5, 1.0)}}
    transforms = {"use": "types", "types": ["Q5_0", "Q4_0"], "from_source": True}
    problem = LanguageModel(LanguageModelSettings(model=str(source), **texts, transforms=transforms, objective="kl"))
    (types,) = problem.session.transform.transforms
    return types


def size_of(own, bits):
    """The bytes of a file with matrices of so many bits."""
    _, dense = own.prices("bytes")
    return dense - sum(each.size * (8.5 - bits) / 8 for each in own.matrices)


def test_a_slow_type_takes_part_where_it_is_better_and_there_is_time(own):
    size = size_of(own, 4.5)
    for times, expected in [
        ({"IQ4_NL": 0.9}, {"IQ4_NL"}),
        ({"IQ4_NL": 2.0}, {"Q4_0"}),  # few matrices would be made in time, but the search would choose it for all
    ]:
        tried = {kind: Tried(times.get(kind, 0.1), error) for kind, error in ERRORS.items()}
        assert used_types(own, size, tried) == expected


def test_time_is_spent_only_as_far_as_the_size_needs_it(own):
    tried = {kind: Tried(1e6, error) for kind, error in ERRORS.items()}
    assert used_types(own, size_of(own, 8.5), tried) == set()
    assert not used_types(own, size_of(own, 1.0), tried)


@pytest.mark.parametrize("kind", ["F16", "Q4_0"])
def test_only_types_that_are_made_are_found_and_a_matrix_may_have_no_estimates(kind, tmp_path):
    types = transform_of(kind, tmp_path)
    tried = {each: Tried(0.1, error) for each, error in (ERRORS | {"MXFP4": 0.01}).items()}
    sizes = [size_of(types, bits) for bits in (7.0, 8.5, 12.0)] if kind == "F16" else [types.prices("bytes")[1]]
    for size in sizes:
        assert used_types(types, size, tried) <= tried.keys() - {kind}


def test_errors_on_noise_fall_with_the_bits_and_times_are_shares():
    found = tried_types(["Q8_0", "Q5_0", "Q4_0"], 10**6, 1.0)
    assert found["Q8_0"].error < found["Q5_0"].error < found["Q4_0"].error < 0.02
    assert all(own.time > 0 for own in found.values())


def test_types_of_few_bits_are_not_tried_where_q2_k_has_no_time(monkeypatch):
    tried, quantize = [], quantising.ggml.quantize
    monkeypatch.setattr(
        quantising.ggml,
        "quantize",
        lambda noise, kind, importance: tried.append(kind) or quantize(noise, kind, importance),
    )
    kinds = {"IQ2_S", "IQ4_NL", "Q2_K", "Q8_0"}
    assert tried_types(kinds, 1, 600.0).keys() == kinds
    assert {*tried} == kinds
    tried.clear()
    times = tried_types(kinds, 10**15, 600.0)
    assert {*tried} == kinds - {"IQ2_S"}
    assert times["IQ2_S"].time == float("inf")
