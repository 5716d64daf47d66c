"""Scores and allocations by name, as operators are, and texts that must not meet."""

import pytest

from evoprune.cli import main
from evoprune.experiment.registry import plugin
from problems.pruning.settings import PruningSettings, TextSettings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("problem.score=wandda", "problem.score: unknown score 'wandda'; did you mean 'wanda'?"),
        ("problem.scores={mlp.c_fc: rai}", "unknown score 'rai'; did you mean 'ria'?"),
        ("problem.allocations=[owls]", "unknown allocation 'owls'; did you mean 'owl'?"),
        ("problem.advice=owls", "problem.advice: unknown allocation 'owls'; did you mean 'owl'?"),
        ("problem.starts=[uniform, owls]", "unknown allocation 'owls'; did you mean 'owl'?"),
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


@pytest.mark.parametrize("asked", [{"allocations": ("owl",)}, {"starts": ("owl",)}, {"advice": "owl"}])
def test_an_allocation_needs_genes_that_are_sparsities(asked):
    with pytest.raises(ValueError, match="need genes that are sparsities of their own"):
        PruningSettings(genes="block_and_kind", **asked)


def test_stages_need_a_way_to_reconstruct_and_rise_between_dense_and_nothing():
    with pytest.raises(ValueError, match="reconstruct is none: expected sparsegpt or least_squares, or no stages"):
        PruningSettings(reconstruct_stages=(0.3, 0.5))
    for stages in ((0.5, 0.3), (0.3, 0.3), (0.0, 0.3), (0.3, 1.0)):
        with pytest.raises(ValueError, match="expected sparsities between 0 and 1 that rise"):
            PruningSettings(reconstruct="sparsegpt", reconstruct_stages=stages)


def test_the_report_text_must_not_calibrate():
    report = PruningSettings().report_text
    with pytest.raises(ValueError, match="what calibrates must not report"):
        PruningSettings(calibration_text=report)


@pytest.mark.parametrize("role", ["search_text", "calibration_text"])
def test_a_local_file_is_one_text_whatever_split_is_named(role, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("some text")
    monkeypatch.chdir(tmp_path)
    for other in ("a.txt", "./a.txt", str(tmp_path / "a.txt"), "missing.txt", "./missing.txt"):
        report = TextSettings(source=other.removeprefix("./"), subset="x", split="test")
        with pytest.raises(ValueError, match="report_text are the same text"):
            PruningSettings(**{role: TextSettings(source=other, split="validation"), "report_text": report})


def test_a_hub_text_without_a_split_is_its_test_split():
    report = TextSettings(source="some/text", split="test")
    with pytest.raises(ValueError, match="report_text are the same text"):
        PruningSettings(search_text=TextSettings(source="some/text"), report_text=report)
    PruningSettings(search_text=TextSettings(source="some/text", split="train"), report_text=report)


def test_calibration_is_by_default_more_of_the_search_text():
    settings = PruningSettings()
    assert settings.calibration.identity == settings.search_text.identity
    assert settings.calibration.windows * settings.calibration.window == 16_384
