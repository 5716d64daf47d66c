"""Scores and allocations by name, as operators are, and settings that do not fit together."""

import pytest

from evoprune.cli import main
from evoprune.experiment.registry import plugin
from problems.language_model.settings import PruningSettings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("problem.score=wandda", "problem.score: unknown score 'wandda'; did you mean 'wanda'?"),
        ("problem.scores={mlp.c_fc: rai}", "unknown score 'rai'; did you mean 'ria'?"),
        ("problem.allocations=[owls]", "unknown allocation 'owls'; did you mean 'owl'?"),
        ("problem.prior=owls", "problem.prior: unknown allocation 'owls'; did you mean 'owl'?"),
        ("problem.initial_genomes=[uniform, owls]", "unknown allocation 'owls'; did you mean 'owl'?"),
        ("problem.score=os:system", "list 'os' under plugins first"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(setting, message, capsys):
    assert main(["validate", "problems/gpt2_mini.yaml", "--set", setting]) == 2
    assert message in capsys.readouterr().err


def test_a_function_of_a_listed_module_may_be_a_score(tmp_path, monkeypatch):
    (tmp_path / "their_scores.py").write_text("def largest(weight):\n    return -weight.abs()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="list 'their_scores' under plugins first"):
        PruningSettings(score="their_scores:largest")
    plugin("their_scores")
    assert PruningSettings(score="their_scores:largest").score == "their_scores:largest"


@pytest.mark.parametrize("asked", [{"allocations": ("owl",)}, {"initial_genomes": ("owl",)}, {"prior": "owl"}])
def test_an_allocation_needs_genes_that_are_sparsities(asked):
    with pytest.raises(ValueError, match="need genes that are sparsities of their own"):
        PruningSettings(genes="block_and_kind", **asked)


def test_a_sparsity_that_no_genes_reach_is_refused():
    with pytest.raises(ValueError, match=r"sparsity 0\.45 cannot be reached with genes between .* 0\.5 and .* 0\.9"):
        PruningSettings(min_sparsity=0.5)


def test_what_is_found_is_each_allocation_that_is_named_once():
    settings = PruningSettings(allocations=("owl",), initial_genomes=("uniform", "alpha"), prior="owl")
    assert settings.found == ("owl", "alpha")
