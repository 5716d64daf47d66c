import random

import pytest

from evoprune.problems.language_model.settings import PruningSettings
from evoprune.problems.language_model.texts.settings import TextSettings
from tests.benchmarks.evaluator import child, unrelated
from tests.benchmarks.ways import WAYS


def test_candidates_keep_the_mean_and_children_differ_in_few_blocks():
    rng = random.Random(0)
    for changed in range(2, 7):
        parent = unrelated(rng, 30, 0.45)
        other = child(rng, parent, changed)
        assert sum(a != b for a, b in zip(parent, other, strict=True)) == changed
        assert sum(parent) == pytest.approx(sum(other)) == pytest.approx(30 * 0.45)


def test_the_ways_agree():
    text = TextSettings(source="bundled:python-docs", split="validation", window=32, windows=2)
    report = TextSettings(source="bundled:python-docs", split="test")
    settings, found = PruningSettings(sparsity=0.2, search_text=text, report_text=report), {}
    for name, way in WAYS.items():
        if name in ("plain", "evopress", "ours"):
            made = way(settings)
            made.prepare([[0.2] * made.genes()])
            found[name] = made.score([0.2] * made.genes())
    assert found["evopress"] == pytest.approx(found["plain"], rel=0.1)  # bfloat16
    assert found["ours"] == pytest.approx(found["plain"], rel=0.1)
