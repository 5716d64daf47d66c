"""Settings that name what is not there, or do not fit together."""

import pytest

from evoprune.cli import main
from evoprune.experiment.registry import plugin
from evoprune.problems.language_model.settings import (
    EvalOptions,
    LanguageModelSettings,
    ProblemSettings,
    PruningSettings,
)
from evoprune.problems.language_model.texts.settings import TextSettings

REPORT = ProblemSettings().report_text


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [("score=wandda", ("problem.score: ", "'wanda'")), ("score=os:system", ("'os'", "plugins"))],
)
def test_a_wrong_name_is_told_with_the_nearest(setting, fragments, capsys):
    assert main(["validate", "problems/gpt2_mini.yaml", "--set", f"problem.{setting}"]) == 2
    told = capsys.readouterr().err
    assert all(fragment in told for fragment in fragments)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"transforms": "weihgts"}, "'weights'"),
        ({"transforms": "weights", "budget": {"use": "wieghts", "removed": 0.5}}, "'weights'"),
        ({"transforms": {"use": "weights", "scroe": "wanda"}}, "scroe"),
        ({"transforms": []}, "transforms: "),
        (
            {"transforms": {"use": "sublayers", "kep": 1}, "budget": {"use": "weights", "removed": 2}},
            r"transforms\.kep: .*; budget\.removed: ",
        ),
    ],
)
def test_wrong_plugins_and_all_their_wrong_parameters_are_told(given, message):
    with pytest.raises(ValueError, match=message):
        LanguageModelSettings(**given)


def test_a_function_of_a_listed_module_may_be_a_score(tmp_path, monkeypatch):
    (tmp_path / "their_scores.py").write_text("def largest(weight):\n    return -weight.abs()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="'their_scores'"):
        PruningSettings(score="their_scores:largest")
    plugin("their_scores")
    assert PruningSettings(score="their_scores:largest").score == "their_scores:largest"


def test_a_sparsity_beyond_the_bounds_of_genes_is_refused():
    with pytest.raises(ValueError, match=r"sparsity 0\.45 cannot be reached"):
        PruningSettings(min_sparsity=0.5)


def test_pruning_is_the_transform_weights_under_the_share_of_the_weights():
    settings = PruningSettings(sparsity=0.6, score="wanda", genes="matrix")
    (kind, own), *_ = settings.chosen_transforms
    assert (kind.__name__, own.score, own.genes) == ("Weights", "wanda", "matrix")
    assert (settings.budget.use, settings.budget.parameters) == ("weights", {"removed": 0.6})


@pytest.mark.parametrize("role", ["search_text", "calibration_text"])
def test_a_local_file_is_one_text_whatever_split_is_named(role, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("some text")
    monkeypatch.chdir(tmp_path)
    for other in ("a.txt", "./a.txt", str(tmp_path / "a.txt"), "missing.txt", "./missing.txt"):
        report = TextSettings(source=other.removeprefix("./"), subset="x", split="test")
        with pytest.raises(ValueError, match="report_text are the same text"):
            ProblemSettings(**{role: TextSettings(source=other, split="validation"), "report_text": report})


def test_parts_of_one_text_are_different_texts_unless_they_overlap():
    def part(*shares):
        return TextSettings(source="all.txt", part=shares)

    apart = {"search_text": part(0, 0.3), "calibration_text": part(0.3, 0.75), "report_text": part(0.75, 1)}
    ProblemSettings(**apart)
    ProblemSettings(**apart | {"calibration_text": part(0, 0.3)})
    for report in (part(0.2, 1), TextSettings(source="all.txt")):
        with pytest.raises(ValueError, match="search_text and report_text are the same text"):
            ProblemSettings(**apart | {"report_text": report})
    with pytest.raises(ValueError, match="calibration_text and search_text overlap"):
        ProblemSettings(**apart | {"calibration_text": part(0.2, 0.75)})
    with pytest.raises(ValueError, match="two shares that rise"):
        part(0.5, 0.5)


def test_texts_of_other_roles_must_not_be_the_report_text_and_it_is_not_sampled():
    hub = TextSettings(source="some/text", split="test")
    for given in ({"calibration_text": REPORT}, {"search_text": TextSettings(source="some/text"), "report_text": hub}):
        with pytest.raises(ValueError, match="report_text are the same text"):
            ProblemSettings(**given)
    ProblemSettings(search_text=TextSettings(source="some/text", split="train"), report_text=hub)
    with pytest.raises(ValueError, match="sampling"):
        ProblemSettings(report_text=REPORT.model_copy(update={"sampling": "random"}))


def test_calibration_is_by_default_more_of_the_search_text():
    settings = ProblemSettings()
    assert settings.calibration.identity == settings.search_text.identity
    assert settings.calibration.windows * settings.calibration.window == 16_384


@pytest.mark.parametrize("given", [{"limit": 3}, {"include_path": "tasks"}])
def test_options_of_tasks_need_tasks(given):
    with pytest.raises(ValueError, match="tasks"):
        EvalOptions(**given)
    EvalOptions(tasks="piqa", **given)
