"""Texts that must not meet, and what of the settings tells them apart."""

import pytest

from problems.distillation.settings import RunSettings
from problems.language_model.settings import EvalOptions
from problems.texts.settings import TextSettings

REPORT = RunSettings().report_text


def test_the_report_text_must_not_calibrate():
    with pytest.raises(ValueError, match="calibration_text and report_text are the same text"):
        RunSettings(calibration_text=REPORT)


def test_the_report_text_is_not_sampled():
    with pytest.raises(ValueError, match="sampling is random; results are compared on"):
        RunSettings(report_text=REPORT.model_copy(update={"sampling": "random"}))


@pytest.mark.parametrize("role", ["search_text", "calibration_text"])
def test_a_local_file_is_one_text_whatever_split_is_named(role, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("some text")
    monkeypatch.chdir(tmp_path)
    for other in ("a.txt", "./a.txt", str(tmp_path / "a.txt"), "missing.txt", "./missing.txt"):
        report = TextSettings(source=other.removeprefix("./"), subset="x", split="test")
        with pytest.raises(ValueError, match="report_text are the same text"):
            RunSettings(**{role: TextSettings(source=other, split="validation"), "report_text": report})


def test_parts_of_one_text_are_different_texts_unless_they_overlap():
    def part(*shares):
        return TextSettings(source="all.txt", part=shares)

    apart = {"search_text": part(0, 0.3), "calibration_text": part(0.3, 0.75), "report_text": part(0.75, 1)}
    RunSettings(**apart)
    RunSettings(**apart | {"calibration_text": part(0, 0.3)})
    for report in (part(0.2, 1), TextSettings(source="all.txt")):
        with pytest.raises(ValueError, match="search_text and report_text are the same text"):
            RunSettings(**apart | {"report_text": report})
    with pytest.raises(ValueError, match="calibration_text and search_text overlap"):
        RunSettings(**apart | {"calibration_text": part(0.2, 0.75)})
    with pytest.raises(ValueError, match="expected two shares that rise"):
        part(0.5, 0.5)


def test_a_hub_text_without_a_split_is_its_test_split():
    report = TextSettings(source="some/text", split="test")
    with pytest.raises(ValueError, match="report_text are the same text"):
        RunSettings(search_text=TextSettings(source="some/text"), report_text=report)
    RunSettings(search_text=TextSettings(source="some/text", split="train"), report_text=report)


def test_calibration_is_by_default_more_of_the_search_text():
    settings = RunSettings()
    assert settings.calibration.identity == settings.search_text.identity
    assert settings.calibration.windows * settings.calibration.window == 16_384


@pytest.mark.parametrize("given", [{"limit": 3}, {"include_path": "tasks"}])
def test_how_tasks_are_run_needs_tasks(given):
    with pytest.raises(ValueError, match="name the tasks, too"):
        EvalOptions(**given)
    EvalOptions(tasks="piqa", **given)
