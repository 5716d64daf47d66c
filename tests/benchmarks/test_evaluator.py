"""The benchmark works, on the smallest sizes; nothing is said about times but that they pass."""

import json
import random
import subprocess
import sys

import pytest

from tests.benchmarks.candidates import child, unrelated
from tests.benchmarks.evaluator import SECTIONS

RUN = [section for section in SECTIONS if section not in ("memory", "growth")]
"""All but two that start processes with the ways and the workers of the race again."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, "-m", "tests.benchmarks.evaluator", "--quick", "--sparsity", "0.2"]
    command += ["--sections", *RUN]
    command += ["--json", str(folder / "all.json"), "--figures", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    assert (folder / "performance.png").stat().st_size > 1000
    return json.loads((folder / "all.json").read_text())


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [n for item in value for n in numbers(item)] if isinstance(value, list) else [value]


@pytest.mark.slow
def test_every_section_has_numbers(figures):
    assert set(figures) == set(RUN)
    assert min(numbers(figures["race"])) > 0
    assert 0 < figures["engine"]["share"] < 1
    assert figures["profile"]["matrix products"] > 0


@pytest.mark.slow
def test_the_ways_agree(figures):
    perplexity = figures["race"]["perplexity"]
    assert perplexity["evopress"] == pytest.approx(perplexity["plain"], rel=0.1)  # bfloat16
    assert perplexity["ours"] == pytest.approx(perplexity["plain"], rel=0.1)
    assert figures["agreement"]["float32_to_reference"] < 1e-5


@pytest.mark.slow
def test_more_of_the_probabilities_lose_less(figures):
    errors = figures["kl"]["largest_relative_error"]
    assert errors["16"] >= errors["64"] >= errors["256"] >= errors["4096"] == 0


def test_candidates_keep_the_mean_and_children_differ_in_few_blocks():
    rng = random.Random(0)
    for changed in range(2, 7):
        parent = unrelated(rng, 30, 0.45)
        other = child(rng, parent, changed)
        assert sum(a != b for a, b in zip(parent, other, strict=True)) == changed
        assert sum(parent) == pytest.approx(sum(other)) == pytest.approx(30 * 0.45)
