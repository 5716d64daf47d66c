"""The travelling salesman of the problem ``tour``: lengths, files of places, and the result of a run."""

import json
import math
import random

import pytest

from evoprune import InputError
from evoprune.cli import main
from evoprune.plugins import HOME
from evoprune.problems.tour import Tour
from evoprune.testing import check_problem

SQUARE = "name,x,y\na,0,0\nb,1.4,0\nc,1.4,1.4\nd,0,1.4\n"
TSPLIB = "NAME: s\nEDGE_WEIGHT_TYPE : EUC_2D\nDIMENSION: 3\nNODE_COORD_SECTION\n 1 0 0\n 2 2.5 0\n 3 1e0 0\nEOF\n"
OPTIMAL = """1 49 32 45 19 41 8 9 10 43 33 51 11 52 14 13 47 26 27 28 12 25 4 6 15 5
24 48 38 37 40 39 36 35 34 44 46 16 29 50 20 23 30 2 7 42 21 17 3 18 31 22"""


@pytest.fixture
def made(tmp_path):
    def make(content, name="places.csv", **settings):
        (tmp_path / name).write_text(content)
        return Tour(Tour.Settings(places=str(tmp_path / name), **settings))

    return make


def test_the_known_optimum_of_berlin52_has_its_published_length(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    problem = Tour(Tour.Settings(places="problems/berlin52.tsp"))
    best = problem.space.encoded(list(map(int, OPTIMAL.split())))
    assert problem.evaluate(best).values == (7542.0,)
    check_problem(problem)


def test_a_length_is_that_of_the_closed_way_from_either_end(made):
    problem = made(SQUARE)
    assert problem.evaluate((0, 1, 2, 3)).values == (pytest.approx(4 * 1.4),)
    assert problem.evaluate((0, 2, 1, 3)).values == (pytest.approx(2 * 1.4 * (1 + math.sqrt(2))),)
    rng = random.Random(0)
    berlin = Tour(Tour.Settings(rounded=False))
    order = rng.sample(range(52), 52)
    expected = berlin.evaluate(order).values[0]
    for start in (7, 30):
        turned = order[start:] + order[:start]
        assert berlin.evaluate(turned).values[0] == pytest.approx(expected)
        assert berlin.evaluate(turned[::-1]).values[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("content", "name", "rounded", "length"),
    [
        (SQUARE, "a.csv", None, 5.6),
        (SQUARE, "a.csv", True, 4.0),
        (TSPLIB, "a.tsp", None, 6.0),
        (TSPLIB, "a.tsp", False, 5.0),
    ],
)
def test_distances_are_rounded_as_tsplib_rounds_them(made, content, name, rounded, length):
    problem = made(content, name, rounded=rounded)
    assert problem.evaluate(range(len(problem.places.names))).values == (pytest.approx(length),)


@pytest.mark.parametrize(
    ("content", "name", "fragments"),
    [
        ("x,y\n1,2\n3\n", "p.csv", ["line 3", "2 values"]),
        ("x,y\n1,2\n\n3,nan\n", "p.csv", ["line 4", "y", "a number"]),
        ("x,z\n1,2\n3,4\n", "p.csv", ["the columns x, y", "x, z"]),
        ("name,x,y\na,1,2\na,3,4\n", "p.csv", ["different names"]),
        ("x,y\n", "p.csv", ["line 1", "rows"]),
        ("", "p.csv", ["line 1", "header"]),
        ("x,y\n1,2\n", "p.csv", ["two places"]),
        (TSPLIB.replace("EUC_2D", "GEO"), "p.tsp", ["EUC_2D"]),
        (TSPLIB.replace("NODE_COORD_SECTION", "EDGES"), "p.tsp", ["NODE_COORD_SECTION"]),
        (TSPLIB.replace(" 3 1e0 0\n", ""), "p.tsp", ["3 places", "2"]),
        (TSPLIB.replace(" 3 1e0 0", " 3 1e0"), "p.tsp", ["line 7"]),
        (TSPLIB.replace(" 3 1e0 0", " 3 1e999 0"), "p.tsp", ["line 7"]),
        (TSPLIB.replace(" 3 1e0 0", " 2 1e0 0"), "p.tsp", ["different names"]),
    ],
)
def test_damaged_files_are_refused_by_file_and_line(made, content, name, fragments):
    with pytest.raises(InputError) as caught:
        made(content, name)
    assert all(fragment in str(caught.value) for fragment in [name, *fragments])


def test_a_run_reports_its_tour_and_is_resumed_with_the_same_places_alone(tmp_path, capsys):
    (tmp_path / "towns.csv").write_text(SQUARE)
    experiment, folder = str(HOME / "problems" / "tour.yaml"), str(tmp_path / "a")
    places = ["--set", f"problem.places={tmp_path / 'towns.csv'}"]
    small = [*places, "--set", "generations=2", "--set", "population=20"]
    assert main(["run", experiment, *small, "--runs-dir", str(tmp_path), "--name", "a"]) == 0
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert sorted(result["tour"]) == [*"abcd"]
    assert result["best"]["fitness"] == [pytest.approx(5.6)]
    assert (tmp_path / "a" / "tour.png").exists()
    assert main(["report", folder]) == 0
    page = (tmp_path / "a" / "report.md").read_text()
    assert "| part | value |" in page  # a tour has no genes
    (tmp_path / "towns.csv").write_text(SQUARE.replace("1.4", "2.4"))
    assert main(["resume", folder, "--set", "generations=3"]) == 2
    (tmp_path / "towns.csv").unlink()
    capsys.readouterr()
    assert main(["validate", experiment, *places]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "problem.places: " in message
