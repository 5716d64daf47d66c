"""What a run says of itself while it goes on, and what is said of one that died."""

import json
import os
import shutil
import signal

import pytest

from evoprune.records import run_folder
from evoprune.records.status import StatusFile


@pytest.fixture
def halfway(run, sphere):
    """A run's folder as it is after two whole generations and a part of the third, state running."""
    folder = run(sphere).folder
    lines = (folder / "history.jsonl").read_text().splitlines(keepends=True)
    end = next(at for at, line in enumerate(lines) if '"generation":2' in line and '"candidate"' in line)
    (folder / "history.jsonl").write_text("".join(lines[: end + 2]) + lines[end + 2][:20])
    (folder / "result.json").unlink()
    StatusFile(folder).write("running")
    return folder


def test_a_run_that_a_process_holds_is_running_and_tells_its_phase(halfway, evoprune):
    StatusFile(halfway).write("running", None, "calibrating: 2/30 blocks", 70.0)
    with run_folder.locked(halfway):
        (status,) = json.loads(evoprune("status", halfway, "--json").out)
        out = evoprune("status", halfway).out
    assert (status["state"], status["generation"], status["seconds_left"]) == ("running", 1, 70.0)
    assert "phase: calibrating: 2/30 blocks" in out
    assert "time left: 01:10" in out
    assert "phase: " not in evoprune("status", halfway).out  # it was killed


def test_a_run_that_no_process_holds_was_killed_and_can_be_resumed(halfway, evoprune):
    out = evoprune("status", halfway).out
    assert "state: killed" in out
    (advice,) = [line for line in out.splitlines() if line.startswith("to continue: ")]
    assert evoprune(*advice.removeprefix("to continue: python -m evoprune ").split()).code == 0
    assert "state: done" in evoprune("status", halfway).out


@pytest.mark.parametrize("command", [["export"], ["eval"]], ids=" ".join)
def test_what_needs_a_result_says_how_an_unfinished_run_gets_one(halfway, evoprune, tmp_path, command):
    arguments = [*command, halfway, *([tmp_path / "out"] if command == ["export"] else [])]
    answer = evoprune(*arguments)
    advice = f"killed after generation 1; finish it with `python -m evoprune resume {halfway}`"
    assert (answer.code, answer.err) == (2, f"evoprune: {halfway}: {advice}\n")
    with run_folder.locked(halfway):
        assert "is still running after generation 1" in evoprune(*arguments).err


def test_a_folder_of_runs_is_a_table_and_one_bad_run_hides_no_other(halfway, evoprune):
    runs = halfway.parent
    shutil.copytree(halfway, runs / "ablation" / "01" / "seed-0")
    (runs / "bad").mkdir()
    (runs / "bad" / "status.json").write_text("[]")
    (runs / "empty").mkdir()
    (runs / "empty" / "lock").touch()
    rows = evoprune("status", runs).out.splitlines()[1:]
    states = {row.split()[0]: row.split()[1] for row in rows if ":" not in row}
    assert states == {"ablation/01/seed-0": "killed", "bad": "unreadable", "empty": "empty", "run": "killed"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status.json", "{"),
        ("status.json", "{}"),
        ("config.yaml", "generations: -1"),
        ("config.yaml", "["),
        ("history.jsonl", "{}\n{}\n"),
    ],
)
def test_what_no_run_writes_is_refused_by_name(halfway, evoprune, name, text):
    (halfway / name).write_text(text)
    answer = evoprune("status", halfway)
    assert answer.code == 2
    assert name in answer.err


@pytest.mark.parametrize("command", ["status", "report"])
@pytest.mark.parametrize("mixed", ["result.json", "history.jsonl", "fewer lines", "no lines", "cut line"])
def test_files_of_two_runs_are_not_shown_as_one(run, sphere, evoprune, command, mixed):
    folder, other = run(sphere).folder, run(sphere, "seed=2", name="other").folder
    history = folder / "history.jsonl"
    if "line" in mixed:
        lines = history.read_text().splitlines(keepends=True)
        left = {"fewer lines": lines[:-3], "no lines": [], "cut line": [*lines[:-1], lines[-1][:20]]}
        history.write_text("".join(left[mixed]))
    else:
        shutil.copy(other / mixed, folder)
    answer = evoprune(command, folder)
    assert answer.code == 2
    assert "history.jsonl" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (folder / "report.html").exists()


def test_a_history_without_an_experiment_is_not_shown(run, sphere, evoprune):
    folder = run(sphere).folder
    (folder / "config.yaml").unlink()
    answer = evoprune("status", folder)
    assert answer.code == 2
    assert "config.yaml" in answer.err


def test_a_run_that_died_while_it_was_lengthened_can_be_resumed(run, sphere, evoprune):
    folder = run(sphere).folder
    (folder / "result.json").unlink()
    assert "state: killed" in evoprune("status", folder).out
    assert evoprune("resume", folder).code == 0
    assert "state: done" in evoprune("status", folder).out


@pytest.fixture
def waits():
    """Ends the test after seconds in which a command waits for ever."""

    def end(*_):
        pytest.fail("it waits for ever")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("command", ["status", "report", "resume"])
@pytest.mark.parametrize("name", ["config.yaml", "history.jsonl"])
def test_a_pipe_in_place_of_a_file_is_refused_by_name(run, sphere, evoprune, command, name):
    folder = run(sphere).folder
    (folder / name).unlink()
    os.mkfifo(folder / name)
    answer = evoprune(command, folder)
    assert answer.code == 2
    assert str(folder / name) in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("name", ["lock", "convergence.svg"])
def test_pipes_that_are_not_needed_are_not_read(run, sphere, evoprune, name):
    folder = run(sphere).folder
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert (evoprune("status", folder).code, evoprune("report", folder).code) == (0, 0)
