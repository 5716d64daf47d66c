"""The page on an ablation: whole, without network, true to the runs that are there, and safe to open."""

import json
import shutil
from contextlib import ExitStack

import pytest

from evoprune.records import run_folder
from evoprune.report import watch
from tests.evoprune.report.conftest import Page

VARY = ("--vary", "operators.mate=blend,uniform")


@pytest.fixture
def ablation(ablate):
    code, folder = ablate(*VARY)
    assert code == 0
    return folder


def test_both_pages_tell_what_the_table_and_the_folder_tell(ablation):
    page = Page((ablation / "report.html").read_text())
    page.asks_no_network()
    assert len(page.named("img")) == 1
    (rows,) = json.loads((ablation / "ablation.json").read_text()).values()
    for name in ("report.html", "report.md"):
        text = (ablation / name).read_text()
        assert all(f"{row['median']:.4g}" in text and row["variant"] in text for row in rows)
        assert all(f"0{variant}/seed-{seed}" in text for variant in (1, 2) for seed in (0, 1))
        assert "60 evaluations" in text


def test_of_an_unfinished_ablation_the_whole_seeds_are_compared(ablation, evoprune):
    shutil.rmtree(ablation / "01" / "seed-0")
    answer = evoprune("report", ablation)
    assert answer.code == 0, answer.err
    text = (ablation / "report.md").read_text()
    assert "3 of 4 runs finished" in text
    assert "| mate=blend | 1 |" in text
    assert "| 01/seed-0 | mate=blend | 0 | not begun | - |" in text
    shutil.rmtree(ablation / "02")
    answer = evoprune("report", ablation)
    assert answer.code == 2
    assert "1 of the 4 runs" in answer.err


def test_nothing_of_the_folder_becomes_markup(ablation, evoprune):
    mark = "<script>alert(1)</script> | `x` **b** [l](https://x)"
    campaign = json.loads((ablation / "campaign.json").read_text()) | {"file": mark, "unit": mark, "settings": [mark]}
    campaign["variants"][0] = {"name": mark, "settings": [mark]}
    campaign["environment"] |= {"command": ["evoprune", mark], "platform": mark}
    (ablation / "campaign.json").write_text(json.dumps(campaign))
    assert evoprune("report", ablation).code == 0
    page = Page((ablation / "report.html").read_text())
    assert not page.named("script") + page.named("strong") + page.named("a")
    assert "alert(1)" in (ablation / "report.html").read_text()


def test_a_watched_page_reloads_itself_until_the_ablation_ends(ablation, tmp_path):
    (last := ablation / "02" / "seed-1" / "result.json").rename(tmp_path / "kept")
    out, seen = tmp_path / "page.html", []
    with ExitStack() as stack:
        stack.enter_context(run_folder.locked(ablation, "campaign.lock"))

        def wait(_):
            seen.append(out.read_text())
            (tmp_path / "kept").rename(last)
            stack.close()

        watch([ablation], out, 5.0, wait)
    assert "running, 3 of 4 runs finished" in seen[0]
    assert 'http-equiv="refresh"' in seen[0]
    assert 'http-equiv="refresh"' not in out.read_text()
