"""The page on several runs: what differs, and nothing compared that is of different meaning."""

import json

import pytest

from evoprune.ablation.results import compare as ablation
from evoprune.interfaces.parts import Shown
from evoprune.problems.benchmark import Benchmark
from tests.evoprune.report.conftest import Page

NOISY = """
from evoprune.problems.benchmark import Benchmark

class Noisy(Benchmark):
    noisy = True
"""

COST = """
from evoprune.problems.benchmark import Benchmark

class Cost(Benchmark):
    labels_of = classmethod(lambda cls, settings: ("cost",))
"""


@pytest.fixture
def compare(evoprune, tmp_path):
    """Return the tables before the pages of the runs, by row, and the text with them."""

    def call(*folders):
        answer = evoprune("report", *folders, "--out", tmp_path / "report.html")
        assert answer.code == 0, answer.err
        words = (tmp_path / "report.md").read_text().partition("## Each run")[0]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in words.splitlines() if line[:1] == "|"]
        return {row[0]: row[1:] for row in rows}, words

    return call


def best(folder):
    return json.loads((folder / "result.json").read_text())["best"]["fitness"][0]


def test_runs_that_differ_in_the_seed_have_median_and_range(run, sphere, compare):
    folders = [run(sphere, f"seed={seed}", name=f"seed{seed}").folder for seed in (1, 2, 3)]
    rows, words = compare(*folders)
    values = [best(folder) for folder in folders]
    low, middle, high = sorted(values)
    shown = [*(f"{value:.6g}" for value in values), f"{middle:.6g} ({low:.6g} to {high:.6g})"]
    assert rows["fitness of the best"] == shown
    assert rows["seed"] == ["1", "2", "3"]
    assert "One seed" not in words


@pytest.mark.usefixtures("drawn")
def test_only_settings_and_results_that_differ_are_listed_and_one_seed_each_is_said(run, sphere, compare, tmp_path):
    first = run(sphere, name="a$b_$c").folder  # which is no mathematics
    other = run(sphere, "operators.mate=uniform", "generations=2", name="b").folder
    rows, words = compare(first, other)
    assert rows.keys() - {"---"} == {
        "setting", "operators.mate", "generations", "result", "fitness of the best", "work, in evaluations",
        "candidates evaluated",
    }  # fmt: skip
    assert (rows["operators.mate"], rows["generations"]) == (["blend", "uniform"], ["4", "2"])
    assert "One seed each" in words
    figure = Page((tmp_path / "report.html").read_text()).named("img")[0]
    assert figure["alt"] == "bests so far"


def test_experiments_of_several_seeds_are_compared_with_one_of_one_seed_named(run, sphere, compare):
    folders = [run(sphere, f"seed={seed}", name=f"seed{seed}").folder for seed in (1, 2)]
    alone = run(sphere, "operators.mate=uniform", name="alone").folder
    rows, words = compare(folders[0], alone, folders[1])
    name, other = (f"operators.mate {value}" for value in rows["operators.mate"])
    assert f"| {name}, 2 seeds | {other} |" in words
    assert f"One seed of {other}" in words
    low, high = sorted(map(best, folders))
    assert f"({low:.6g} to {high:.6g})" in words
    assert f"| {best(alone):.6g} |" in words


def test_experiments_on_the_same_seeds_have_a_p_that_does_not_depend_on_the_order_of_runs(run, sphere, compare):
    kinds, found = ("blend", "uniform"), {}
    for kind in kinds:
        for seed in (1, 2, 3):
            found[kind, seed] = run(sphere, f"operators.mate={kind}", f"seed={seed}", name=f"{kind}{seed}").folder
    ordered = [found[kind, seed] for seed in (3, 1, 2) for kind in kinds]
    _, words = compare(*ordered)
    (row,) = (line for line in words.splitlines() if line.startswith("| fitness of the best") and " to " in line)
    first, second = ([best(found[kind, seed]) for seed in (1, 2, 3)] for kind in kinds)
    _, tested = ablation({"first": first, "second": second})
    assert row.rstrip(" |").endswith(f", p {tested.p:.2g}")
    assert words.startswith(f"# {len(ordered)} runs in ")


