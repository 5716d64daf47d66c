"""A resumed run is the run that was not disturbed: the same lines, the same result, nothing scored twice."""

import json
import random
import re
import resource
import shutil

import pytest

from evoprune import Genes, InputError
from evoprune.records import recorded, run_folder
from tests.runs import result, without_times


@pytest.fixture
def resume(evoprune):
    def call(folder, *settings, more=()):
        options = [option for setting in settings for option in ("--set", setting)]
        return evoprune("resume", folder, *options, *more, folder=folder)

    return call


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def cut(whole, folder, size):
    """A copy of the run in ``whole`` as it would be had it been killed with ``size`` bytes of history written."""
    shutil.copytree(whole, folder)
    (folder / "result.json").unlink()
    (folder / "history.jsonl").write_bytes((whole / "history.jsonl").read_bytes()[:size])
    return folder


def test_from_any_byte_of_the_history_on_the_run_ends_the_same(run, resume, counted, tmp_path):
    whole = run(counted.file)
    history = (whole.folder / "history.jsonl").read_bytes()
    ends = [place for place, byte in enumerate(history) if byte == ord("\n")]
    sizes = [0, 1, ends[0], ends[0] + 1, ends[-1], len(history)]
    for size in [*sizes, *random.Random(0).sample(range(len(history)), 6)]:
        folder = cut(whole.folder, tmp_path / f"cut-{size}", size)
        counted.log.write_text("")
        answer = resume(folder)
        assert answer.code == 0, answer.err
        assert without_times(answer.history) == without_times(whole.history)
        assert result(answer.folder) == result(whole.folder)
        assert (folder / "history.jsonl").read_bytes().startswith(history[: history.rfind(b"\n", 0, size) + 1])
        held = [json.loads(line)["genome"] for line in history[:size].splitlines(keepends=True) if _scored(line)]
        assert not [genome for genome in counted.scored if genome in held]
        assert ("was cut short" in answer.err) == (size not in {0, *ends, *(end + 1 for end in ends)})


def _scored(line):
    return line.endswith(b"}\n") and b'"genome"' in line


def test_more_generations_are_those_of_a_longer_run(run, resume, counted):
    longer = run(counted.file, "generations=9", name="longer")
    answer = run(counted.file)
    counted.log.write_text("")
    answer = resume(answer.folder, "generations=9")
    assert answer.code == 0
    assert without_times(answer.history) == without_times(longer.history)
    assert result(answer.folder) == result(longer.folder)
    assert "generations: 9" in (answer.folder / "config.yaml").read_text()
    assert len(answer.json("environment.json")["resumed"]) == 1
    new = {tuple(line["genome"]) for line in answer.candidates if line["generation"] > 4 and not line["memo"]}
    assert {tuple(genome) for genome in counted.scored} == new


def test_a_run_that_is_done_stays_as_it_is(run, resume, counted):
    folder = run(counted.file).folder
    before = contents(folder)
    answer = resume(folder)
    assert (answer.code, answer.err) == (0, "")
    assert "done already" in answer.out
    assert contents(folder) == before


