"""What a budget counts of a model that is cut and quantised is what its file weighs, to the byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evoprune import InputError
from evoprune.testing import check_budget
from problems.gguf.base import find_base
from problems.gguf.write import contents
from problems.results.report import cost
from problems.transforms.encoding import base_of, encoded

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
BLOCKS = {"use": "sublayers", "genes": "block", "keep": [0]}
WIDTH = {"use": "channels", "genes": "model", "drop": False}

CUTS = {
    "gpt2": ("gpt2", [BLOCKS, WIDTH]),
    "blocks": ("llama", [BLOCKS, WIDTH]),
    "sublayers": ("llama", [{"use": "sublayers", "keep": [-1]}]),
    "heads and channels": ("llama", ["heads", "channels"]),
    "both": ("llama", ["sublayers", {"use": "channels", "drop": False}]),
}


@pytest.fixture
def problem_of(problem_on, byte_models):
    """The problem of some of CUTS with types."""

    def made(name):
        architecture, cuts = CUTS[name]
        home = Path(byte_models(architecture)["model"]).parent
        base = {} if architecture == "gpt2" else {"base": str(home / "base.gguf")}
        return problem_on(architecture, [*cuts, TYPES | base])

    return made


@pytest.mark.parametrize("name", CUTS)
def test_every_byte_of_the_file_counts(problem_of, name, tmp_path):
    transform, rng = problem_of(name).session.transform, random.Random(1)
    budget = transform.budget("bytes", None)
    base = find_base(transform.resident, base_of(transform))
    for number in range(12):
        genome = [float(rng.randint(0, int(gene.up))) for gene in transform.genes]
        transform.apply(genome)
        path = tmp_path / f"{number}.gguf"
        contents(transform.resident.model, base, encoded(transform)).write(path)
        assert budget.spent(genome) == path.stat().st_size
    assert transform.budget("bytes", None, "bits", 8.0).spent(genome) == 8 * path.stat().st_size


@pytest.mark.parametrize("name", ["gpt2", "both"])
def test_the_laws_of_budgets(problem_of, name):
    check_budget(problem_of(name).session.transform.budget("bytes", None))


def test_counting_leaves_the_model_as_it_is(problem_of):
    problem = problem_of("both")
    transform = problem.session.transform
    genome = [gene.up for gene in transform.genes]
    genome[0] = genome[-1] = 0.0
    found = cost(problem.session, genome)
    assert found["bytes"]["evolved"] == transform.budget("bytes", None).spent(genome)
    assert found["parameters"]["evolved"] == sum(each.numel() for each in transform.resident.model.parameters())
    assert found["parameters"]["evolved"] == transform.budget("parameters", None).spent(genome)


@pytest.mark.parametrize("cuts", [["sublayers"], ["channels"], [{"use": "sublayers", "genes": "block"}, "heads"]])
def test_what_llama_has_no_form_of_is_refused_before_the_search(problem_on, cuts):
    cuts = [cut if cut != "heads" else {"use": "heads", "drop": False} for cut in cuts]
    transform = problem_on("gpt2", [*cuts, TYPES]).session.transform
    with pytest.raises(InputError, match=r"llama\.cpp has no form of gpt2 for that|cannot have fewer heads"):
        transform.budget("bytes", None)


def test_what_does_not_add_up_is_said(problem_of):
    with pytest.raises(InputError, match=r"problem\.budget: what Sublayers and Channels and Types spend together is"):
        problem_of("gpt2").session.transform.prices("weights")


def test_zeros_are_refused_with_types(problem_on):
    with pytest.raises(InputError, match=r"Weights and Types: zeros save no byte in a \.gguf file"):
        problem_on("gpt2", ["weights", TYPES])


def test_types_that_no_width_left_allows_are_no_levels(problem_on):
    heads = problem_on("llama", [{"use": "heads", "drop": False}, TYPES])
    outputs = [gene.levels for gene in heads.genes if gene.name.endswith("o_proj")]
    assert outputs == [("16 bits", "Q8_0", "Q4_0")] * 4  # widths of 64 and 32
