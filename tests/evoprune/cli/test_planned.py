"""Commands of plugins: what they plan is run, reported and exported as any experiment is."""

import errno
import json
import os
import time
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partialmethod
from importlib.metadata import EntryPoint
from itertools import count
from pathlib import Path

import pytest
import yaml

from evoprune.cli import planned
from evoprune.experiment import registry
from evoprune.records import run_folder
from tests.runs import lines, result

PLANNERS = """
import dataclasses
import json
import os
from evoprune import Evaluation, Exported, Genes, Plan, Planner, Problem, Reporting
from evoprune.interfaces.export import Exporting
from evoprune.interfaces.parts import Shown
from evoprune.interfaces.planning import Command
from evoprune.interfaces.problem import Checked
from evoprune.problems.benchmark import Benchmark

class Tiny(Planner):
    '''Minimise a function of some size.'''
    help = "minimise"
    example = "python -m evoprune tiny 3"

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("size", type=int)

    name, problem = "sphere", Benchmark

    def plan(self):
        problem = {"use": "benchmark", "function": "sphere", "dimensions": self.options.size}
        return Plan({"problem": problem, "population": 6, "generations": 2}, ["chosen for its size"])

class Printed(Command):
    '''Print a word.'''
    help = "print"
    example = "python -m evoprune tiny word"

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("word")

    @classmethod
    def call(cls, options):
        print(options.word)
        return 7


class NoPlanner:
    pass


class Loud(Checked):
    loud: bool = False
    seconds: float | None = None


class Sum(Problem, Exporting, Reporting):
    '''Interrupted, as by Ctrl-C, where it comes to what INTERRUPTED_IN names.'''

    ExportOptions = Loud
    genes = property(lambda self: Genes.real(["x", "y"], 0.0, 1.0))
    file_suffixes = classmethod(lambda cls: [".txt"])
    scored = 0

    def evaluate(self, genome):
        self.scored += 1
        self._come_to("search" if self.scored == 9 else "")
        return Evaluation((sum(genome),))

    def report(self, outcome, folder):
        return {"left": outcome.seconds_left}

    def export(self, genome, result, place, options):
        self._come_to("export")
        (place / "best.json" if place.is_dir() else place).write_text(json.dumps(genome))
        told = ["two numbers!" if options.loud else "two numbers"]
        facts = {"sum": sum(genome), "left": options.seconds}
        return Exported(facts, told, verdict="2 numbers of 3", usage="cat {out}/best.json")

    def draft(self, genome, place, options):
        if place.suffix:
            place.write_text(json.dumps([*genome, options.loud]))
        return bool(place.suffix)

    @classmethod
    def shown(cls, result, facts):
        return Shown([f"it sums to {facts['sum']}"] if facts else [])

    def _come_to(self, part):
        if os.environ["INTERRUPTED_IN"] == part:
            raise KeyboardInterrupt


class OfSums(Tiny):
    name, problem = "sum", Sum

    def plan(self):
        made = {"plugins": ["planners"], "problem": "planners:Sum", "population": 6, "generations": 2}
        return Plan(made, export={"loud": True}, seconds=1000.0, searching=900.0)

class Interrupted(OfSums):
    def plan(self):
        raise KeyboardInterrupt

class Late(OfSums):
    def plan(self):
        return dataclasses.replace(super().plan(), searching=-1.0)

class Refused(OfSums):
    def plan(self):
        raise AssertionError("it was planned, and hours may have passed")

class Huge(OfSums):
    def plan(self):
        return dataclasses.replace(super().plan(), room=1e24)
"""


@pytest.fixture
def command(plugin, monkeypatch):
    """Registers a command ``tiny``."""
    plugin("planners", PLANNERS)
    known = registry.names

    def register(name="Tiny"):
        entry = EntryPoint("tiny", f"planners:{name}", planned.COMMANDS)
        monkeypatch.setattr(
            registry, "names", lambda group: {"tiny": entry} if group == planned.COMMANDS else known(group)
        )

    register()
    return register


