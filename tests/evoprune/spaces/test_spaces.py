"""The laws of spaces, and their genomes in whole searches."""

import contextlib
import itertools
import json
import math
import pickle
import random

import numpy
import pytest
import yaml

from evoprune import (
    Evaluation,
    Gene,
    Genes,
    InputError,
    Mixed,
    Permutation,
    Problem,
    Search,
    Sequence,
    Settings,
    Space,
    Tree,
    minimize,
)
from evoprune.testing import check_problem, check_space
from tests.runs import finish, lines, result
from tests.spaced import FUNCTIONS, SPACES, experiment, length

EVERY = pytest.mark.parametrize("name", SPACES)


def function(name):
    return (lambda value: FUNCTIONS[name](**value)) if name == "mixed" else FUNCTIONS[name]


OTHERS = [Permutation(["b", "a"]), Sequence([(0, 1), (1, 2)], 3, 3), Tree(["if", "less"], {"x": float, "y": bool})]


@pytest.mark.parametrize("space", [*SPACES.values(), *OTHERS], ids=Space.describe)
def test_it_keeps_the_laws(space):
    check_space(space)


COUNTED = [(Permutation(4), 24), (Sequence("abc", 1, 3), 39), (Mixed(a=Permutation(3), b=Permutation(2)), 12)]


@pytest.mark.parametrize(("space", "count"), COUNTED, ids=["permutation", "sequence", "mixed"])
def test_its_size_is_the_number_of_different_genomes(space, count):
    random.seed(0)
    assert len({tuple(space.random()) for _ in range(2000)}) == count == space.size


@pytest.mark.parametrize("arguments", [([1],), ("aa",), ([[1], [2]],), (3.5,)])
def test_a_permutation_needs_two_different_items(arguments):
    with pytest.raises(InputError, match="items"):
        Permutation(*arguments)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Sequence("a", 1, 2), "levels"),
        (lambda: Sequence("ab", 3, 2), "shortest"),
        (lambda: Sequence("ab", 0, 2), "shortest"),
        (lambda: Sequence([[{}], [1]], 1, 2), "levels"),
        (lambda: Mixed(), "part"),
        (lambda: Mixed(a=3), "part"),
        (lambda: Tree([], ["x"]), "primitive"),
        (lambda: Tree(["ad"], ["x"]), "did you mean"),
        (lambda: Tree([3], ["x"]), "primitives"),
        (lambda: Tree(["add"], []), "float"),
        (lambda: Tree(["less"], ["x"]), "float"),
        (lambda: Tree(["add"], ["add"]), "arguments"),
        (lambda: Tree(["add"], ["x"], constants=(1, 0)), "constants"),
        (lambda: Tree(["add"], ["x"], deepest=0), "deepest"),
    ],
)
def test_an_impossible_space_is_refused(make, key):
    with pytest.raises(InputError, match=key):
        make()


