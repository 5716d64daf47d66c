"""What a budget counts is what a written file weighs."""

from __future__ import annotations

import random

import pytest

from evoprune import InputError
from evoprune.testing import check_budget
from problems.gguf.base import find_base
from problems.gguf.ggml import row_bytes
from problems.gguf.write import contents
from problems.language_model.problem import LanguageModel, LanguageModelSettings
from problems.results.report import cost
from problems.transforms.encoding import encoded

pytest.importorskip("llama_cpp_py_sync")

TYPES = {"use": "types", "types": ["Q8_0", "Q4_0", "MXFP4"], "importance": False}


def bundled(transforms=TYPES, **budget):
    """The problem on the bundled model, which needs no base file."""
    text = {"source": "bundled:python-docs", "window": 64, "split": "validation", "windows": 2}
    given = {"dtype": "float32", "device": "cpu", "search_text": text, "transforms": transforms, "budget": budget}
    return LanguageModel(LanguageModelSettings(**given))


@pytest.fixture(scope="module")
def problem():
    return bundled(use="bytes", at_most=3_000_000)


def test_every_byte_of_the_file_counts(problem, tmp_path):
    transform, rng = problem.session.transform, random.Random(0)
    check_budget(problem.budget)
    base = find_base(transform.resident)
    for number in range(3):
        genome = [float(rng.randint(0, int(gene.up))) for gene in transform.genes]
        transform.apply(genome)
        path = tmp_path / f"{number}.gguf"
        contents(transform.resident.model, base, encoded(transform)).write(path)
        assert problem.budget.spent(genome) == path.stat().st_size


def test_the_result_states_bytes_and_bits(problem):
    transform = problem.session.transform
    genome = [gene.up for gene in transform.genes]
    found = cost(problem.session, genome)
    sizes = {"dense": problem.budget.spent(transform.dense), "evolved": problem.budget.spent(genome)}
    assert found["bytes"] == sizes
    parameters = transform.resident.parameters
    assert found["bits_per_weight"] == {name: pytest.approx(8 * size / parameters) for name, size in sizes.items()}


def test_a_search_starts_with_the_presets_that_fill_the_budget_the_most(problem):
    transform = problem.session.transform
    sizes = {name: row_bytes(name, 320) for name in ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL", "MXFP4")}
    for kinds, genome in zip(transform.presets().values(), transform.initial_genomes(), strict=True):
        for kind, own, gene in zip(kinds, problem.genes.chosen(genome), problem.genes, strict=True):
            assert own == kind if kind in gene.levels else sizes[own] <= sizes[kind]
    every = sorted({problem.budget.spent(genome) for genome in transform.initial_genomes()})
    uniform, *known = bundled(use="bytes", at_most=every[-2]).initial_genomes()
    assert [problem.budget.spent(genome) for genome in known] == every[-2:-5:-1]
    assert uniform == problem.references()["uniform"]


def test_beside_cuts_presets_cut_nothing():
    alone = bundled(use="bytes", at_most=9_000_000)
    stacked = bundled(transforms=[{"use": "sublayers"}, TYPES], use="bytes", at_most=9_000_000)
    cuts = len(stacked.genes) - len(alone.genes)
    left = [1.0] * cuts + [0.0] * len(alone.genes)
    stacked.session.transform.apply(left)  # whatever is resident
    known = [genome[cuts:] for genome in stacked.session.transform.initial_genomes() if genome[:cuts] == [0.0] * cuts]
    assert known == alone.session.transform.initial_genomes()


def test_without_a_base_a_search_starts_without_presets(language_model, capsys):
    assert language_model(transforms=TYPES).session.transform.initial_genomes() == []
    assert "the search starts without llama.cpp's presets: " in capsys.readouterr().err


def test_out_of_reach_says_the_least_and_the_most():
    said = r"4\.5 bits a weight is out of reach: the least that can be spent is 4\.7\d*, the most 16\.3\d*"
    with pytest.raises(InputError, match=r"^problem\.budget: a limit of " + said):
        bundled(use="bits_per_weight", at_most=4.5).initial_genomes()


def test_without_a_base_bytes_are_not_known(language_model):
    with pytest.raises(InputError, match="base"):
        _ = language_model(transforms=TYPES, budget={"use": "bytes", "removed": 0.5}).budget
