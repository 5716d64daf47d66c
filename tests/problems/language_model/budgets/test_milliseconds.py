"""The budget in milliseconds: its limit, the machine and model that its times are of, and runs under it."""

import json

import pytest

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.budgets.amounts import of_model
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


@pytest.mark.parametrize("zeros", [{"use": "weights", "score": "wanda"}, "metric"])
def test_zeros_that_save_no_time_are_refused(language_model, zeros):
    with pytest.raises(InputError, match=r"problem\.budget: zeros save no time"):
        Machine(language_model(transforms=zeros, budget=BUDGET)).take_measurements()


@pytest.fixture
def measured(transform):
    """Times of this machine, but for the milliseconds: 60 for dense, and each level of a gene saves one more."""
    facts = Milliseconds(**GIVEN).measure(transform)
    for levels in facts["genes"].values():
        levels.update({level: -float(saved) for saved, level in enumerate(levels)})
    return facts | {"dense": 60.0}


def test_the_limit_is_the_dense_time_over_the_speed_up(transform, measured):
    budget = Milliseconds(**GIVEN | {"speedup": 1.5}).budget(transform, measured)
    assert budget.limit == 40
    assert budget.spent(transform.dense) == 60
    assert budget.spent([2.0, 0.0, 0.0, 1.0, 0.0, 0.0]) == 60 - 2 - 1
    check_budget(budget)
    with pytest.raises(InputError, match=rf"speed-up of 50x .* at most {60 / budget.least:.2f}x"):
        Milliseconds(**GIVEN | {"speedup": 50.0}).budget(transform, measured)


def test_times_of_other_circumstances_are_refused(transform, measured):
    others = {
        "device": "cuda", "processor": "Z80", "threads": 99, "dtype": "float16", "phase": "prefill", "batch": 2,
        "length": 17, "shapes": "0", "runtime": "llama.cpp",
    }  # fmt: skip
    for name, other in others.items():
        with pytest.raises(InputError, match=f"measured with {name} {other}, this run has"):
            Milliseconds(**GIVEN).budget(transform, measured | {name: other})
    Milliseconds(**GIVEN).budget(transform, measured | {"weights": "of a fine-tuned model"})


def test_times_of_other_levels_are_refused(transform, measured):
    with pytest.raises(InputError, match="other genes or levels"):
        Milliseconds(**GIVEN).settle(
            transform, measured | {"genes": {name: {"all": 0.0} for name in measured["genes"]}}
        )


def test_what_holds_no_times_is_refused(transform, measured, tmp_path):
    with pytest.raises(InputError, match="holds no times that evoprune measured: dense"):
        Milliseconds(**GIVEN).budget(transform, measured | {"dense": -1.0})
    table = tmp_path / "measured.json"
    with pytest.raises(InputError, match="there is no measured"):
        Milliseconds(**GIVEN, table=str(table)).measure(transform)
    for text in ("{", "[1]"):
        table.write_text(text)
        with pytest.raises(InputError, match=r"measured\.json: (is not JSON|expected an object)"):
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
    assert found["cost"]["operations"]["dense"] == of_model(transform.resident)  # of 512 tokens, not of the budget's 16
    table.unlink()
    resume_cut(folder, 5)
    again = result(folder)
    assert again["best"] == found["best"]
    assert again["cost"]["milliseconds"]["predicted"] == times["predicted"]
    (folder / "result.json").unlink()
    (folder / "measured.json").write_text(json.dumps(measured | {"processor": "Z80"}))
    assert main(["resume", str(folder)]) == 2
    assert "processor Z80" in capsys.readouterr().err
