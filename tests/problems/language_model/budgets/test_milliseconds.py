"""The budget in milliseconds: its limit, the machine and model that its times are of, and runs under it."""

import json
import re

import pytest

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.budgets.milliseconds import Milliseconds
from evoprune.problems.language_model.parts import Machine
from evoprune.testing import check_budget
from tests.problems.language_model.small import problem_in, resume_cut, run_in
from tests.runs import result

GIVEN = {"speedup": 1.1, "phase": "decode", "batch": 1, "length": 16, "seconds": 0.0}
BUDGET = {"use": "milliseconds", **GIVEN}
WIDTHS = ["heads", "channels"]


@pytest.fixture
def transform(language_model):
    return language_model(transforms=WIDTHS).session.transform


@pytest.fixture
def measured(transform):
    """Times of this machine, but for the milliseconds: 60 for dense, and each level of a gene saves one more."""
    facts = Milliseconds(**GIVEN).measure(transform)
    for levels in facts["genes"].values():
        levels.update({level: -float(saved) for saved, level in enumerate(levels)})
    return facts | {"dense": 60.0}


def elsewhere(measured, name, value):
    """``measured`` under another circumstance."""
    return measured | {"circumstances": measured["circumstances"] | {name: value}}


def test_zeros_that_save_no_time_are_refused(language_model):
    with pytest.raises(InputError, match=r"problem\.budget: "):
        Machine(language_model(transforms="weights", budget=BUDGET)).take_measurements()


def test_the_limit_is_the_dense_time_over_the_speed_up(transform, measured):
    budget = Milliseconds(**GIVEN | {"speedup": 1.5}).budget(transform, measured)
    assert budget.limit == 40
    assert budget.spent(transform.dense) == 60
    assert budget.spent([2.0, 0.0, 0.0, 1.0, 0.0, 0.0]) == 60 - 2 - 1
    check_budget(budget)
    with pytest.raises(InputError, match=rf"50x .* {60 / budget.least:.2f}x"):
        Milliseconds(**GIVEN | {"speedup": 50.0}).budget(transform, measured)


def test_times_of_other_circumstances_or_levels_are_refused(transform, measured):
    for name, there in measured["circumstances"].items():
        other = there + 1 if isinstance(there, int) else "other"
        with pytest.raises(InputError, match=rf"measured\.json: .*{name} {other}.*{re.escape(str(there))}"):
            Milliseconds(**GIVEN).budget(transform, elsewhere(measured, name, other))
    others = {"genes": {name: {"all": 0.0} for name in measured["genes"]}}
    with pytest.raises(InputError, match=r"measured\.json"):
        Milliseconds(**GIVEN).settle(transform, measured | others)


def test_what_holds_no_times_is_refused(transform, measured, tmp_path):
    with pytest.raises(InputError, match=r"measured\.json: .*dense"):
        Milliseconds(**GIVEN).budget(transform, measured | {"dense": -1.0})
    table = tmp_path / "measured.json"
    for text in (None, "{", "[1]"):
        if text:
            table.write_text(text)
        with pytest.raises(InputError, match="measured"):
            Milliseconds(**GIVEN, table=str(table)).measure(transform)


def test_a_run_keeps_its_times_and_is_resumed_with_them(capsys, transform, measured, tmp_path):
    table = tmp_path / "times.json"
    table.write_text(json.dumps(measured))
    problem = {"use": "language_model", "transforms": WIDTHS, "budget": BUDGET | {"table": str(table)}}
    folder = run_in(tmp_path, problem_in(tmp_path) | problem, generations=2)
    assert json.loads((folder / "measured.json").read_text()) == measured
    found = result(folder)
    times = found["cost"]["milliseconds"]
    assert times["predicted"] <= 60 / 1.1
    assert times["speedup"] == 1.1
    assert times["measured"] == times["evolved"] > 0 < times["dense"]
    transform.apply(transform.dense)
    table.unlink()
    resume_cut(folder, 5)
    again = result(folder)
    assert again["best"] == found["best"]
    assert again["cost"]["milliseconds"]["predicted"] == times["predicted"]
    (folder / "result.json").unlink()
    (folder / "measured.json").write_text(json.dumps(elsewhere(measured, "processor", "Z80")))
    assert main(["resume", str(folder)]) == 2
    assert "processor Z80" in capsys.readouterr().err