def test_of_a_folder_of_runs_those_that_ended_early_are_continued(run, resume, evoprune, counted, tmp_path):
    whole = run(counted.file)
    runs, history = whole.folder.parent, (whole.folder / "history.jsonl").read_bytes()
    answer = resume(runs)
    assert answer.code == 2
    assert "holds no run that ended early" in answer.err
    for name in ("early", "moved", "later"):
        folder = cut(whole.folder, runs / name, len(history) // 2)
        (folder / "status.json").write_text('{"state": "interrupted"}')
    (runs / "moved" / "environment.json").unlink()
    (runs / "odd").mkdir()
    (runs / "odd" / "status.json").write_text('{"state": 1}')
    before = contents(whole.folder)
    answer = evoprune("resume", runs, "--quiet")
    assert answer.code == 2
    assert "moved: holds no environment.json" in answer.err
    for name in ("early", "later"):
        assert result(runs / name) == result(whole.folder)
    assert contents(whole.folder) == before


def test_scores_that_came_ahead_of_their_turn_are_not_scored_again(run, resume, counted, tmp_path):
    whole = run(counted.file)
    lines = (whole.folder / "history.jsonl").read_bytes().splitlines(keepends=True)
    folder = cut(whole.folder, tmp_path / "cut", sum(map(len, lines[:4])))
    (folder / "ahead.jsonl").write_bytes(b"".join(lines[5:7]) + lines[7][:9])
    counted.log.write_text("")
    answer = resume(folder)
    assert without_times(answer.history) == without_times(whole.history)
    ahead = [json.loads(line)["genome"] for line in lines[5:7]]
    assert not [genome for genome in counted.scored if genome in ahead]
    assert not (folder / "ahead.jsonl").exists()


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        (["generations=3"], "would end before line"),
        (["seed=4"], "experiment.seed was 3 when the run began and is 4 now"),
        (["operators.mutate.sigma=0.3", "generations=9"], "experiment.operators.mutate.sigma was 0.2"),
        (["generations=many"], "generations: expected a whole number"),
    ],
)
def test_another_experiment_is_refused(run, resume, counted, settings, fragment):
    folder = run(counted.file).folder
    before = contents(folder)
    answer = resume(folder, *settings)
    assert answer.code == 2
    assert fragment in answer.err
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("key", "before", "after"), [("seed", "3", "4"), ("operators.mutate.sigma", "0.2", "0.3"), ("population", "6", "7")]
)
def test_a_run_whose_experiment_was_edited_is_not_read(run, evoprune, counted, tmp_path, key, before, after):
    folder = run(counted.file).folder
    text, name = (folder / "config.yaml").read_text(), key.rpartition(".")[2]
    edited = text.replace(f"{name}: {before}", f"{name}: {after}")
    assert edited != text
    (folder / "config.yaml").write_text(edited)
    held = contents(folder)
    for command in (["resume", folder], ["report", folder], ["export", folder, tmp_path / "out"]):
        answer = evoprune(*command)
        assert answer.code == 2
        assert f"{folder}: experiment.{key} was {before}" in answer.err
    assert contents(folder) == held
    (folder / "config.yaml").write_text(text.replace("max_failures: 0.9", "max_failures: 0.8"))  # decides no score
    assert evoprune("report", folder).code == 0


def test_a_run_of_another_version_is_refused(run, resume, counted):
    folder = run(counted.file).folder
    environment = json.loads((folder / "environment.json").read_text())
    environment["packages"]["evoprune"] = "0.0.1"
    (folder / "environment.json").write_text(json.dumps(environment))
    answer = resume(folder, "generations=9")
    assert answer.code == 2
    assert "0.0.1" in answer.err


CHANGING = """
from pathlib import Path
from evoprune.problems.benchmark import Benchmark

class Changing(Benchmark):
    def fingerprint(self):
        return {"text": Path(__file__).with_name("text").read_text()}

    def random_genome(self):
        return [gene + float(Path(__file__).with_name("shift").read_text()) for gene in super().random_genome()]
"""


def test_other_data_and_other_code_are_found(run, resume, write, plugin):
    home = plugin("changing_problem", CHANGING)
    (home / "text").write_text("first")
    (home / "shift").write_text("0")
    file = write("{plugins: [changing_problem], problem: 'changing_problem:Changing', population: 4, generations: 2}")
    folder = run(file).folder
    before = contents(folder)
    (home / "text").write_text("second")
    answer = resume(folder, "generations=3")
    assert answer.code == 2
    assert "fingerprint.text was 'first' when the run began and is 'second' now" in answer.err
    (home / "text").write_text("first")
    (home / "shift").write_text("0.1")
    answer = resume(folder, "generations=3")
    assert answer.code == 2
    assert "line 2 differs in 'genome' from what the run would write now" in answer.err
    assert contents(folder) == before


def test_a_run_that_is_still_going_is_left_alone(run, resume, counted):
    folder = run(counted.file).folder
    before = contents(folder)
    with run_folder.locked(folder):
        answer = resume(folder, "generations=9")
    assert answer.code == 2
    assert "still running" in answer.err
    assert contents(folder) == before
    assert resume(folder, "generations=9").code == 0