@pytest.mark.usefixtures("command")
def test_what_is_planned_is_run_and_reported_and_can_be_repeated(evoprune, tmp_path):
    answer = evoprune("tiny", "3", "--runs-dir", tmp_path / "runs", "--name", "run")
    assert answer.code == 0, answer.err
    assert answer.err.startswith("chosen for its size\n")
    assert (tmp_path / "runs" / "run" / "report.html").is_file()
    (repeat,) = (line for line in answer.out.splitlines() if line.startswith("to repeat it: "))
    again = repeat.split("evoprune ", 1)[1].split()
    assert evoprune(*again, "--runs-dir", tmp_path, "--name", "again").code == 0
    assert result(tmp_path / "again")["best"] == result(tmp_path / "runs" / "run")["best"]


@pytest.mark.parametrize("part", ["search", "export"])
def test_what_was_promised_is_kept_by_resume_after_an_interruption(part, command, evoprune, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("OfSums")
    monkeypatch.setenv("INTERRUPTED_IN", part)
    answer = evoprune("tiny", "3", "--name", "run", "--out", "result")
    assert answer.code == 130
    assert "to continue: python -m evoprune resume runs/run\n" in answer.err
    assert not Path("result").exists()
    told = evoprune("status", "runs/run").out
    assert ("its result is not exported yet" in told) == (part == "export")
    assert "to continue: python -m evoprune resume runs/run" in told
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    monkeypatch.chdir("runs")
    usage = f"cat {tmp_path / 'result'}/best.json"
    for told, folder in (("two numbers!\n2 numbers of 3\nwritten and checked: ", "."), ("done already", "run")):
        answer = evoprune("resume", folder)
        assert answer.code == 0, answer.err
        assert told in answer.out
        assert (usage in answer.out.splitlines()[-1]) == (folder == ".")
    genome = json.loads((tmp_path / "result" / "best.json").read_text())
    assert genome == result(Path("run"))["best"]["genome"]
    assert 0 < result(Path("run"))["left"] < 1000
    first, _, folded = Path("run", "report.md").read_text().partition("<details>")
    for words in ("> 2 numbers of 3", usage, f"it sums to {sum(genome)}"):
        assert words in first
    assert "| candidates evaluated |" in folded
    assert "| planning | 0" in first
    facts = json.loads((tmp_path / "result" / "evoprune.json").read_text())
    assert 0 < facts["left"] < 1000
    facts["best"]["genome"][0] += 1  # of another result
    (tmp_path / "result" / "evoprune.json").write_text(json.dumps(facts))
    assert evoprune("report", "run").code == 0
    assert "2 numbers" not in Path("run", "report.md").read_text()
    assert evoprune("export", "run", "other").code == 0
    assert json.loads(Path("other", "evoprune.json").read_text())["left"] is None  # it was not promised


@pytest.mark.parametrize("part", ["search", "export"])
def test_the_best_so_far_is_in_the_file_until_the_same_command_completes_it(
    part, command, evoprune, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    command("OfSums")
    out, again = Path("result.txt"), ("tiny", "3", "--name", "run", "--out", "result.txt")
    monkeypatch.setenv("INTERRUPTED_IN", part)
    answer = evoprune(*again)
    assert answer.code == 130
    assert str(tmp_path / out) in answer.err
    assert "to continue: python -m evoprune resume runs/run\n" in answer.err
    scored = [
        line for line in map(json.loads, Path("runs/run/history.jsonl").read_text().splitlines()) if "candidate" in line
    ]
    best = min(scored, key=lambda line: line["fitness"])["genome"]
    assert json.loads(out.read_text()) == [*best, True]
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    if part == "export":
        out.write_text("of somebody else")
        assert evoprune("resume", "runs/run").code == 2
        assert out.read_text() == "of somebody else"
        out.unlink()
    answer = evoprune(*again)
    assert answer.code == 0, answer.err
    assert json.loads(out.read_text()) == result(Path("runs/run"))["best"]["genome"]
    assert Path("result.evoprune.json").is_file()
    assert evoprune(*again).code == 2


@pytest.fixture
def kill(monkeypatch):
    """Ends the command where a file or folder is to get a name, as a kill does: no command handles the exception."""

    class Killed(BaseException):
        pass

    @contextmanager
    def before(pattern):
        def change(path, target, change):
            if fnmatch(os.path.relpath(target), pattern):
                raise Killed
            return change(path, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            for way in ("replace", "rename"):
                patch.setattr(Path, way, partialmethod(change, change=getattr(Path, way)))
            yield

    return before


@pytest.mark.parametrize(
    "name", ["*/config.yaml", "*/promised.json", "runs/run", "runs/run/status.json", "*/environment.json"]
)
def test_a_command_that_is_killed_as_its_run_begins_goes_on(name, command, evoprune, kill, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    command("OfSums")
    again = ("tiny", "3", "--name", "run", "--out", "result")
    with kill(name):
        evoprune(*again)
    answer = evoprune(*again)
    assert answer.code == 0, answer.err
    assert Path("result/evoprune.json").is_file()
    assert {path.name for path in Path("runs").iterdir()} == {"run"}


@pytest.mark.parametrize("again", ["resume", "the same"])
@pytest.mark.parametrize(
    ("out", "name"),
    [
        *(("result", name) for name in ("result", "*/exported.json", "*/report.html", "*/report.md")),
        *(("result.txt", f"result{end}") for end in (".txt", ".evoprune.json", ".experiment.yaml")),
        ("result.txt", "*/exported.json"),
    ],
)
def test_a_command_that_is_killed_at_its_end_goes_on(out, name, again, command, evoprune, kill, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    command("OfSums")
    same = ("tiny", "3", "--name", "run", "--out", out)
    again = same if again == "the same" else ("resume", "runs/run")
    for arguments in (same, again):
        with kill(name):
            evoprune(*arguments)
    answer = evoprune(*again)
    assert answer.code == 0, answer.err
    assert f"written and checked: {tmp_path / out}" in answer.out
    assert "> 2 numbers of 3" in Path("runs/run/report.md").read_text()
    best = json.loads((Path(out) if Path(out).suffix else Path(out, "best.json")).read_text())
    assert best == result(Path("runs/run"))["best"]["genome"]
    assert not Path("runs/run/promised.json").exists()


def test_a_search_ends_with_the_generation_in_which_its_time_is_over_as_does_a_repeated_one(
    command, evoprune, monkeypatch, tmp_path
):
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    monkeypatch.chdir(tmp_path)
    histories = {}
    for name, planner in (("whole", "OfSums"), ("late", "Late")):
        command(planner)
        assert evoprune("tiny", "3", "--name", name).code == 0
        histories[name] = lines(Path("runs", name))
    last = next(at for at, line in enumerate(histories["whole"]) if "median" in line)
    assert histories["late"] == histories["whole"][: last + 1]
    assert "done already" in evoprune("resume", "runs/late").out
    assert evoprune("run", "runs/late/config.yaml", "--name", "again").code == 0
    assert lines(Path("runs/again")) == histories["late"]


@pytest.mark.parametrize(
    ("there", "options"),
    [
        ("result.README.md", ["--out=result.txt"]),
        ("file", ["--out=file/result.txt"]),
        ("result.txd", ["--out=result.txd"]),  # whose suffix is wrong
        ("file", ["--runs-dir=file/runs"]),
        ("runs/run", ["--name=run"]),
    ],
)
def test_a_place_that_cannot_be_used_is_told_before_the_plan(there, options, command, evoprune, tmp_path, monkeypatch):
    command("Refused")
    monkeypatch.chdir(tmp_path)
    if there != "result.txd":
        Path(there).parent.mkdir(exist_ok=True)
        Path(there).write_text("")
    before = sorted(tmp_path.rglob("*"))
    answer = evoprune("tiny", "3", *options)
    assert answer.code == 2
    assert there in answer.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_without_room_for_the_export_is_told_before_the_search(command, evoprune, tmp_path, monkeypatch):
    command("Huge")
    monkeypatch.setenv("INTERRUPTED_IN", "search")
    answer = evoprune("tiny", "3", "--runs-dir", tmp_path / "runs", "--out", tmp_path / "new" / "result")
    assert answer.code == 3
    assert f"{tmp_path / 'new' / 'result'}: {os.strerror(errno.ENOSPC)}" in answer.err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "new").exists()


def test_a_command_that_is_interrupted_as_it_plans_names_itself_to_go_on(command, evoprune, tmp_path, monkeypatch):
    command("Interrupted")
    monkeypatch.chdir(tmp_path)
    answer = evoprune("tiny", "3", "--out", "a b.txt")
    assert answer.code == 130
    assert "to continue: python -m evoprune tiny 3 --out 'a b.txt'\n" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["planners.py"]


@pytest.mark.usefixtures("command")
def test_a_plan_is_printed_as_a_file_that_runs(evoprune, write, tmp_path):
    answer = evoprune("tiny", "4", "--print-config", "--runs-dir", tmp_path / "runs")
    assert yaml.safe_load(answer.out)["problem"]["dimensions"] == 4
    assert not (tmp_path / "runs").exists()
    assert evoprune("validate", write(answer.out)).code == 0


def test_a_command_that_plans_nothing_is_the_plugins_alone(command, evoprune):
    command("Printed")
    answer = evoprune("tiny", "hello")
    assert (answer.code, answer.out) == (7, "hello\n")


def test_what_is_no_planner_is_refused_by_name_and_hinders_no_other_command(command, evoprune):
    command("NoPlanner")
    assert evoprune("ls", "experiment").code == 0
    answer = evoprune("tiny", "3")
    assert answer.code == 2
    assert "evoprune.commands: 'tiny'" in answer.err


@pytest.mark.parametrize("text", ["", "[]", '{"seconds": 1e400}', f'{{"seconds": {"9" * 400}}}', '{"out": 3}'])
def test_a_damaged_promise_hinders_its_own_run_alone(text, command, evoprune, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command("OfSums")
    monkeypatch.setenv("INTERRUPTED_IN", "search")
    again = ("tiny", "3", "--name", "run", "--out", "result")
    assert evoprune(*again).code == 130
    Path("runs/run/promised.json").write_text(text)
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    for refused in (("resume", "runs/run"), again):
        answer = evoprune(*refused)
        assert answer.code == 2
        assert "runs/run/promised.json: " in answer.err
    answer = evoprune("tiny", "3", "--name", "other", "--out", "result")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
def test_limits_are_of_seconds_of_work_and_no_matter_of_the_wall_clock(step, command, evoprune, monkeypatch, tmp_path):
    wall = count(1.8e9, step)  # set by two hours each time somebody looks at it
    monkeypatch.setattr(time, "time", lambda: next(wall))
    monkeypatch.setenv("INTERRUPTED_IN", "search")
    monkeypatch.chdir(tmp_path)
    command("OfSums")
    assert evoprune("tiny", "3", "--name", "run").code == 130
    status = Path("runs/run/status.json")
    status.write_text(json.dumps(json.loads(status.read_text()) | {"seconds": 400.0}))
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    assert evoprune("resume", "runs/run").code == 0
    assert 0 < result(Path("runs/run"))["left"] < 600
    assert [line["generation"] for line in lines(Path("runs/run")) if "median" in line] == [0, 1, 2]


def test_a_disk_that_is_full_at_the_export_says_how_to_go_on(command, evoprune, tmp_path, monkeypatch):
    command("OfSums")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERRUPTED_IN", "nothing")
    again = ("tiny", "3", "--name", "run", "--out", "result")
    with monkeypatch.context() as patch:
        write = run_folder.write_config

        def full(folder, config, name=run_folder.CONFIG):
            if name != run_folder.CONFIG:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(folder, config, name)

        patch.setattr(run_folder, "write_config", full)
        answer = evoprune(*again)
    assert answer.code == 3
    assert f"{tmp_path}: {os.strerror(errno.ENOSPC)}" in answer.err
    assert "to continue: python -m evoprune resume runs/run\n" in answer.err
    assert not Path("result").exists()
    assert evoprune(*again).code == 0
