"""Ask and tell make the same searches as runs do, and ask for what is not known yet."""

import json
import math
import pickle
import random

import pytest

from evoprune import Gene, InputError, Search, minimize
from evoprune.interfaces.genes import Genes
from tests.evoprune.api.test_library import MIXED, REAL, mixed, two

MIXED_REAL = [*REAL[:2], Gene.log("rate", 1e-4, 1)]


@pytest.mark.parametrize(
    ("algorithm", "f", "genes"), [("generational", mixed, MIXED), ("nsga2", two, REAL), ("cma", two, REAL)]
)
def test_ask_and_tell_make_the_search_of_minimize(algorithm, f, genes, tmp_path):
    objectives = 1 if f is mixed else 2
    how = {"algorithm": algorithm, "population": 8, "objectives": objectives, "seed": 3}
    found = minimize(f, genes, evaluations=40, folder=tmp_path / "run", **how)
    lines = map(json.loads, (tmp_path / "run" / "history.jsonl").read_text().splitlines())
    scored = [Genes(genes).chosen(line["genome"]) for line in lines if "candidate" in line and not line["memo"]]
    search, told = Search(genes, **how), []
    while search.evaluations < 40:
        random.seed(len(told))  # the caller's draws are its own
        for genome in search.ask()[: 40 - search.evaluations]:
            search.tell(genome, f(genome))
            told.append(genome)
    assert told == scored
    assert search.best[1] == min(map(tuple, (as_values(f(genome)) for genome in told)))
    if objectives == 1:
        assert search.best == (found.genome, found.values)
    assert sorted(map(repr, search.front)) == sorted(map(repr, found.front))


def test_a_search_takes_values_of_genomes_that_it_did_not_ask_for():
    search = Search(MIXED, population=4)
    best = {"a": 0.0, "b": 5, "c": 0.01, "d": "green"}
    search.tell(best, -1.0)
    assert search.best == ([*best.values()], (-1.0,))
    assert search.evaluations == 1
    for wrong in (best, best | {"d": "pink"}, {"a": 1}):
        with pytest.raises(InputError):
            search.tell(wrong, 0.0)


def as_values(found):
    return found if isinstance(found, tuple) else (found,)


def test_a_generation_is_asked_for_again_until_all_of_it_is_told():
    search = Search(REAL, population=4)
    first, *others = search.ask()
    search.tell(first, 1.0)
    assert search.ask() == others
    with pytest.raises(InputError):
        search.tell(first, 1.0)
    with pytest.raises(InputError, match="2"):
        search.tell(others[0], (1.0, 2.0))
    for genome in others:
        search.tell(genome, math.inf)
    assert search.best == (first, (1.0,))
    assert search.ask()
    assert search.generation == 1


def test_a_constraint_that_is_not_finite_is_a_failure_and_a_wrong_one_changes_nothing(tmp_path):
    search = Search(REAL, population=4, folder=tmp_path / "search")
    asked = search.ask()
    with pytest.raises(InputError, match="constraints"):
        search.tell(asked[0], 0.0, ["none"])
    assert search.ask() == asked
    for genome, limit in zip(asked, (math.nan, math.inf, 2.0, -math.inf), strict=True):
        search.tell(genome, 0.0, [limit])
        assert search.best[0] == (asked[3] if limit < 0 else asked[2] if limit == 2 else asked[0])
    best = search.best
    del search
    assert Search(REAL, population=4, folder=tmp_path / "search").best == best


def test_genomes_that_rounding_makes_equal_have_the_values_of_one(tmp_path):
    genes, how = [Gene.log("x", 1, 1 + 1e-15)], {"algorithm": "random_search", "folder": tmp_path / "search"}
    search = Search(genes, **how)
    for genome in (asked := search.ask()):
        search.tell(genome, genome[0])
    assert search.evaluations == len(asked) < 20
    search.ask()
    assert search.generation == 1
    best = search.best
    del search
    assert Search(genes, **how).best == best


@pytest.mark.parametrize("mutated", [True, False])
def test_a_search_ends_without_a_new_genome(mutated):
    """Where all possible ones have values, and where its algorithm breeds no other."""
    genes = [Gene.choice("k", "ab"), Gene.integer("n", 1, 3, when=("k", "b"))]
    how = {} if mutated else {"algorithm": "generational", "operators": {"mutate": {"use": "gaussian", "indpb": 0.0}}}
    search = Search(genes if mutated else [Gene.choice("k", range(99))], **how)
    while genomes := search.ask():
        for genome in genomes:
            search.tell(genome, 1.0)
    assert search.evaluations == 4 if mutated else search.evaluations < 99
    assert search.ask() == []
    assert pickle.loads(pickle.dumps(search)).ask() == []


@pytest.mark.parametrize("again", ["folder", "pickle"])
def test_a_search_goes_on_from_its_folder_and_from_a_pickle(again, tmp_path):
    how = {"algorithm": "nsga2", "population": 8, "objectives": 2, "seed": 5}
    folder = tmp_path / "search" if again == "folder" else None

    def go_on(search, evaluations):
        while search.evaluations < evaluations:
            for genome in search.ask()[: evaluations - search.evaluations]:
                search.tell(genome, two([math.inf, 0] if genome[0] > 4 else genome))
        return search

    def begun(folder):
        search = go_on(Search(MIXED_REAL, folder=folder, **how), 9)
        search.tell([0.5, 0.5, 1e-3], (0.2, 0.3), [0.0])
        return go_on(search, 20)

    whole = go_on(begun(None), 50)
    search = begun(folder)
    if folder:
        with pytest.raises(InputError, match="process"):
            Search(MIXED_REAL, folder=folder, **how)
        del search
        (folder / "history.jsonl").open("a").write('{"candidate": 30, "gen')
        with pytest.raises(InputError, match="another"):
            Search(MIXED_REAL, folder=folder, **how | {"seed": 6})
        search = Search(MIXED_REAL, folder=folder, **how)
    else:
        search = pickle.loads(pickle.dumps(search))
    assert search.evaluations == 20
    assert (go_on(search, 50).front, search.generation) == (whole.front, whole.generation)
    assert search.ask() == whole.ask()


def test_children_have_the_options_of_their_parents():
    genes = [Gene.choice("d", range(1000)), Gene("x")]
    how = {"algorithm": "generational", "operators": {"mutate": {"use": "gaussian", "indpb": 0.0}}}
    search = Search(genes, population=6, seed=1, **how)
    first = {genome[0] for genome in search.ask()}
    while search.generation < 5:
        for genome in search.ask():
            assert genome[0] in first
            search.tell(genome, genome[1])
    assert len(first) > 1


@pytest.mark.parametrize("select", ["deap.tools:selRandom", "deap.tools:selBest", "tournament"])
def test_a_selection_without_preference_for_the_worse_is_accepted(select):
    genes, how = [Gene("x", -1.0, 1.0), Gene("y", -1.0, 1.0)], {"algorithm": "generational", "population": 2}
    assert Search(genes, operators={"select": select}, **how).ask()


def test_roulette_is_accepted_where_more_is_better():
    how = {"algorithm": "generational", "operators": {"select": "deap.tools:selRoulette"}, "maximise": True}
    assert Search([Gene("x", 0.0, 1.0)], **how).ask()
