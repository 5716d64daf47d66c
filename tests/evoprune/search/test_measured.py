"""What a problem measures on the machine: once, before anything is written, and the same for the rest of the run."""

import json

import pytest

from evoprune.api import Run

MACHINE = """
from pathlib import Path
from pydantic import Field
from evoprune import Additive, Evaluation, Genes, Measured, Problem, Settings

class MachineSettings(Settings):
    log: str = Field(description="a file that gets a line for each measurement")
    measures: bool = True

class Machine(Problem, Measured):
    Settings = MachineSettings
    genes = Genes.real(["x", "y"], 0.0, 1.0)
    limit = None
    budget = property(lambda self: Additive(self.genes, [1.0, 1.0], self.limit) if self.limit else None)

    def take_measurements(self):
        if not self.settings.measures:
            return {}
        with open(self.settings.log, "a") as log:
            log.write("measured\\n")
        return {"limit": len(Path(self.settings.log).read_text().splitlines()) / 4}

    def use_measurements(self, facts):
        self.limit = facts["limit"]

    def evaluate(self, genome):
        return Evaluation((abs(genome[0] - genome[1] - 0.1) + (self.limit or 0.0),))
"""


@pytest.fixture
def machine(plugin, write, tmp_path):
    plugin("machine", MACHINE)
    text = f"""
        plugins: [machine]
        problem: {{use: "machine:Machine", log: {tmp_path / "log"}}}
        population: 6
        generations: 3
        operators: {{repair: shift}}
        """
    return write(text)


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").touch()
    return lambda: (tmp_path / "log").read_text().split()


def resumed(evoprune, folder):
    (folder / "result.json").unlink(missing_ok=True)
    return evoprune("resume", folder, folder=folder)


def test_the_budget_is_that_of_the_first_measurement_when_the_run_is_resumed(run, evoprune, machine, log):
    whole = run(machine)
    assert whole.json("measured.json") == {"limit": 0.25}
    assert all(sum(line["genome"]) == pytest.approx(0.25) for line in whole.candidates if not line.get("reference"))
    before = whole.json("result.json")["best"]
    assert resumed(evoprune, whole.folder).code == 0
    assert whole.json("result.json")["best"] == before
    assert log() == ["measured"]


def test_whoever_evaluates_knows_what_was_measured(evoprune, machine, log, tmp_path):
    folder = tmp_path / "runs" / "run"
    answer = evoprune("run", machine, "--runs-dir", folder.parent, "--name", "run", "-n", 2, folder=folder)
    for line in answer.candidates:
        assert line["fitness"] == pytest.approx([abs(line["genome"][0] - line["genome"][1] - 0.1) + 0.25])
    found = Run.open(folder)
    assert found.problem.evaluate([0.5, 0.4]).values == pytest.approx([0.25])


def test_a_run_whose_measurements_were_changed_is_not_resumed(run, evoprune, machine, log):
    folder = run(machine).folder
    (folder / "measured.json").write_text(json.dumps({"limit": 0.5}))
    answer = resumed(evoprune, folder)
    assert answer.code == 2
    assert "fingerprint.measured was" in answer.err


def test_where_nothing_is_measured_nothing_is_written(run, machine, log):
    answer = run(machine, "problem.measures=false", "operators.repair=null")
    assert answer.code == 0, answer.err
    assert not (answer.folder / "measured.json").exists()
    assert "measured" not in answer.json("environment.json")["fingerprint"]
