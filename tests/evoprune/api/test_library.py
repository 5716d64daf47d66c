"""The engine as a library makes the same searches as runs do."""

import importlib
import json
import math
import random
import re
import subprocess
import sys
import warnings
from contextlib import nullcontext
from functools import partial

import numpy
import pytest
from deap import benchmarks, tools

from evoprune import Gene, InputError, Permutation, Search, minimize
from evoprune.backends import evaluation
from evoprune.console.errors import Stopped
from evoprune.experiment import registry
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.genes import Genes
from evoprune.operators.mutation.gaussian import gaussian
from evoprune.problems.benchmark import Knapsack, KnapsackSettings

REAL = [Gene(f"x{place}", -5, 5) for place in range(4)]
MIXED = [Gene("a", 0, 1), Gene.integer("b", 3, 7), Gene.log("c", 1e-4, 1), Gene.choice("d", ["red", "green", "blue"])]


def two(genome):
    return genome[0] ** 2, (genome[0] - 2) ** 2 + genome[1] ** 2


def mixed(genome):
    a, b, c, d = genome
    return a + (b - 5) ** 2 + abs(math.log10(c) + 2) + (d != "green")


def halved(individual):
    individual[:] = [value / 2 for value in individual]
    return (individual,)


@pytest.mark.parametrize(
    ("space", "operators", "algorithm"),
    [
        (Genes(REAL), {}, "cma"),
        (Genes(REAL), {"mutate": halved}, "generational"),
        (Genes(REAL), {"mate": "uniform"}, "generational"),
        (Permutation(6), {"mutate": "inversion"}, "iterated_local_search"),
        (Permutation(6), {"mate": "ordered"}, "generational"),
    ],
)
def test_the_chosen_algorithm_uses_the_given_operators(space, operators, algorithm):
    found = minimize(lambda values: float(values[0]), space, operators=operators, evaluations=60)
    assert found.algorithm == algorithm


@pytest.mark.parametrize("progress", [False, True])
def test_it_is_silent_unless_asked_for_its_progress(progress, capfd):
    minimize(benchmarks.sphere, REAL, evaluations=40, progress=progress)
    out, err = capfd.readouterr()
    assert (bool(err), out) == (progress, "")


def named(a, b, c, d):
    return mixed([a, b, c, d])


def test_values_go_by_name_where_parameters_are_the_genes_names():
    how = {"evaluations": 60, "seed": 2, "constraints": [lambda d, c, b, a: a - 0.5]}
    ours = minimize(named, MIXED, **how)
    theirs = minimize(mixed, MIXED, **{**how, "constraints": [lambda genome: genome[0] - 0.5]})
    assert ours == theirs
    assert [ours[name] for name in "abcd"] == ours.genome


def rows(table):
    assert table.dtype == object
    return [mixed(row) for row in table]


def columns(a, b, c, d):
    return a + (b - 5) ** 2 + abs(numpy.log10(c) + 2) + (d != "green")


@pytest.mark.parametrize("f", [rows, columns])
def test_a_batch_is_scored_in_one_call_of_the_same_search(f):
    calls = []

    def limit(table):
        calls.append(len(table))
        return table[:, 0] - 0.5

    how = {"evaluations": 60, "seed": 2, "population": 12}
    ours = minimize(f, MIXED, batch=True, constraints=[limit], **how)
    alone = minimize(mixed, MIXED, constraints=[lambda genome: genome[0] - 0.5], **how)
    assert ours.genome == alone.genome
    assert [value for _, (value,) in ours.history] == pytest.approx([value for _, (value,) in alone.history])
    assert calls[0] == 12
    assert sum(calls) == ours.evaluations + 1  # the best is tried again
    traded = {"objectives": 2, "algorithm": "nsga2", "evaluations": 60}
    front = minimize(lambda table: [two(row) for row in table.tolist()], REAL, batch=True, **traded)
    assert front == minimize(two, REAL, **traded)
    inactive = [*REAL[:1], Gene.choice("d", [0, 1]), Gene("e", 0, 1, when=("d", 1))]
    means = minimize(lambda table: numpy.nan_to_num(table, nan=9.0).sum(1), inactive, batch=True, evaluations=60)
    assert means.genome[1] == 1
    with pytest.raises(Stopped, match="rows"):
        minimize(lambda table: table[0], REAL, batch=True, evaluations=60)
    with pytest.raises(Stopped, match="rows"):  # nor is it taken for the candidate's that is tried again alone
        minimize(lambda table: [1.0], REAL, batch=True, evaluations=60)