def test_repetitions_of_a_seed_are_no_seeds(run, sphere, compare):
    folders = [
        run(sphere, f"operators.mate={kind}", f"seed={seed}", name=f"{kind}{place}").folder
        for kind, seeds in (("blend", (1, 1)), ("uniform", (2, 2)))
        for place, seed in enumerate(seeds)
    ]
    for compared in (folders, folders[:2]):
        _, words = compare(*compared)
        assert "seeds |" not in words
        assert "median" not in words
    _, words = compare(*folders)
    assert "One seed each" in words


def test_experiments_on_other_seeds_have_no_p_and_differing_words_are_shown(run, sphere, compare):
    folders = {
        (kind, seed): run(sphere, f"operators.mate={kind}", f"seed={seed}", name=f"{kind}{seed}").folder
        for kind, seeds in (("blend", (1, 2)), ("uniform", (3, 4)))
        for seed in seeds
    }
    (folders["uniform", 4] / "result.json").unlink()  # a run that has not ended
    _, words = compare(*folders.values())
    assert "No p: " in words
    assert ", p " not in words
    assert "| state | done | done, " in words


def test_a_section_that_a_run_lacks_is_one_row(run, sphere, compare):
    given = run(sphere, "operators.repair=shift", "problem.dimensions=4", name="a").folder
    rows, words = compare(given, run(sphere, name="b").folder)
    assert rows["operators.repair"] == ["given", "-"]
    assert not [key for key in rows if key.startswith("operators.repair.")]
    assert "Measured differently (problem.dimensions)" in words


@pytest.mark.parametrize("other", ["problems/knapsack.yaml", "cost.yaml"])
def test_results_of_other_problems_or_objectives_are_not_compared(run, sphere, write, plugin, compare, other):
    plugin("cost", COST)
    if other == "cost.yaml":
        other = write("{plugins: [cost], problem: {use: 'cost:Cost'}, population: 8, generations: 4}", other)
    rows, words = compare(run(sphere, name="a").folder, run(other, "generations=2", name="b").folder)
    assert "not compared" in words
    assert rows["problem"][0] == "benchmark"
    assert "result" not in rows
    assert "fitness of the best" not in rows
    assert "bests so far" not in words


def test_a_mean_has_its_error_and_single_scores_with_noise_no_curve(run, sphere, plugin, compare):
    plugin("noise", NOISY)
    settings = ["plugins=[noise]", "problem.use=noise:Noisy"]
    folders = [run(sphere, *settings, f"seed={seed}", name=f"s{seed}").folder for seed in (1, 2)]
    for folder in folders:
        result = json.loads((folder / "result.json").read_text()) | {"standard_error": 0.25}
        (folder / "result.json").write_text(json.dumps(result))
    rows, words = compare(*folders)
    assert rows["fitness of the best"][0] == f"{best(folders[0]):.6g} ± 0.25"
    assert "standard error of the fitness" not in rows
    assert "bests so far" not in words


def test_a_problem_compares_results_in_words_of_its_own(run, sphere, compare, monkeypatch):
    monkeypatch.setattr("evoprune.interfaces.parts.Reporting", Benchmark)
    shown = classmethod(lambda cls, result, facts: Shown(results={"loss": f"{result.seed} ± 0.1"}))
    said = {
        "words": {},
        "shares": frozenset(),
        "explained": {},
        "packages": (),
        "summary": lambda _: [],
        "shown": shown,
    }
    said |= {"about": classmethod(lambda cls, settings: ""), "drawn_references": classmethod(lambda cls: ())}
    for name, value in said.items():
        monkeypatch.setattr(Benchmark, name, value, raising=False)
    folders = [run(sphere, f"seed={seed}", name=f"s{seed}").folder for seed in (1, 2)]
    for folder in folders:
        protocol = {"unit": "m", "text": {"sha256": folder.name}}
        result = json.loads((folder / "result.json").read_text()) | {"protocol": protocol}
        (folder / "result.json").write_text(json.dumps(result))
    rows, words = compare(*folders)
    assert rows["loss"] == ["1 ± 0.1", "2 ± 0.1", "-"]
    assert "Measured differently (text)" in words


def test_a_long_beginning_of_all_names_is_left_out(run, sphere, compare):
    folders = [run(sphere, f"seed={seed}", name=f"sphere-of-20261203-{seed}a").folder for seed in (1, 2)]
    assert compare(*folders)[0]["result"][:2] == ["1a", "2a"]