def test_failures_that_stopped_a_run_stop_it_again_unless_more_are_allowed(run, resume, counted):
    answer = run(counted.file, "max_failures=0")
    assert answer.code == 3
    assert f"python -m evoprune resume {answer.folder}" in answer.err
    counted.log.write_text("")
    assert resume(answer.folder).code == 3
    assert counted.scored == []
    assert resume(answer.folder, "max_failures=1").code == 0


# A limit on the size of files stands for a full disk: the write that passes it is cut short, the next fails.
def test_a_full_disk_stops_the_run_and_loses_nothing(run, resume, start, counted, tmp_path):
    whole = run(counted.file, "generations=40")
    folder = tmp_path / "runs" / "full"
    limit = (whole.folder / "history.jsonl").stat().st_size // 2 + 7
    process = start(
        *("run", counted.file, "--runs-dir", folder.parent, "--name", folder.name, "--set", "generations=40"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    assert f"cannot write into {folder}: File too large" in errors
    assert f"python -m evoprune resume {folder}" in errors
    assert (folder / "history.jsonl").stat().st_size == limit
    answer = resume(folder)
    assert answer.code == 0
    assert without_times(answer.history) == without_times(whole.history)
    assert result(answer.folder) == result(whole.folder)


ATTACKS = {
    "pickle": (b"\x80\x04\x95\x1d\x00\x00\x00cposix\nsystem\n(S'touch owned'\ntR.\n", "is not a line of JSON"),
    "huge exponent": (b'{"generation": 0, "seconds": 1e400}\n', "infinity"),
    "deep": (b"[" * 100_000 + b"\n", "is not a line of JSON"),
    "text for a number": (
        b'{"reference": "zero", "genome": ["0"], "fitness": [0], "work": 1, "seconds": 1}\n',
        "line 1: genome: expected finite numbers, got ['0']",
    ),
    "null without a reason": (
        b'{"reference": "zero", "genome": [0], "fitness": [null], "work": 1, "seconds": 1}\n',
        "null without a failure",
    ),
}


@pytest.mark.parametrize(("line", "fragment"), ATTACKS.values(), ids=ATTACKS.keys())
def test_lines_made_to_attack_are_refused_as_data(tmp_path, line, fragment):
    (tmp_path / "history.jsonl").write_bytes(line + line)
    with pytest.raises(InputError, match=re.escape(fragment)):
        recorded.read(tmp_path, (-1.0,), Genes.real("x", 0.0, 1.0))


def test_a_line_that_the_run_would_not_write_is_refused(run, resume, counted):
    folder = run(counted.file).folder
    history = (folder / "history.jsonl").read_text()
    for old, new in [('"zero"', '"../x"'), ('"evaluations":6', '"evaluations":7'), ('"parents":[]', '"parents":[9]')]:
        (folder / "history.jsonl").write_text(history.replace(old, new, 1))
        before = contents(folder)
        answer = resume(folder, "generations=9")
        assert answer.code == 2
        assert "differs in '" in answer.err
        assert contents(folder) == before


@pytest.mark.parametrize("name", ["environment.json", "config.yaml"])
@pytest.mark.parametrize("text", [None, b"\x80\x04cposix\nsystem\n", b'{"experiment": 1e999}'])
def test_other_files_made_to_attack_are_refused_as_data(run, resume, counted, name, text):
    folder = run(counted.file).folder
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_bytes(text)
    before = contents(folder)
    answer = resume(folder)
    assert answer.code == 2
    assert answer.err.startswith(f"evoprune: {folder}")
    assert contents(folder) == before


def test_links_out_of_the_folder_are_refused(run, resume, counted, tmp_path):
    folder = run(counted.file).folder
    (tmp_path / "precious").write_text("one line")
    (folder / "history.jsonl").unlink()
    (folder / "history.jsonl").symlink_to(tmp_path / "precious")
    answer = resume(folder)
    assert answer.code == 2
    assert "is a link" in answer.err
    assert (tmp_path / "precious").read_text() == "one line"


@pytest.mark.parametrize("path", ["nothing", "scored", "."])
def test_what_is_no_run_is_refused(resume, counted, tmp_path, path):
    answer = resume(tmp_path / path)
    assert answer.code == 2
    assert answer.err.startswith(f"evoprune: {tmp_path / path}: ")