def test_a_constraint_may_have_some_of_the_genes_and_other_names_are_refused():
    genes = [Gene.integer("size", 1, 100), Gene("rate", 0, 1)]
    found = [
        minimize(lambda size, rate: size + rate, genes, constraints=least, evaluations=100, seed=0)
        for least in (lambda size: 40 - size, [lambda values: 40 - values[0]])
    ]
    assert found[0]["size"] == 40
    assert found[0].genome == found[1].genome
    with pytest.raises(Stopped, match="size, rate"):
        minimize(lambda length, speed: length, genes, evaluations=100)


@pytest.mark.parametrize("algorithm", ["generational", "nsga2"])
def test_inactive_genes_are_none_and_no_active_ones_are_asked_for_twice(algorithm, tmp_path):
    genes = [
        Gene.choice("kind", ["net", "tree", "line"]),
        Gene.integer("depth", 1, 100, when=("kind", "tree")),
        Gene.log("rate", 1e-4, 1, when=("kind", "net")),
    ]

    def f(kind, depth, rate):
        assert (depth is not None, rate is not None) == (kind == "tree", kind == "net")
        return abs(depth - 7) / 10 if kind == "tree" else 5 if rate is None else 1 + abs(math.log10(rate) + 2)

    how = {"initial": [{"kind": "line"}, {"kind": "tree", "depth": 90}], "algorithm": algorithm, "evaluations": 100}
    found = minimize(f, genes, folder=tmp_path / "run", **how)
    asked = [tuple(genome) for genome, _ in found.history]
    assert len(set(asked)) == len(asked) == found.evaluations
    assert asked[:2] == [("line", None, None), ("tree", 90, None)]
    assert found["rate"] is None
    assert len({depth for _, depth, _ in asked}) > 10
    assert minimize(f, genes, folder=tmp_path / "run", **how) == found
    with pytest.raises(InputError, match="depth"):
        minimize(f, genes, initial=[{"kind": "tree"}])


def test_more_is_better_where_it_is_maximised():
    how = {"evaluations": 60, "seed": 1}
    least = minimize(lambda g: -mixed(g), MIXED, **how)
    most = minimize(mixed, MIXED, maximise=True, **how)
    assert (most.genome, most.values[0]) == (least.genome, -least.values[0])


@pytest.mark.parametrize("algorithm", ["generational", "cma", "random_search"])
def test_it_begins_with_the_initial_genomes(algorithm):
    first = {"a": 0.25, "b": 6, "c": 0.01, "d": "blue"}
    asked = [first, [0.5, 3, 1.0, "red"]]
    found = minimize(mixed, MIXED, algorithm=algorithm, initial=asked, evaluations=30)
    search = Search(MIXED, algorithm=algorithm, initial=asked)
    for begun in ([genome for genome, _ in found.history], search.ask()):
        assert begun[0] == pytest.approx([*first.values()])
        assert begun[1] == [*asked[1]]
    for wrong, gene, expected in (
        ({}, "a", "0 to 1"),
        ({"a": 0.25}, "b", "3, 4, 5, 6, 7"),
        ([0.5, 3, 1.0, "pink"], "d", "'red', 'green', 'blue'"),
        ([0.5, 3, 0.0, "red"], "c", "0.0001 to 1"),
        ([0.5, 8, 1.0, "red"], "b", "3, 4, 5, 6, 7"),
    ):
        with pytest.raises(InputError, match=rf"initial: gene '{gene}': .*{expected}"):
            minimize(mixed, MIXED, initial=[wrong])