@pytest.mark.parametrize(
    ("name", "genome"),
    [
        ("permutation", [0, 1, 2, 3, 4, 5, 6, 7, 7]),
        ("permutation", [0, 1, 2]),
        ("permutation", [0.0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("sequence", []),
        ("sequence", [6]),
        ("sequence", [True]),
        ("tree", ["add", "x"]),
        ("tree", ["x", "x"]),
        ("tree", ["__import__('os')"]),
        ("tree", ["constant"]),
        ("tree", [math.inf]),
        ("tree", ["add"] * 6 + ["x"] * 7),
        ("mixed", [[0, 1, 2, 3, 4, 5, 6, 7, 8]]),
        ("mixed", [[0, 1, 2, 3, 4, 5, 6, 7, 8], ["a", 0.0, 0.0]]),
        ("mixed", [3, 4]),
    ],
)
def test_a_damaged_history_is_refused_by_file_and_line(name, genome, run, evoprune, write):
    file = write(yaml.safe_dump(experiment(name)))
    folder = run(file).folder
    history = folder / "history.jsonl"
    first, *others = history.read_text().splitlines()
    (folder / "result.json").unlink()
    damaged = json.dumps(json.loads(first) | {"genome": genome}, allow_nan=True)
    history.write_text("\n".join([damaged, *others]) + "\n")
    answer = evoprune("resume", folder)
    assert answer.code == 2
    assert "history.jsonl" in answer.err
    assert "line 1" in answer.err
    assert "Traceback" not in answer.err


BACKENDS = [(name, "--map processes -n 2") for name in SPACES] + [
    pytest.param(name, f"--map {map} -n 2", marks=pytest.mark.slow)
    for name in ("tree", "mixed")
    for map in ("scoop", "dask")
]


@pytest.mark.parametrize(("name", "options"), BACKENDS)
def test_the_history_is_the_same_with_every_backend(name, options, run, start, write, tmp_path):
    file = write(yaml.safe_dump(experiment(name)))
    serial, other = run(file, name="serial").folder, tmp_path / "runs" / "other"
    finish(start("run", file, "--runs-dir", other.parent, "--name", "other", *options.split()))
    assert lines(other) == lines(serial)
    assert result(other) == result(serial)


@EVERY
def test_a_search_goes_on_from_any_part_of_its_history(name, run, evoprune, write):
    whole = run(write(yaml.safe_dump(experiment(name)))).folder
    expected, text = lines(whole), (whole / "history.jsonl").read_bytes()
    for size in random.Random(0).sample(range(len(text)), 5):
        (whole / "result.json").unlink()
        (whole / "history.jsonl").write_bytes(text[:size])
        assert evoprune("resume", whole).code == 0
        assert lines(whole) == expected


@EVERY
def test_minimize_finds_more_than_it_began_with_and_goes_on(name, tmp_path):
    space, f = SPACES[name], FUNCTIONS[name]
    first = minimize(f, space, evaluations=200, folder=tmp_path / "run")
    longer = minimize(f, space, evaluations=400, folder=tmp_path / "run")
    once = minimize(f, space, evaluations=400)
    assert (longer.genome, longer.values) == (once.genome, once.values)
    assert longer.values <= first.values < first.history[0][1]
    again = minimize(f, space, evaluations=200, initial=[longer.genome])
    assert again.values <= longer.values


@EVERY
def test_a_caller_scores_genomes_and_a_copy_or_a_folder_goes_on(name, tmp_path):
    space, f = SPACES[name], function(name)
    searches = [Search(space), Search(space, folder=tmp_path / "run")]
    for search in searches:
        for value in search.ask():
            search.tell(value, f(value))
    searches[1]._lock.close()
    searches += [Search(space, folder=tmp_path / "run"), pickle.loads(pickle.dumps(searches[0]))]
    asked = [repr(search.ask()) for search in searches]
    assert {*asked} == {asked[0]}
    assert repr(searches[2].best) == repr(searches[0].best)
    with pytest.raises(InputError, match="tell"):
        searches[0].tell([99], 1.0)


def test_objectives_and_constraints_apply_to_every_space():
    front = minimize(lambda tour: (length(tour), tour[0]), SPACES["permutation"], objectives=2, evaluations=300).front
    assert len(front) > 1
    found = minimize(length, SPACES["permutation"], constraints=lambda tour: abs(tour[0] - 4), evaluations=300)
    assert found.genome[0] == 4


@pytest.mark.parametrize(
    ("how", "slot", "instead"),
    [
        ({"operators": {"mate": "blend"}}, "operators.mate", "ordered"),
        ({"operators": {"mutate": "subtree"}}, "operators.mutate", "inversion"),
        ({"algorithm": "cma"}, "operators.algorithm", "generational"),
    ],
)
def test_an_operator_of_another_space_is_refused_before_anything_is_scored(how, slot, instead):
    def unscored(tour):
        raise AssertionError(tour)

    with pytest.raises(InputError, match=f"{slot}.*{instead}"):
        minimize(unscored, SPACES["permutation"], **how)


def test_a_part_is_bred_by_the_operator_that_is_chosen_for_it():
    """Mutations of real rates that are too small to see leave all changes to the order and the level."""
    still = {"use": "gaussian", "sigma": 1e-12}
    own = {"mutate": {"use": "parts", "of_parts": {"rates": still}}}
    found = minimize(FUNCTIONS["mixed"], SPACES["mixed"], operators=own, evaluations=60)
    genomes = [genome for genome, _ in found.history]
    assert len({tuple(genome["order"]) for genome in genomes}) > 10
    assert all(genome["rates"][:2] == pytest.approx(genomes[0]["rates"][:2]) for genome in genomes)


@pytest.mark.parametrize(
    ("of_parts", "fact"),
    [
        ({"ordr": "rearrange"}, "of_parts.*ordr"),
        ({"order": "gaussian"}, "of_parts.order.*rearrange"),
        ({"order": "nonsense"}, "of_parts.order.*nonsense"),
        ({"rates": {"use": "gaussian", "sgma": 1}}, "of_parts.rates.sgma"),
        (3, "of_parts"),
    ],
)
def test_operators_of_parts_that_do_not_fit_are_refused(of_parts, fact):
    with pytest.raises(InputError, match=rf"operators\.mutate.*{fact}"):
        minimize(FUNCTIONS["mixed"], SPACES["mixed"], operators={"mutate": {"use": "parts", "of_parts": of_parts}})


def slowly(tree, genome, **values):
    """The value of a tree, by recursion over its prefix notation."""
    names = iter(genome)

    def value():
        name = next(names)
        if name in tree.functions:
            function, takes, _ = tree.functions[name]
            return function(*[value() for _ in takes])
        return values.get(name, {"True": True, "False": False}.get(name, name))

    return value()


def test_a_formula_is_what_recursion_over_its_tree_gives():
    tree = Tree(["add", "sub", "mul", "div", "if", "less", "and"], ["x", "y"], constants=(-2, 2))
    random.seed(1)
    for _ in range(50):
        formula = tree.chosen(tree.random())
        for x, y in itertools.product((-1.5, 0.0, 2.0), repeat=2):
            expected = slowly(tree, formula.genome, x=x, y=y)
            assert formula(x, y) == formula(x, y=y) == pytest.approx(expected, nan_ok=True)
        columns = formula(numpy.array([1.0, 2.0]), numpy.array([0.5, 0.0]))
        rows = [formula(1.0, 0.5), formula(2.0, 0.0)]
        assert numpy.broadcast_to(columns, 2).tolist() == pytest.approx(rows, nan_ok=True)


def test_a_formula_reads_as_python_and_means_the_same():
    tree = Tree(["add", "sub", "mul", "div"], ["x", "y"], constants=(1, 2))
    random.seed(2)
    for _ in range(100):
        formula = tree.chosen(tree.random())
        with contextlib.suppress(ZeroDivisionError):
            assert eval(str(formula), {"x": 3.7, "y": 5.3}) == pytest.approx(formula(3.7, 5.3), rel=1e-3)


def test_trees_may_be_deeper_than_pythons_own_parser_allows():
    tree = Tree(["neg"], ["x"], deepest=1000)
    formula = tree.chosen(tree.from_json(["neg"] * 999 + ["x"]))
    assert formula(2.0) == -2.0
    assert str(formula).count("neg") == 999
    with pytest.raises(ValueError, match="1000"):
        tree.check(("neg",) * 1001 + ("x",))


def doubled(number: float) -> float:
    return 2 * number


def test_primitives_may_be_functions_with_types():
    tree = Tree([doubled, "add", "less", "if"], {"x": float, "flag": bool})
    assert tree.chosen(("if", "flag", "doubled", "x", "x"))(3.0, True) == 6.0
    with pytest.raises(ValueError, match="bool"):
        tree.check(("if", "x", "x", "x"))
    assert tree.allow(tree.random())


def test_genes_are_a_space_too():
    genes = Genes([Gene("x"), Gene.of_levels("bits", [2, 4])])
    assert genes.from_json([0.5, 1.0]) == (0.5, 1.0)
    with pytest.raises(ValueError, match="2 genes"):
        genes.from_json([0.5])


class Tour(Problem):
    """A problem with a space of its own."""

    space = SPACES["permutation"]

    def evaluate(self, genome, fidelity=1.0):
        return Evaluation((length(self.space.chosen(genome)),))


def test_a_problem_may_have_any_space():
    problem = Tour(Settings())
    check_problem(problem)
    assert minimize(problem, evaluations=100).values[0] < problem.evaluate(tuple(range(9))).values[0]
    search = Search(problem)
    for tour in search.ask():
        search.tell(tour, length(tour))
    assert sorted(search.best[0]) == [*range(9)]
    with pytest.raises(InputError, match="genes"):
        assert problem.genes


def test_ufuncs_of_numpy_are_primitives():
    space = Tree(["add", numpy.log], ["x"], deepest=3)
    assert space.chosen(("log", "x"))(0.5) == math.log(0.5)
    assert space.settings["primitives"] == ["add", "numpy:log"]  # not our own, which has values for all numbers
    with pytest.raises(InputError, match="modf"):
        Tree([numpy.modf], ["x"])
