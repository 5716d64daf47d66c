"""Symbolic regression: the error of a formula, the held-out rows, and the files and settings that it refuses."""

import json
import math
import statistics

import pytest

from evoprune import InputError
from evoprune.cli import main
from evoprune.plugins import HOME
from evoprune.problems.regression import Regression
from evoprune.testing import check_problem

ROWS = [(0.5 * n, 1 + n % 5, 3 * math.sqrt(0.5 * n) / (1 + n % 5) + 0.1 * (n % 3)) for n in range(1, 41)]
FORMULAS = [
    ("div", "sqrt", "x", "y"),
    ("sub", "mul", "x", 0.25, "div", "y", "add", "x", "y"),
    ("add", "x", "mul", "y", -0.75),
    ("mul", 0.5, 0.5),
]
WORDS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "sqrt": math.sqrt,
}


def table(rows):
    return "# made here\nx,y,z\n" + "".join(f"{x!r},{y!r},{z!r}\n" for x, y, z in rows)


@pytest.fixture
def made(tmp_path):
    def make(content=None, **settings):
        (tmp_path / "data.csv").write_text(table(ROWS) if content is None else content)
        given = {"data": str(tmp_path / "data.csv"), "primitives": ["add", "sub", "mul", "div", "sqrt"], **settings}
        return Regression(Regression.Settings(**given))

    return make


def value(nodes, **arguments):
    """The value of a formula in prefix notation, of numbers."""
    node = nodes.pop(0)
    if node not in WORDS:
        return arguments.get(node, node)
    operands = [value(nodes, **arguments) for _ in range(1 if node == "sqrt" else 2)]
    return WORDS[node](*operands)


def slow_error(genome, rows, scaled):
    found = [value([*genome], x=x, y=y) for x, y, _ in rows]
    targets = [z for *_, z in rows]
    if scaled:
        varies = max(found) > min(found)
        slope, intercept = statistics.linear_regression(found, targets) if varies else (0.0, statistics.fmean(targets))
        found = [slope * one + intercept for one in found]
    return math.sqrt(statistics.fmean((one - z) ** 2 for one, z in zip(found, targets, strict=True)))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("genome", FORMULAS)
def test_the_score_is_the_error_that_slow_arithmetic_finds(made, genome, scaled):
    problem = made(held_out=0, scaled=scaled)
    assert problem.space.allow(genome)
    assert problem.evaluate(genome).values == (pytest.approx(slow_error(genome, ROWS, scaled)),)


def test_a_printed_formula_has_its_slope_and_intercept(made):
    genome = ("div", "sqrt", "x", "y")
    problem = made(table((x, y, 7 - 3 * math.sqrt(x) / y) for x, y, _ in ROWS))
    assert str(problem.formula(genome)) == "7 + (-3 * sqrt(x) / y)"
    assert str(made(scaled=False).formula(genome)) == "sqrt(x) / y"


def test_no_score_reads_the_held_out_rows(made):
    first, other = made(held_out=0.25, draw=1), made(held_out=0.25, draw=2)
    held, targets = first.held_out
    assert (len(targets), len(first.train[1])) == (10, 30)
    assert sorted([*targets, *first.train[1]]) == sorted(z for *_, z in ROWS)
    assert [*other.held_out[0][0]] != [*held[0]]
    changed = made(table((x, y, 99.0 if x in held[0] else z) for x, y, z in ROWS), held_out=0.25, draw=1)
    assert {*changed.held_out[1]} == {99.0}
    assert [changed.evaluate(genome).values for genome in FORMULAS] == [first.evaluate(g).values for g in FORMULAS]


@pytest.mark.parametrize("scaled", [False, True])
def test_a_formula_without_a_value_fails(made, scaled):
    problem = made(primitives=["exp", "sub", "mul"], scaled=scaled)
    huge = ("exp", "exp", "mul", "x", "x")
    for genome in (huge, ("sub", *huge, *huge)):
        evaluation = problem.evaluate(genome)
        assert evaluation.values == (math.inf,)
        assert evaluation.failure


def test_it_keeps_the_laws_of_problems(made):
    check_problem(made())
    check_problem(Regression(Regression.Settings()))


@pytest.mark.parametrize(
    ("content", "settings", "fragments"),
    [
        ("x,z\n1,2\n3,\n", {}, ["line 3", "z", "a number"]),
        ("x,z\n1,2\n3,4\n", {}, ["3 rows"]),
        ("z\n1\n2\n3\n", {}, ["'z' and others"]),
        ("x,z\n1,2\n", {"target": "t"}, ["'t'", "x, z"]),
        ("x (m),z\n1,2\n2,3\n3,4\n", {}, ["'x (m)'"]),
        ("sqrt,z\n1,2\n2,3\n3,4\n", {}, ["'sqrt'"]),
    ],
)
def test_unusable_data_are_refused_by_file(made, content, settings, fragments):
    with pytest.raises(InputError) as caught:
        made(content, held_out=0, **settings)
    assert all(fragment in str(caught.value) for fragment in ["data.csv: ", *fragments])


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [
        ("problem.primitives=[add, sqr]", ["sqr", "sqrt"]),
        ("problem.primitives=[]", ["primitive"]),
        ("problem.constants=[2, 1]", ["constants"]),
        ("problem.held_out=1", ["problem.held_out"]),
        ("problem.data=nothing.csv", ["problem.data", "nothing.csv"]),
    ],
)
def test_unusable_settings_are_refused_in_a_line(capsys, setting, fragments):
    assert main(["validate", str(HOME / "problems" / "regression.yaml"), "--set", setting]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert all(fragment in message for fragment in fragments)


def test_a_run_reports_its_formula_and_the_error_on_unseen_rows(made, tmp_path):
    problem = made()
    small = ["generations=2", "population=30", f"problem.data={tmp_path / 'data.csv'}", "problem.target=null"]
    command = ["run", str(HOME / "problems" / "regression.yaml"), "--runs-dir", str(tmp_path), "--name", "a"]
    assert main([*command, *(word for setting in small for word in ("--set", setting))]) == 0
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert result["unseen"] == pytest.approx(problem.error(result["best"]["genome"], *problem.held_out))
    assert result["formula"] == f"z = {problem.formula(result['best']['genome'])}"
    assert all((tmp_path / "a" / f"{name}.png").exists() for name in ("prediction", "tree"))