def test_rules_end_a_search_and_the_history_is_its_own():
    states = []
    how = {"population": 6, "evaluations": 600, "seed": 4}  # a generation ends there
    whole = minimize(benchmarks.sphere, REAL, callback=states.append, **how)
    assert [state.generation for state in states] == [*range(len(states))]
    assert states[-1].values == whole.values
    assert len(whole.history) == whole.evaluations == states[-1].evaluations
    assert min(value for _, (value,) in whole.history) == whole.values[0]
    target = states[len(states) // 2].values[0]
    wanted = next(state for state in states if state.values[0] <= target)
    for rule in ({"target": target}, {"callback": lambda state: state.values[0] <= target}):
        ended = minimize(benchmarks.sphere, REAL, **rule, **how)
        assert (ended.values, ended.evaluations) == (wanted.values, wanted.evaluations)
    assert minimize(benchmarks.sphere, REAL, seconds=0.0, **how).evaluations == states[0].evaluations
    still = minimize(lambda _: 1.0, REAL, patience=3, **how)
    assert still.evaluations < 6 * 5
    table = whole.to_pandas()
    assert [*table.columns] == [*whole.names, "value"]
    assert table["value"].min() == whole.values[0]
    assert whole.plot().axes[0].lines


def test_a_rule_ends_its_own_search_and_none_in_its_objective():
    asked = []

    def outer(genome):
        asked.append(minimize(benchmarks.sphere, REAL, evaluations=30, algorithm="random_search").evaluations)
        return 0.0

    states = []
    found = minimize(outer, REAL, population=4, evaluations=1000, target=1.0, callback=states.append)
    assert found.evaluations == len(asked) - 1 < 1000  # the best is tried again
    assert len(states) == 1
    assert min(asked) >= 30


def killed_at_20():
    """A function that is interrupted in its call 20, and the genomes of all calls."""
    calls = []

    def killed(genome):
        calls.append(genome)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return benchmarks.sphere(genome)[0]

    return killed, calls


def test_a_search_that_a_rule_ended_is_the_same_after_an_interruption(tmp_path):
    killed, calls = killed_at_20()
    how = {"population": 6, "patience": 2, "seed": 3, "algorithm": "random_search"}
    with pytest.raises(KeyboardInterrupt):
        minimize(killed, REAL, folder=tmp_path / "run", **how)
    again = minimize(killed, REAL, folder=tmp_path / "run", **how)
    assert again.evaluations + 2 == len(calls)  # the interrupted call, and the best is tried again
    assert minimize(benchmarks.sphere, REAL, **how).history == again.history


def test_more_evaluations_lengthen_the_run_in_the_folder(tmp_path):
    killed, calls = killed_at_20()
    how = {"population": 6, "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        minimize(killed, REAL, evaluations=30, folder=tmp_path / "run", **how)
    # of an interrupted run, of a finished one; fewer are in it already
    for evaluations, tried_again in ((60, 1), (120, 2), (90, 2)):
        found = minimize(killed, REAL, evaluations=evaluations, folder=tmp_path / "run", **how)
        most = max(evaluations, found.evaluations)
        assert found.history == minimize(benchmarks.sphere, REAL, evaluations=most, **how).history
        assert found.evaluations + 1 + tried_again == len(calls)
    assert len(calls) > 120


def outside(genome):
    return 4 - sum(value**2 for value in genome)


def too_far(genome):
    return genome[0] - 1.5


def test_the_best_satisfies_the_constraints_and_ask_and_tell_know_them(tmp_path):
    for algorithm in ("generational", "cma", "nsga2"):
        f, how = (two, {"objectives": 2}) if algorithm == "nsga2" else (benchmarks.sphere, {})
        how |= {"algorithm": algorithm, "population": 8, "seed": 1}
        limits = [outside, too_far] if algorithm == "cma" else [lambda g: outside(g), lambda g: too_far(g)]
        found = minimize(f, REAL, constraints=limits, evaluations=200, folder=tmp_path / algorithm, **how)
        shown = [genome for genome, _ in found.front] or [found.genome]
        assert max(limit(genome) for limit in limits for genome in shown) <= 0
        assert found.feasible
        assert "infeasible" not in repr(found)
        search = Search(REAL, **how)
        while search.evaluations < 200:
            for genome in search.ask():
                search.tell(genome, f(genome), [limit(genome) for limit in limits])
        assert sorted(search.front or [search.best]) == sorted(found.front or [(found.genome, found.values)])
    lines = [json.loads(line) for line in (tmp_path / "nsga2" / "history.jsonl").read_text().splitlines()]
    assert len({line.get("violation") for line in lines if "candidate" in line}) > 10


def test_where_nothing_satisfies_the_constraints_the_least_violation_wins(tmp_path):
    calls = []

    def limit(genome):
        calls.append(sum(map(abs, genome)) + 1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return calls[-1]

    how = {"constraints": [limit, outside], "evaluations": 60, "folder": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        minimize(benchmarks.h1, REAL[:2], **how)
    found = minimize(benchmarks.h1, REAL[:2], **how)
    assert len(calls) == 62  # the interrupted call, and the best is tried again
    assert found.violation == sum(map(abs, found.genome)) + 1 + max(0, outside(found.genome))
    assert not found.feasible
    assert "infeasible" in repr(found)
    assert found == minimize(benchmarks.h1, REAL[:2], **how)
    with pytest.raises(Stopped, match="constraints"):
        minimize(benchmarks.sphere, REAL, constraints=[lambda _: math.nan], evaluations=40)


@pytest.mark.parametrize(
    ("genes", "how", "expected"),
    [
        (REAL, {}, ("cma", 8)),
        (MIXED[:3], {}, ("cma", 7)),
        (MIXED, {}, ("cma", 8)),
        (REAL, {"objectives": 2}, ("nsga2", 20)),
        (REAL, {"population": 12}, ("cma", 12)),
        (REAL, {"algorithm": "random_search"}, ("random_search", 20)),
    ],
)
def test_the_algorithm_by_default_goes_by_genes_and_objectives_and_is_told(genes, how, expected, capfd):
    f = two if "objectives" in how else lambda _: 0.0
    found = minimize(f, genes, evaluations=expected[1], progress=True, **how)
    assert (found.algorithm, found.evaluations) == expected
    first, *_ = capfd.readouterr().err.splitlines()
    assert all(str(part) in first for part in expected)
    assert Search(genes, **how).ask() == [genome for genome, _ in found.history]


def test_a_problem_with_a_limit_is_searched_within_it():
    problem = Knapsack(KnapsackSettings(items=20))
    found = minimize(problem, evaluations=100)
    assert found.algorithm == "additive"
    assert found.values == problem.evaluate(problem.references()["optimum"]).values


@pytest.mark.parametrize("algorithm", ["auto", "generational", "nsga2"])
def test_a_search_ends_when_all_genomes_have_values(algorithm):
    genes = [Gene.choice("k", "abc"), Gene.integer("n", 1, 2)]
    found = minimize(lambda k, n: n + (k != "b"), genes, evaluations=10**6, algorithm=algorithm)
    assert (found.evaluations, found.values) == (6, (1.0,))


@pytest.mark.parametrize("begin", [Search, lambda genes, folder: minimize(benchmarks.sphere, genes, folder=folder)])
@pytest.mark.parametrize("name", ["history.jsonl", "ahead.jsonl", "lock"])
def test_nothing_is_written_through_a_link(begin, name, tmp_path):
    precious, link = tmp_path / "precious", tmp_path / "search" / name
    precious.write_text("one line")
    Search(REAL, folder=link.parent)
    link.unlink(missing_ok=True)
    link.symlink_to(precious)
    with pytest.raises(InputError, match=name):
        begin(REAL, folder=link.parent)
    assert precious.read_text() == "one line"


@pytest.mark.parametrize("begin", [Search, lambda genes, folder: minimize(benchmarks.sphere, genes, folder=folder)])
def test_nothing_is_written_into_a_folder_that_is_not_a_searchs(begin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="folder"):
        begin(REAL, folder="")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"config\.yaml"):
        begin(REAL, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def shifted(shift, limit=0.0):
    """The arguments of a search whose function, or whose constraint, holds a value."""
    return {"f": lambda genome: genome[0] + shift, "constraints": [lambda genome: limit - genome[0]]}


@pytest.mark.parametrize("evaluations", [40, 80])
def test_the_run_of_another_function_is_not_continued(evaluations, tmp_path):
    how = {"space": REAL, "folder": tmp_path / "run"}
    found = minimize(**shifted(0), evaluations=40, **how)
    before = (tmp_path / "run" / "history.jsonl").read_text()
    for other, name in (
        (shifted(1000), "values of .*shifted"),
        (shifted(0, 1.0), "values of .*shifted"),
        (shifted(0) | {"constraints": [lambda genome: genome[1]]}, None),
    ):
        with pytest.raises(InputError, match=name) as refusal:
            minimize(**other, evaluations=evaluations, **how)
        assert "\n" not in str(refusal.value)
    assert (tmp_path / "run" / "history.jsonl").read_text() == before
    assert minimize(**shifted(0), evaluations=40, **how) == found


@pytest.mark.parametrize("problem", [False, True])
def test_an_edited_function_is_told(problem, tmp_path, plugin, monkeypatch):
    code = """
    from evoprune import Evaluation, Genes, Problem
    def edited(genome): return genome[0] + {0}
    class Edited(Problem):
        genes = Genes.real(["x"], 0.0, 1.0)
        def evaluate(self, genome): return Evaluation((genome[0] + {0},))
    """

    def search(shift):
        evaluation.this_worker.forget()
        sys.modules.pop("edited_module", None)
        registry._plugins.pop("edited_module", None)
        plugin("edited_module", code.format(shift))
        importlib.invalidate_caches()
        module = importlib.import_module("edited_module")
        f, genes = (module.Edited(module.Edited.Settings()), ()) if problem else (module.edited, REAL)
        return minimize(f, genes, evaluations=40, folder=tmp_path / "run")

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = search(0)
    assert search(0) == found
    with pytest.raises(InputError, match=r"code of edited_module:[Ee]dited"):
        search(1)


def test_a_history_of_other_candidates_than_the_results_is_refused(tmp_path):
    how = {"space": REAL[:1], "evaluations": 40, "folder": tmp_path / "run", "algorithm": "generational"}
    minimize(benchmarks.sphere, **how)
    line = {
        "candidate": 9,
        "generation": 1,
        "parents": [],
        "memo": False,
        "fitness": [0.0],
        "work": 1.0,
        "seconds": 0.0,
    }
    (tmp_path / "run" / "ahead.jsonl").write_text(json.dumps(line | {"genome": [0.0]}))
    with pytest.raises(InputError, match="candidates"):
        minimize(benchmarks.sphere, **how)


@pytest.mark.parametrize("left", ["history.jsonl", "result.json"])
def test_a_run_without_its_experiment_is_refused(left, tmp_path):
    folder = tmp_path / "run"
    minimize(benchmarks.sphere, REAL, evaluations=40, folder=folder)
    for path in folder.iterdir():
        if path.name not in {left, "environment.json"}:
            path.unlink()
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=r"config\.yaml"):
        minimize(benchmarks.sphere, REAL, evaluations=40, folder=folder)
    assert sorted(folder.iterdir()) == before


def test_workers_change_nothing_but_must_find_the_function():
    alone, several = (minimize(benchmarks.sphere, REAL, evaluations=40, workers=count) for count in (1, 2))
    assert alone == several
    with pytest.raises(InputError, match="module"):
        minimize(lambda genome: sum(genome), REAL, workers=2)


def test_another_function_of_the_same_name_is_another():
    (least, *_), (most, *_) = (minimize(lambda g, s=sign: s * g[0], REAL, evaluations=60).genome for sign in (1, -1))
    assert least < most


def test_a_function_that_fails_stops_the_search():
    with pytest.raises(Stopped, match="ZeroDivisionError"):
        minimize(lambda _: 1 / 0, REAL, evaluations=40)


@pytest.mark.parametrize(("f", "objectives", "got"), [(two, 1, 2), (benchmarks.sphere, 2, 1), (two, 3, 2)])
@pytest.mark.parametrize("workers", [1, 2])
def test_another_count_of_values_than_of_objectives_is_refused_at_once(f, objectives, got, workers, tmp_path):
    with pytest.raises(InputError, match=rf"objectives: .*{objectives}.*{got}"):
        minimize(f, REAL, evaluations=40, objectives=objectives, workers=workers, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", range(20))
def test_options_without_an_order_have_no_neighbours(seed):
    random.seed(seed)
    genes = Genes([Gene.choice("d", range(50))])
    moved = {gaussian(Individual([7.0]), genes=genes, sigma=1e-6, limit=1e-6, indpb=1.0)[0][0] for _ in range(200)}
    assert 7.0 not in moved
    assert min(moved) < 5
    assert max(moved) > 40


@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_with_noise_is_warned_of_once_and_others_are_not(workers):
    genes = [Gene("x", -1.0, 1.0), Gene("y", -1.0, 1.0)]
    how = {"evaluations": 30, "workers": workers}
    with pytest.warns(RuntimeWarning, match="differently to the same genome") as warned:
        found = minimize(with_noise, genes, **how)
    assert len(warned) == 1
    assert len(found.history) == found.evaluations
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minimize(benchmarks.sphere, genes, **how)


def with_noise(values):
    return sum(x * x for x in values) + random.Random().random()


def test_a_result_that_is_only_read_is_not_tried_again(tmp_path):
    genes = [Gene("x", -1.0, 1.0)]
    with pytest.warns(RuntimeWarning):
        first = minimize(with_noise, genes, evaluations=30, folder=tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert minimize(with_noise, genes, evaluations=30, folder=tmp_path / "run").values == first.values


@pytest.mark.parametrize("batch", [True, False])
def test_one_stop_iteration_fails_one_candidate(batch):
    calls = []

    def stops(rows):
        calls.append(1)
        if len(calls) == 3:
            raise StopIteration
        return (rows**2).sum(-1) if batch else sum(x * x for x in rows)

    found = minimize(stops, [Gene("x", -1.0, 1.0)], evaluations=60, population=4, batch=batch)
    failed = sum(not math.isfinite(value) for _, (value,) in found.history)
    assert failed <= 1
    assert found.values[0] < 0.1


def swap(one, other):
    return other, one


@pytest.mark.parametrize(
    "mate",
    [
        swap,
        lambda one, other: (other, one),
        {"use": tools.cxUniform, "indpb": 0.5},
        partial(tools.cxUniform, indpb=0.5),
        f"{__name__}:swap",
    ],
)
def test_an_operator_is_a_function_or_a_name_in_a_plugin(mate, tmp_path):
    genes = [Gene("x", -1.0, 1.0), Gene("y", -1.0, 1.0)]
    how = {"algorithm": "generational", "operators": {"mate": mate}, "population": 6, "plugins": [__name__]}
    found = minimize(benchmarks.sphere, genes, evaluations=30, folder=tmp_path / "run", **how)
    longer = minimize(benchmarks.sphere, genes, evaluations=60, folder=tmp_path / "run", **how)
    assert longer.history[: len(found.history)] == found.history
    assert longer.history == minimize(benchmarks.sphere, genes, evaluations=60, **how).history
    search = Search(genes, **how)
    for genome, values in found.history[:30]:
        assert genome in search.ask()
        search.tell(genome, values)


@pytest.mark.parametrize(
    ("slot", "operator"), [("mate", "deap.tools:cxPartialyMatched"), ("select", "deap.tools:selRoulette")]
)
def test_an_operator_that_does_not_fit_is_refused_before_anything_is_scored(slot, operator):
    genes, how = [Gene("x", -1.0, 1.0), Gene("y", -1.0, 1.0)], {"algorithm": "generational"}
    for search in (partial(minimize, lambda _: pytest.fail("scored")), Search):
        with pytest.raises(InputError, match=rf"operators\.{slot}: '{operator}'"):
            search(genes, operators={slot: operator}, **how)


def test_a_failure_names_the_line_of_the_function():
    def failing(genome):
        raise KeyError("missing")

    place = f"test_library.py:{failing.__code__.co_firstlineno + 1}"
    with pytest.raises(Stopped, match=re.escape(place)):
        minimize(failing, REAL, evaluations=40)


def test_a_share_of_failures_is_allowed():
    def lower_half(genome):
        return math.inf if genome[0] > -1 else genome[0] + 5

    with pytest.raises(Stopped):
        minimize(lower_half, REAL, evaluations=60)
    assert minimize(lower_half, REAL, evaluations=60, max_failures=1).value < 4


@pytest.mark.parametrize("truth", [True, numpy.bool_(False), numpy.array(True)])
def test_truths_are_no_constraints(truth):
    with pytest.raises(Stopped, match="constraint"):
        minimize(benchmarks.sphere, REAL, evaluations=40, constraints=lambda genome: truth)


def test_wrong_arguments_are_called_by_their_names():
    for argument in ("evaluations", "workers"):
        with pytest.raises(InputError, match=argument):
            minimize(benchmarks.sphere, REAL, **{argument: 0})


def test_a_changed_gene_is_named(tmp_path):
    minimize(length, REAL, evaluations=20, population=8, folder=tmp_path / "run")
    with pytest.raises(InputError, match=r"genes\[3\]"):
        minimize(length, REAL[:3], evaluations=20, population=8, folder=tmp_path / "run")


def test_a_level_that_is_none_is_a_change(tmp_path):
    for levels, refused in ((["a", "b"], False), (["a", "b", None], True)):
        with pytest.raises(InputError, match="levels") if refused else nullcontext():
            minimize(kind, [Gene.choice("x", levels)], evaluations=2, folder=tmp_path / "run")


def kind(x):
    return float(x == "a")


def length(genome):
    return math.hypot(*genome)


def test_a_script_that_workers_would_run_again_is_refused(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert f"{script}: " in done.stderr.splitlines()[-1]
    assert "__main__" in done.stderr.splitlines()[-1]
    assert not done.stdout


SCRIPT = """
from evoprune import Gene, minimize

def f(x):
    return x

print(minimize(f, [Gene("x")], evaluations=20, workers=2))
"""
