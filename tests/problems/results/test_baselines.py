"""A front of files has the dense model, the uniform ones and llama.cpp's presets beside its results."""

from __future__ import annotations

import json

import pytest

from evoprune import InputError
from evoprune.cli import main
from problems.transforms.gguf_types.transform import Types

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

TRANSFORMS = [{"use": "sublayers", "genes": "block"}, {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}]


def test_presets_have_the_types_that_llama_gives_them_whatever_the_run_may_choose(problem_on):
    problem = problem_on("gpt2", TRANSFORMS)
    assert [rival.family for rival in problem.rivals(first=False)] == []
    rivals = {rival.name: rival for rival in problem.rivals(first=True)}
    assert rivals.pop("dense").family == "dense"
    assert {rival.family for rival in rivals.values()} == {"presets"}
    whole = problem_on("gpt2", TRANSFORMS[1:]).session.transform
    expected = whole.presets()
    assert len(rivals) == len({tuple(kinds) for kinds in expected.values()}) > 5
    for name in list(rivals)[::4]:
        own, genome, known = rivals[name].make()
        assert known == {"dense": [0.0] * len(genome)}
        kinds = [gene.levels[int(level)] for gene, level in zip(own.genes, genome, strict=True)]
        assert kinds == expected[name]
        assert own.budget.excess(genome) < 0


def test_a_matrix_without_a_type_of_so_few_bits_is_told(problem_on):
    transform = problem_on("gpt2", {"use": "types", "types": ["Q8_0"], "importance": False}).session.transform
    count = len(transform.genes)
    assert transform.genome_of(["Q8_0"] * count) == [1.0] * count
    with pytest.raises(InputError, match=r"cannot be stored in Q4_0 by problem\.transforms"):
        transform.genome_of(["Q4_0"] * count)


def test_front_exports_them_beside_what_was_found(tmp_path, byte_models, monkeypatch):
    found = Types.presets
    monkeypatch.setattr(Types, "presets", lambda self: {"Q4_0": found(self)["Q4_0"]})  # one, as each takes its time
    recover = {"tokens": 64, "window": 32, "train": "norms", "alike": "dense"}
    problem = byte_models("gpt2") | {"use": "compression", "transforms": TRANSFORMS, "recover": recover}
    problem["budget"] = {"use": "bytes", "at_most": 400_000}
    spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}}
    (tmp_path / "small.yaml").write_text(json.dumps(spec))
    front = tmp_path / "front"
    vary = ["--vary", "problem.budget.at_most=300000,400000", "--untimed"]
    assert main(["front", str(tmp_path / "small.yaml"), "--out", str(front), "--rivals", *vary]) == 0
    names = {path.relative_to(front).as_posix() for path in front.glob("*/*.gguf")}
    of_limits = {f"{family}/{limit}00000.gguf" for family in ("small", "small, uniform") for limit in (3, 4)}
    assert names == of_limits | {"dense/dense.gguf", "presets/Q4_0.gguf"}
    facts = {name: json.loads((front / name.replace(".gguf", ".evoprune.json")).read_text()) for name in names}
    assert facts["dense/dense.gguf"]["check"]["divergence"] == pytest.approx(0, abs=1e-3)
    sizes = {name: (front / name).stat().st_size for name in names}
    assert sizes["small, uniform/400000.gguf"] <= 400_000
    assert sizes["presets/Q4_0.gguf"] < sizes["dense/dense.gguf"]
    recovered = {name for name, of in facts.items() if of["recovered"]}
    assert recovered == of_limits
    assert facts["small/400000.gguf"]["recovered"].keys() == {"evolved", "dense"}
    assert facts["small, uniform/400000.gguf"]["recovered"].keys() == {"evolved"}  # the run has trained the dense one
    card = (front / "presets" / "Q4_0.README.md").read_text()
    assert "as `presets/Q4_0` for llama.cpp" in card
    assert "| perplexity | dense | uniform | `presets/Q4_0` |" in card
    assert not list(front.glob("*/*.unfinished"))
