"""The counted bytes of a model that is quantised, and may be cut, equal the bytes of the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evoprune import InputError
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.ggml import row_bytes
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.results.report import cost
from evoprune.problems.language_model.transforms.first_genomes import initial_genomes
from evoprune.testing import check_budget

TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
BLOCKS = {"use": "sublayers", "genes": "block", "keep": [0]}
WIDTH = {"use": "channels", "genes": "model", "drop": False}

MANY = TYPES | {"types": ["Q8_0", "Q4_0", "MXFP4"]}

CUTS = {
    "gpt2": ("gpt2", [BLOCKS, WIDTH]),
    "blocks": ("llama", [BLOCKS, WIDTH]),
    "sublayers": ("llama", [{"use": "sublayers", "keep": [-1]}]),
    "heads and channels": ("llama", ["heads", "channels"]),
    "experts": ("qwen3_moe", [{"use": "experts", "genes": "model"}]),
    "both": ("llama", ["sublayers", {"use": "channels", "drop": False}]),
}


@pytest.fixture
def problem_of(problem_on, byte_models):
    """The problem of some of CUTS with types."""

    def made(name):
        architecture, cuts = CUTS[name]
        home = Path(byte_models(architecture)["model"]).parent
        base = {} if architecture in ("gpt2", "qwen3_moe") else {"base": str(home / "base.gguf")}
        return problem_on(architecture, [*cuts, TYPES | base])

    return made


def bundled(transforms=(MANY,), **budget):
    """The problem on the bundled model, which needs no base file."""
    text = {"source": "bundled:python-docs", "window": 64, "split": "validation", "windows": 2}
    given = {"dtype": "float32", "device": "cpu", "search_text": text, "transforms": transforms, "budget": budget}
    return LanguageModel(LanguageModelSettings(**given))


@pytest.fixture(scope="module")
def problem():
    return bundled(use="bytes", at_most=3_000_000)


def check_bytes(transform, tmp_path, count):
    budget, rng = transform.costs.budget("bytes", None), random.Random(1)
    transform.apply(transform.dense)
    base = find_base(transform.resident, transform.form.settings.base)
    for number in range(count):
        genome = [float(rng.randint(0, int(gene.up))) for gene in transform.genes]
        transform.apply(genome)
        path = tmp_path / f"{number}.gguf"
        own = base.with_tokens(transform.remaining_tokens(genome))
        contents(transform.resident.model, own, transform.encoded()).write(path)
        assert budget.spent(genome) == path.stat().st_size
    assert transform.costs.budget("bytes", None, "bits", 8.0).spent(genome) == 8 * path.stat().st_size


@pytest.mark.parametrize("name", CUTS)
def test_every_byte_of_the_file_of_a_cut_model_counts(problem_of, name, tmp_path):
    transform = problem_of(name).session.transform
    check_bytes(transform, tmp_path, 6)
    if name == "gpt2":  # other models are so small that tensors of zeros outweigh what goes
        check_budget(transform.costs.budget("bytes", None))


def test_every_byte_of_the_file_counts(problem, tmp_path):
    check_bytes(problem.session.transform, tmp_path, 2)
    check_budget(problem.budget)


def test_the_result_states_the_costs_and_counting_leaves_the_model_as_it_is(problem_of):
    problem = problem_of("both")
    transform = problem.session.transform
    genome = [gene.up for gene in transform.genes]
    genome[0] = genome[-1] = 0.0
    found = cost(problem.session, genome)
    left = sum(each.numel() for each in transform.resident.model.parameters())
    size = transform.costs.budget("bytes", None).spent(genome)
    assert found["parameters"]["evolved"] == left == transform.costs.budget("parameters", None).spent(genome)
    assert found["bytes"]["evolved"] == size
    assert found["bits_per_weight"]["evolved"] == pytest.approx(8 * size / left)


def test_a_search_starts_with_the_presets_that_fill_the_budget_the_most(problem):
    transform = problem.session.transform
    sizes = {name: row_bytes(name, 320) for name in ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL", "MXFP4")}
    initial = initial_genomes(transform)
    for kinds, genome in zip(transform.form.file.presets().values(), initial, strict=True):
        for kind, own, gene in zip(kinds, problem.genes.chosen(genome), problem.genes, strict=True):
            assert own == kind if kind in gene.levels else sizes[own] <= sizes[kind]
    every = sorted({problem.budget.spent(genome) for genome in initial})
    uniform, *known = bundled(use="bytes", at_most=every[-2]).initial_genomes()
    assert [problem.budget.spent(genome) for genome in known] == every[-2:-5:-1]
    assert uniform == problem.references()["uniform"]


def test_without_a_base_bytes_and_presets_are_not_known(language_model, capsys):
    assert initial_genomes(language_model(transforms=TYPES).session.transform) == []
    assert "presets" in capsys.readouterr().err
    with pytest.raises(InputError, match="base"):
        _ = language_model(transforms=TYPES, budget={"use": "bytes", "removed": 0.5}).budget


@pytest.mark.parametrize("cuts", [["sublayers"], ["channels"], [BLOCKS, {"use": "heads", "drop": False}]])
def test_shapes_that_llama_cpp_has_no_form_of_are_refused_before_the_search(problem_on, cuts):
    transform = problem_on("gpt2", [*cuts, TYPES]).session.transform
    with pytest.raises(InputError, match=r"llama\.cpp.* gpt2"):
        transform.costs.budget("bytes", None)


def test_other_numbers_of_experts_in_each_block_are_refused_before_the_search(problem_on):
    transform = problem_on("qwen3_moe", ["experts", TYPES]).session.transform
    with pytest.raises(InputError, match=r"llama\.cpp.* qwen3moe.* genes: model"):
        transform.costs.budget("bytes", None)


def test_combinations_that_cannot_be_counted_are_refused(problem_on, problem_of):
    with pytest.raises(InputError, match=r"problem\.budget: steps .* cannot be counted"):
        problem_of("gpt2").session.transform.costs.budget("steps", None)
    with pytest.raises(InputError, match=r"Weights and Types"):
        problem_on("gpt2", ["weights", TYPES])
