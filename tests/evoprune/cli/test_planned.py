"""Commands of plugins: what they plan is run, reported and exported as any experiment is."""

from importlib.metadata import EntryPoint

import pytest
import yaml

from evoprune.cli import planned
from evoprune.experiment import registry
from tests.runs import result

PLANNERS = """
from evoprune import InputError, Plan, Planner

class Tiny(Planner):
    '''Minimise a function of some size.'''
    help = "minimise"
    example = "python -m evoprune tiny 3"

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("size", type=int)

    @classmethod
    def plan(cls, options):
        if options.size > 9:
            raise InputError("too large", "size")
        problem = {"use": "benchmark", "function": "sphere", "dimensions": options.size}
        return Plan({"problem": problem, "population": 6, "generations": 2}, "sphere", ["chosen for its size"])

class NoPlanner:
    pass
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
    assert answer.err.splitlines()[0] == "chosen for its size"
    assert (tmp_path / "runs" / "run" / "report.html").is_file()
    (repeat,) = (line for line in answer.out.splitlines() if line.startswith("to repeat it: "))
    again = repeat.split("evoprune ", 1)[1].split()
    assert evoprune(*again, "--runs-dir", tmp_path, "--name", "again").code == 0
    assert result(tmp_path / "again")["best"] == result(tmp_path / "runs" / "run")["best"]


@pytest.mark.usefixtures("command")
def test_a_plan_is_printed_as_a_file_that_runs(evoprune, write, tmp_path):
    answer = evoprune("tiny", "4", "--print-config", "--runs-dir", tmp_path / "runs")
    assert yaml.safe_load(answer.out)["problem"]["dimensions"] == 4
    assert not (tmp_path / "runs").exists()
    assert evoprune("validate", write(answer.out)).code == 0


@pytest.mark.usefixtures("command")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["10"], "evoprune: size: too large\n"),
        (["3", "--out", "docs"], "evoprune: docs: exists already and is not an empty folder; "),
        (["3", "-n", "0"], "evoprune: -n: expected a number between 1 and 100000"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(evoprune, tmp_path, arguments, message):
    answer = evoprune("tiny", *arguments, "--runs-dir", tmp_path / "runs")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(message)
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_what_is_no_planner_is_refused_by_name_and_hinders_no_other_command(command, evoprune):
    command("NoPlanner")
    assert evoprune("ls", "experiment").code == 0
    answer = evoprune("tiny", "3")
    assert (answer.code, answer.err) == (
        2,
        "evoprune: evoprune.commands: 'tiny' is not a subclass of evoprune.Planner\n",
    )
