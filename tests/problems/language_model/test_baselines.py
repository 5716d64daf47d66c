"""Known solutions of a problem, and those of others that a front of files shows beside its results."""

from __future__ import annotations

import json
import random

import pytest

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.baselines import baselines_of
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.file import TypedFile
from evoprune.problems.language_model.parts import Report

TRANSFORMS = [{"use": "sublayers", "genes": "block"}, {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}]


def test_without_a_budget_the_reference_is_the_dense_model(language_model):
    problem = language_model(objective="kl")
    assert list(problem.references()) == ["dense"]
    assert problem.evaluate(problem.references()["dense"]).values[0] == pytest.approx(0, abs=1e-6)
    assert problem.genes.allow(problem.references()["dense"])


@pytest.mark.parametrize(
    ("transforms", "removed"),
    [("weights", 0.3), ({"use": "sublayers", "genes": "block"}, 0.3), ("sublayers", 0.6), ("heads", 0.2)],
)
def test_the_uniform_reference_takes_the_least_equal_share_that_keeps_the_budget(language_model, transforms, removed):
    problem = language_model(transforms=transforms, budget={"use": "weights", "removed": removed})
    uniform, budget = problem.baselines.uniform["uniform"], problem.budget
    assert uniform in problem.references().values()
    assert budget.excess(uniform) <= 1e-12
    less = [budget.excess(problem.session.transform.uniform(share / 1000)) > 0 for share in range(1001)]
    assert budget.excess(uniform) >= budget.excess(problem.session.transform.uniform(less.index(False) / 1000)) - 1e-6


def test_random_genomes_lie_around_uniform_and_within_bounds(pruning):
    random.seed(0)
    problem = pruning(genes="block_and_kind", max_sparsity=0.5)
    drawn = [problem.random_genome() for _ in range(50)]
    assert all(problem.genes.allow(genome) for genome in drawn)
    for gene, centre, reach in zip(
        zip(*drawn, strict=True), [0.45] * 3 + [0.0] * 4, [0.15] * 3 + [0.075] * 4, strict=True
    ):
        assert max(abs(value - centre) for value in gene) <= reach + 1e-12


@pytest.mark.parametrize(("curve", "rising"), [((0.5, 0.1), [0.0, 0.1, 0.3, 0.5]), ((0.1, 0.3), [0.0, 0.1, 0.3])])
def test_the_drawn_references_are_dense_and_uniform_at_the_target(pruning, curve, rising):
    problem = pruning(sparsity=0.3, curve=curve)
    references = problem.references()
    assert list(references.values()) == [[each] * 3 for each in rising]
    assert [references[name] for name in Report.drawn_references()] == [[0.0] * 3, [0.3] * 3]


def test_presets_have_the_types_that_llama_gives_them_whatever_the_run_may_choose(problem_on):
    problem = problem_on("gpt2", TRANSFORMS)
    found = {baseline.name: baseline for baseline in baselines_of(problem)}
    assert found.pop("dense").family == "dense"
    assert {baseline.family for baseline in found.values()} == {"presets"}
    whole = problem_on("gpt2", TRANSFORMS[1:]).session.transform.transforms[0]
    expected = whole.file.presets()
    assert len(found) == len({tuple(kinds) for kinds in expected.values()}) > 5
    for name in list(found)[::4]:
        own, genome, known = found[name].make()
        assert known == {"dense": [0.0] * len(genome)}
        for gene, level, wanted in zip(own.genes, genome, expected[name], strict=True):
            kind = gene.levels[int(level)]  # a type that is no level has a better one of as many bits
            assert kind == wanted or (wanted not in gene.levels and ggml.bits(kind) == ggml.bits(wanted))
        assert own.budget.excess(genome) < 0


def test_a_matrix_without_a_type_of_so_few_bits_is_told(problem_on):
    transform = problem_on(
        "gpt2", {"use": "types", "types": ["Q8_0"], "importance": False}
    ).session.transform.transforms[0]
    count = len(transform.genes)
    assert transform.type_genes.genome_of(["Q8_0"] * count) == [1.0] * count
    with pytest.raises(InputError, match=r"cannot be stored in Q4_0 by problem\.transforms"):
        transform.type_genes.genome_of(["Q4_0"] * count)


@pytest.mark.slow
def test_they_are_exported_beside_what_was_found(tmp_path, byte_models, monkeypatch):
    found = TypedFile.presets
    monkeypatch.setattr(TypedFile, "presets", lambda self: {"Q4_0": found(self)["Q4_0"]})  # one, as each takes its time
    recover = {"tokens": 64, "window": 32, "train": "norms", "alike": "dense"}
    problem = byte_models("gpt2") | {"use": "language_model", "transforms": TRANSFORMS, "recover": recover}
    problem |= {"objective": "kl", "budget": {"use": "bytes", "at_most": 400_000}}
    spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}}
    (tmp_path / "small.yaml").write_text(json.dumps(spec))
    front = tmp_path / "front"
    command = ["front", str(tmp_path / "small.yaml"), "--out", str(front), "--untimed"]
    command += ["--vary", "problem.budget.at_most=300000,400000"]
    assert main(command) == 0
    runs = map(str, front.glob("small/runs/*"))
    assert main(["baselines", *runs, "--out", str(front), "--untimed"]) == 0
    assert main(command) == 0
    names = {path.relative_to(front).as_posix() for path in front.glob("*/*.gguf")}
    of_limits = {f"{family}/{limit}00000.gguf" for family in ("small", "uniform") for limit in (3, 4)}
    assert names == of_limits | {"dense/dense.gguf", "presets/Q4_0.gguf"}
    facts = {name: json.loads((front / name.replace(".gguf", ".evoprune.json")).read_text()) for name in names}
    assert facts["dense/dense.gguf"]["check"]["divergence"] == pytest.approx(0, abs=1e-3)
    sizes = {name: (front / name).stat().st_size for name in names}
    assert sizes["uniform/400000.gguf"] <= 400_000
    assert sizes["presets/Q4_0.gguf"] < sizes["dense/dense.gguf"]
    recovered = {name for name, of in facts.items() if of["recovered"]}
    assert recovered == of_limits
    assert facts["small/400000.gguf"]["recovered"].keys() == {"evolved", "dense"}
    assert facts["uniform/400000.gguf"]["recovered"].keys() == {"evolved"}  # the run has trained the dense one
    card = (front / "presets" / "Q4_0.README.md").read_text()
    assert "as `presets/Q4_0` for llama.cpp" in card
    assert "`presets/Q4_0` |" in card.partition("| perplexity |")[2].partition("\n")[0]
    assert not list(front.glob("*/*.unfinished"))
    assert json.loads((front / "front.json").read_text()).keys() == {name.removesuffix(".gguf") for name in names}
