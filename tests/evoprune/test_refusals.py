"""Calls that cannot be meant are refused in one line, before anything is scored, and nothing is lost."""

import errno
import math
import os
from pathlib import Path

import numpy
import pytest

from evoprune import Evaluation, Gene, Genes, InputError, Problem, Search, Settings, Stopped, minimize
from evoprune.backends.execution import Execution
from evoprune.interfaces.problem import refuse_faulty
from evoprune.records import history

REAL = [Gene("x", -1, 1), Gene("y", -1, 1)]


def unscored(*_):
    pytest.fail("was scored")


def sphere(genome):
    return sum(value * value for value in genome)


@pytest.mark.parametrize(
    ("argument", "values"),
    {
        "f": [None, "sphere", numpy.ones(2)],
        "space": [None, "ab", {"x": 1}, [1], Gene("x"), numpy.ones(2)],
        "operators": ["blend", [1], {"mate": {"use": "blend", "alpha": object()}}],
        "population": [0, 1j, 10**5000, numpy.ones(2)],
        "evaluations": [0, math.nan, 10**5000],
        "objectives": [10**400],
        "constraints": [None, 1.0, [None], "ab"],
        "initial": [None, 1.0, {"x": 0.5}, [0.5, 0.5], [[[1], [2]]], [["a", 1j]]],
        "workers": ["a", math.nan, 1.5, object()],
        "folder": [b"a", 1, "a\0b", "x" * 300, "\ud800"],
        "callback": [None, 1.0],
        "target": ["a", math.nan, 1j, numpy.ones(2)],
        "seconds": ["a", math.nan, -1.0, 1j],
        "patience": ["a", math.nan, -1, 1.5, 1j],
    }.items(),
)
def test_a_wrong_argument_is_refused_before_anything_is_scored(argument, values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in values:
        with pytest.raises(InputError) as refused:
            minimize(**{"f": unscored, "space": REAL, argument: value})
        assert argument in str(refused.value) or argument in {"evaluations", "f", "space", "workers"}
        assert len(str(refused.value)) < 500
        if argument in {"space", "operators", "population", "objectives", "initial", "folder"}:
            with pytest.raises(InputError):
                Search(**{"space": REAL, argument: value})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("option", "value"), [("threads", "a"), ("stall_after", "a"), ("devices", 1), ("map", "threads")]
)
def test_a_wrong_option_of_the_execution_is_refused(option, value):
    with pytest.raises(InputError):
        Execution(**{option: value})


@pytest.mark.parametrize("genome", [None, "a", 1.0, [[1], [2]], [object(), 0.0], {1: 0.5}, [10**400, 0.0]])
def test_a_genome_that_cannot_be_told_changes_nothing(genome):
    search = Search(REAL)
    asked = search.ask()
    with pytest.raises(InputError, match="tell"):
        search.tell(genome, 1.0)
    assert (search.ask(), search.evaluations) == (asked, 0)


@pytest.mark.parametrize("values", [None, "a", 1j, object(), 10**400, [[1.0], [1.0, 2.0]]])
@pytest.mark.parametrize("of", ["values", "constraints"])
def test_values_that_are_no_numbers_change_nothing(values, of):
    search = Search(REAL)
    asked = search.ask()
    with pytest.raises(InputError, match=f"tell: {of}"):
        search.tell(asked[0], **{"values": 1.0, of: values})
    assert (search.ask(), search.evaluations) == (asked, 0)


def test_numbers_of_numpy_are_numbers():
    genes = [Gene("x", numpy.float32(-1), numpy.int64(1)), Gene.choice("y", numpy.array([1, 2]))]
    genes.append(Gene("z", when=("y", numpy.int64(2))))
    how = {"target": numpy.float32(-1), "patience": numpy.int64(9), "evaluations": numpy.int32(12)}
    assert minimize(lambda genome: genome[0] ** 2, genes, **how).evaluations >= 12
    assert minimize(sphere, REAL, initial=numpy.full((1, 2), 0.5, "float32"), evaluations=8).history[0][1] == (0.5,)


def test_a_relative_folder_stays_where_the_call_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def elsewhere(genome):
        os.chdir("/")
        return sphere(genome)

    assert minimize(elsewhere, REAL, evaluations=8, folder="run").folder == tmp_path / "run"
    os.chdir(tmp_path)
    search = Search(REAL, folder="search")
    search.tell(search.ask()[0], elsewhere([0.5, 0.5]))
    assert len((tmp_path / "search" / "history.jsonl").read_text().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "search"]


