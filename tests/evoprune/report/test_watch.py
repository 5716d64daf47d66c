"""The page while a run goes on, and after it."""

import json
from contextlib import ExitStack

import pytest

from evoprune import InputError
from evoprune.ablation.campaign import held, read
from evoprune.records import run_folder
from evoprune.records.status import StatusFile
from evoprune.report import watch, write
from evoprune.report import write as write_page


@pytest.fixture
def unfinished(run, sphere):
    folder = run(sphere).folder
    (folder / "result.json").unlink()
    StatusFile(folder).write("running")
    return folder


def test_a_watched_page_reloads_itself_until_the_run_ends(unfinished, tmp_path):
    out, seen = tmp_path / "page.html", []
    with ExitStack() as held:
        held.enter_context(run_folder.locked(unfinished))

        def wait(seconds):
            seen.append((seconds, out.read_text()))
            if len(seen) == 2:
                StatusFile(unfinished).write("done")
                held.close()

        watch([unfinished], out, 5.0, wait)
    assert [seconds for seconds, _ in seen] == [5.0, 5.0]
    assert all('http-equiv="refresh" content="5.0"' in text and "<dd>running</dd>" in text for _, text in seen)
    assert "refresh" not in out.read_text()
    assert "<dd>done</dd>" in out.read_text()


def test_the_best_so_far_is_the_best_of_the_history(unfinished, tmp_path):
    lines = [json.loads(line) for line in (unfinished / "history.jsonl").read_text().splitlines()]
    best = min(line["fitness"][0] for line in lines if "candidate" in line)
    _, markdown = write([unfinished], tmp_path / "page.html")
    assert f"| fitness of the best | {best:.6g} |" in markdown.read_text()
    assert "| state | killed |" in markdown.read_text()
    assert "| gene 0 |" in markdown.read_text()
    assert "<h2>Time</h2>" not in (tmp_path / "page.html").read_text()


def test_a_page_without_a_place_is_not_waited_for(unfinished, tmp_path):
    (tmp_path / "file").write_text("")
    with run_folder.locked(unfinished), pytest.raises(InputError, match="cannot be written"):
        watch([unfinished], tmp_path / "file" / "page.html", 1.0)


def test_a_run_that_has_scored_nothing_is_waited_for_while_it_goes_on(unfinished, tmp_path):
    history = unfinished / "history.jsonl"
    text = history.read_text()
    history.write_text("")
    with pytest.raises(InputError, match="no candidate"):
        watch([unfinished], tmp_path / "page.html", 1.0)
    with ExitStack() as held:
        held.enter_context(run_folder.locked(unfinished))
        StatusFile(unfinished).write("running", None, "calibrating: 2/30 blocks", 70.0)

        def wait(_):
            page = (tmp_path / "page.html").read_text()
            assert 'http-equiv="refresh"' in page
            assert "<td>running</td>" in page
            assert "calibrating: 2/30 blocks" in page
            assert "<td>01:10</td>" in page
            history.write_text(text)
            held.close()

        watch([unfinished], tmp_path / "page.html", 1.0, wait)
    assert "Too little is scored" not in (tmp_path / "page.html").read_text()


def test_a_run_that_has_only_begun_is_waited_for_and_a_wrong_folder_beside_it_is_not(unfinished, tmp_path):
    history, config = (unfinished / name for name in ("history.jsonl", "config.yaml"))
    kept = {path: path.read_text() for path in (history, config)}
    for path in kept:
        path.unlink()
    out, waited = tmp_path / "page.html", []
    with ExitStack() as stack:
        stack.enter_context(run_folder.locked(unfinished))
        with pytest.raises(InputError, match="nowhere"):
            watch([unfinished, tmp_path / "nowhere"], out, 1.0, waited.append)
        watched = []

        def wait(_):
            watched.append(out.read_text())
            for path, text in kept.items():
                path.write_text(text)
            stack.close()

        watch([unfinished], out, 1.0, wait)
    assert "Too little is scored" in watched[0]


def test_a_watched_ablation_says_what_its_runs_do_until_there_is_something_to_compare(ablate, tmp_path):
    _, folder = ablate("--vary", "operators.mate=blend,uniform")
    parts = sorted(folder.rglob("result.json"))
    told = {path: path.read_text() for path in parts[2:]}
    for path in told:
        path.unlink()
    (folder / "ablation.json").unlink()
    out = tmp_path / "page.html"
    with ExitStack() as stack:
        stack.enter_context(held(folder, read(folder)))

        def wait(_):
            page = out.read_text()
            assert page.count("<td>done</td>") == 4
            assert "empty" not in page
            for path, text in told.items():
                path.write_text(text)
            stack.close()

        watch([folder], out, 1.0, wait)


@pytest.mark.parametrize("every", ["0", "-1", "nan", "inf"])
def test_an_interval_that_is_none_is_refused(run, sphere, evoprune, no_figures, every):
    answer = evoprune("report", run(sphere).folder, "--watch", "--every", every)
    assert answer.code == 2
    assert "--every" in answer.err


def test_objectives_may_depend_on_the_settings(traded, tmp_path):
    """The best of a run that goes on is that by the objectives which its settings ask for."""
    folder = traded
    (folder / "result.json").unlink()
    StatusFile(folder).write("running")
    least = min(json.loads(line)["fitness"][0] for line in _candidates(folder))
    html, _ = write_page([folder], tmp_path / "page.html")
    assert f"{least:.4g}"[:5] in html.read_text()


def _candidates(folder):
    return [line for line in (folder / "history.jsonl").read_text().splitlines() if '"candidate"' in line]
