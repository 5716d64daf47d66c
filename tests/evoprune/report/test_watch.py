"""The page while a run goes on, and after it."""

import json
from contextlib import ExitStack

import pytest

from evoprune import InputError
from evoprune.records import run_folder
from evoprune.records.status import StatusFile
from evoprune.report import watch, write


@pytest.fixture
def unfinished(run, sphere):
    folder = run(sphere).folder
    (folder / "result.json").unlink()
    StatusFile(folder).write("running")
    return folder


@pytest.fixture
def watched(unfinished, tmp_path):
    """Watches the run while it is locked; ``change`` is called in the first pause, after which the run is over."""

    def call(change):
        pages = []
        with ExitStack() as held:
            held.enter_context(run_folder.locked(unfinished))

            def wait(seconds):
                assert seconds == 5.0
                pages.append((tmp_path / "page.html").read_text())
                change()
                held.close()

            watch([unfinished], tmp_path / "page.html", 5.0, wait)
        return [*pages, (tmp_path / "page.html").read_text()]

    return call


def test_a_watched_page_reloads_itself_until_the_run_ends(unfinished, watched):
    during, after = watched(lambda: StatusFile(unfinished).write("done"))
    assert 'http-equiv="refresh" content="5.0"' in during
    assert "<td>running</td>" in during
    assert "refresh" not in after
    assert "<td>done</td>" in after


def test_the_best_so_far_is_the_best_of_the_history(unfinished, tmp_path):
    lines = [json.loads(line) for line in (unfinished / "history.jsonl").read_text().splitlines()]
    best = min(line["fitness"][0] for line in lines if "candidate" in line)
    _, markdown = write([unfinished], tmp_path / "page.html")
    assert f"| fitness of the best | {best:.6g} |" in markdown.read_text()
    assert "| state | killed |" in markdown.read_text()


def test_a_run_that_has_scored_nothing_is_waited_for_while_it_goes_on(unfinished, tmp_path):
    kept = {path: path.read_text() for path in (unfinished / "history.jsonl", unfinished / "config.yaml")}
    out = tmp_path / "page.html"
    for path in kept:
        path.unlink()
    with pytest.raises(InputError):
        watch([unfinished], out, 1.0)
    with ExitStack() as held:
        held.enter_context(run_folder.locked(unfinished))

        def wait(_):
            assert not out.exists()
            for path, text in kept.items():
                path.write_text(text)
            held.close()

        watch([unfinished], out, 1.0, wait)
    assert out.exists()


@pytest.mark.parametrize(("more", "page"), [(["nowhere"], "page.html"), ([], "page.html/page.html")])
def test_what_stays_wrong_is_not_waited_for(unfinished, tmp_path, more, page):
    (tmp_path / "page.html").write_text("")
    with run_folder.locked(unfinished), pytest.raises(InputError):
        watch([unfinished, *(tmp_path / name for name in more)], tmp_path / page, 1.0)