@pytest.mark.parametrize("name", ["result.json", "asked.jsonl"])
def test_a_folder_in_place_of_a_file_is_refused(name, tmp_path):
    folder = minimize(sphere, REAL, evaluations=8, folder=tmp_path / "run").folder
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    before = (folder / "history.jsonl").read_bytes()
    with pytest.raises(InputError, match=name):
        minimize(sphere, REAL, evaluations=16, folder=folder)
    assert (folder / "history.jsonl").read_bytes() == before


def test_a_full_disk_stops_a_search_which_then_goes_on(tmp_path, monkeypatch):
    search = Search(REAL, folder=tmp_path / "search")
    first, second = search.ask()[:2]
    search.tell(first, 1.0)
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="search"):
        patch.setattr(history, "append", full_disk)
        search.tell(second, 2.0)
    del search
    assert Search(REAL, folder=tmp_path / "search").best == (first, (1.0,))


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_temporary_folder_stops_the_call(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    with pytest.raises(Stopped, match="/proc/none"):
        minimize(unscored, REAL)


class Mute(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize("error", [Mute(), ValueError("\ud800"), ValueError("a\nb"), ValueError("a" * 10_000)])
def test_any_error_of_a_function_is_a_failure_told_in_one_line(error, tmp_path):
    def failing(genome):
        if genome[0] > 0 or not allowed:
            raise error
        return 1.0

    allowed = [True]
    assert minimize(failing, REAL, evaluations=9, initial=[[-1, 0]], folder=tmp_path / "run").values == (1.0,)
    allowed.clear()
    with pytest.raises(Stopped, match=type(error).__name__) as stopped:
        minimize(failing, REAL, evaluations=40)
    assert "\n" not in str(stopped.value)
    assert len(str(stopped.value)) < 1000


def test_a_complex_value_is_a_failure():
    for batch in (False, True):
        with pytest.raises(Stopped, match="complex"):
            minimize(lambda genomes: 1j * numpy.ones(len(genomes) if batch else 1), REAL, batch=batch)  # noqa: B023


class Odd(Problem):
    """A problem whose scores the history cannot hold."""

    genes = Genes(REAL)
    measures: object = None

    def evaluate(self, genome, fidelity=1.0):
        return Evaluation((sphere(genome),), measures=self.measures)


@pytest.mark.parametrize("measures", [3, {1: 2}, {"a": 10**30}, {"a": "\ud800"}])
def test_measures_that_the_history_cannot_hold_are_a_failure(measures, monkeypatch):
    monkeypatch.setattr(Odd, "measures", measures)
    with pytest.raises(Stopped, match="TypeError"):
        minimize(Odd(Settings()), evaluations=20)


@pytest.mark.parametrize(
    ("member", "value"), [("genes", None), ("genes", REAL), ("budget", 3.0), ("signs", ()), ("signs", (0.0,))]
)
def test_a_faulty_member_of_a_problem_is_named(member, value, monkeypatch):
    monkeypatch.setattr(Odd, member, value)
    with pytest.raises(InputError, match=rf"Odd\.{member}"):
        minimize(Odd(Settings()))
    with pytest.raises(InputError, match=rf"Odd\.{member}"):
        refuse_faulty(Odd(Settings()))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("references", None),
        ("references", {"known": None}),
        ("random_genome", None),
        ("fingerprint", None),
        ("labels_of", None),
        ("needs", None),
        ("missing", None),
    ],
)
def test_a_faulty_answer_of_a_problem_is_named(member, value, monkeypatch):
    method = classmethod(lambda *_: value) if member in {"labels_of", "needs", "missing"} else lambda _: value
    monkeypatch.setattr(Odd, member, method)
    with pytest.raises(InputError, match=rf"Odd\.{member}"):
        minimize(Odd(Settings()), algorithm="generational", evaluations=20)


def test_a_problem_without_settings_is_refused():
    with pytest.raises(InputError, match="Odd"):
        minimize(Odd(None))


def test_a_gene_that_was_not_searched_has_no_value():
    with pytest.raises(KeyError):
        minimize(sphere, REAL, evaluations=8)["z"]


def test_paths_that_no_file_can_have_are_refused(monkeypatch, tmp_path):
    from evoprune import load
    from evoprune.api import Run, read_history, run

    monkeypatch.chdir(tmp_path)
    for path in (None, 1, b"a", "a\0b", "x" * 300, "\ud800"):
        for call in (Run.open, read_history, load, run):
            with pytest.raises(InputError):
                call(path)
        for argument in ("runs_dir", "name"):
            if (argument, path) != ("name", None):
                with pytest.raises(InputError, match=argument):
                    run("problems/rastrigin.yaml", **{argument: path})
    for overrides in (1, [None]):
        with pytest.raises(InputError, match="overrides"):
            run("problems/rastrigin.yaml", overrides)
    assert not [*Path().iterdir()]
