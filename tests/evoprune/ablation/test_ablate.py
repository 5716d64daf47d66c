"""Whole ablations of a test function, in seconds."""

import json

import pytest

from evoprune.ablation.results import compare, compared
from evoprune.ablation.runs import Finished, enough_seeds, improvements, least_p
from evoprune.records import recorded
from evoprune.report.reading import so_far

VARY = ("--vary", "operators.mate=blend,uniform")


@pytest.fixture
def ablation(ablate, capsys):
    code, folder = ablate(*VARY)
    assert code == 0
    capsys.readouterr()
    return folder


def rows(folder):
    (found,) = json.loads((folder / "ablation.json").read_text()).values()
    return found


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_variant_and_seed_is_run_to_the_budget_and_compared(ablate, capsys):
    code, folder = ablate(*VARY, "--vary", "operators.algorithm=generational,cma")
    assert code == 0
    histories = [list(recorded.lines(path)) for path in sorted(folder.glob("*/*/history.jsonl"))]
    assert len(histories) == 8
    for lines in histories:
        assert 60 <= sum(line["work"] for line in lines if "candidate" in line and not line["memo"]) < 60 + 10
    names = [row["variant"] for row in rows(folder)]
    assert names[:2] == ["mate=blend, algorithm=generational", "mate=blend, algorithm=cma"]
    printed = capsys.readouterr().out
    assert all(fact in printed for fact in (*names, "Evaluations: "))
    assert (folder / "curves.png").exists()


def test_too_few_seeds_are_told_before_the_first_run(ablate, capsys):
    ablate(*VARY)
    first, *_ = (line for line in capsys.readouterr().err.splitlines() if "seed" in line)
    assert "--seeds 6" in first


@pytest.mark.parametrize("variants", [1, 2, 3, 4, 9])
def test_the_default_number_of_seeds_is_the_least_that_can_show_a_difference(variants):
    seeds = enough_seeds(variants)
    assert least_p(variants, seeds) <= 0.05 < least_p(variants, seeds - 1)
    scores = {str(variant): [float(variant)] * seeds for variant in range(variants)}
    assert min((row.p for row in compare(scores)[1:]), default=0.0) <= least_p(variants, seeds) * 1.0001


def test_going_on_runs_only_what_is_missing(ablation, ablate):
    histories = {path: path.read_bytes() for path in ablation.glob("*/*/history.jsonl")}
    missing = sorted(histories)[1]
    for path in missing.parent.iterdir():
        path.unlink()
    missing.parent.rmdir()
    assert ablate(*VARY)[0] == 0
    lines = {"before": map(json.loads, histories.pop(missing).splitlines()), "after": recorded.lines(missing)}
    before, after = ([line | {"seconds": 0, "idle": 0} for line in some] for some in lines.values())
    assert before == after
    assert histories == {path: path.read_bytes() for path in histories}


def test_an_automatic_variant_is_the_one_it_names_also_when_it_goes_on(ablate):
    for _ in range(2):
        code, folder = ablate("--vary", "operators.algorithm=auto,additive", "--set", "operators.repair=shift")
        assert code == 0
    automatic, named = rows(folder)
    assert automatic["range"] == named["range"]


@pytest.mark.parametrize(
    ("unseen", "label", "expected"),
    [
        ({"a": [3.0, 4.0], "b": [1.0, 2.0]}, "fitness", ["fitness", "the result on data the search never saw"]),
        ({"a": [3.0, 4.0], "b": [1.0, None]}, "fitness", ["fitness"]),
        ({"a": [3.0, 4.0], "b": [1.0, 2.0]}, None, ["the result on data the search never saw"]),
    ],
)
def test_only_what_every_run_has_and_means_the_same_is_compared(unseen, label, expected):
    runs = [Finished(name, [1.0], [2.0], 1.0, score) for name, scores in unseen.items() for score in scores]
    assert [title.split(",")[0] for title in compared(runs, 1, "evaluations", label)] == expected


LABELLED = """
from evoprune import Evaluation
from evoprune.problems.benchmark import Benchmark

class Labelled(Benchmark):
    labels_of = classmethod(lambda cls, settings: ("cost",))

class Other(Labelled):
    def evaluate(self, genome): return Evaluation((super().evaluate(genome).values[0] + 1000.0,))
"""


@pytest.mark.usefixtures("drawn")
def test_problems_that_differ_in_their_class_alone_share_no_score(ablate, plugin):
    plugin("labelled", LABELLED)
    code, folder = ablate("--vary", "problem.use=labelled:Labelled,labelled:Other", "--set", "plugins=[labelled]")
    assert code == 0
    assert rows(folder)[1]["median"] >= 1000 > rows(folder)[0]["median"]
    assert ">cost</text>" in (folder / "curves.svg").read_text()


def test_another_ablation_of_the_same_name_is_refused(ablation, ablate, capsys):
    for path in ablation.glob("*/seed-1/result.json"):  # also where its runs are unfinished
        path.unlink()
    before = content(ablation)
    for vary in (("--vary", "operators.mate=deap.tools:cxTwoPoint,uniform"), (*VARY, "--set", "problem.dimensions=4")):
        assert ablate(*vary)[0] == 2
        assert "another experiment" in capsys.readouterr().err
    assert content(ablation) == before


def test_operators_of_different_spaces_are_refused_before_the_first_run(ablate, capsys):
    code, folder = ablate("--vary", "operators.mate=uniform,ordered")
    assert code == 2
    told = capsys.readouterr().err
    assert all(name in told for name in ("--vary", "uniform", "ordered", "permutation"))
    assert not [*folder.glob("*/*/history.jsonl")]


def test_a_budget_that_buys_no_score_is_refused_after_the_first_run(ablate, capsys):
    code, folder = ablate(*VARY, "--budget", "0.5")
    assert code == 2
    assert "--budget" in capsys.readouterr().err
    assert len(list(folder.glob("*/*/history.jsonl"))) == 1


def test_a_probe_that_becomes_a_candidate_is_counted_by_what_it_found():
    probe = {"candidate": 0, "memo": False, "work": 2.0, "fitness": [1.0], "probe": True}
    other = {"candidate": 1, "memo": False, "work": 2.0, "fitness": [3.0]}
    again = {"candidate": 2, "memo": True, "work": 0.0, "fitness": [1.0]}
    assert list(improvements([probe, other, again], -1.0)) == [(4.0, other), (4.0, again)]


def test_violations_count_before_the_fitness():
    scores = [(9.0, 2.0), (8.0, 3.0), (10.0, 1.0), (11.0, 0.0), (1.0, 0.5), (7.0, 0.0)]
    lines = [
        {"candidate": number, "memo": False, "work": 1.0, "fitness": [value]} | ({"violation": over} if over else {})
        for number, (value, over) in enumerate(scores)
    ]
    assert [line["candidate"] for _, line in improvements(lines, -1.0)] == [0, 2, 3, 5]


INFEASIBLE = """
from dataclasses import replace
from evoprune.problems.benchmark import Benchmark

class Infeasible(Benchmark):
    def evaluate(self, genome, fidelity=1.0):
        return replace(super().evaluate(genome), violation=1 + abs(genome[0]))
"""


def test_runs_without_a_feasible_candidate_are_compared_and_counted(ablate, plugin, capsys):
    plugin("infeasible", INFEASIBLE)
    code, folder = ablate(*VARY, "--set", "plugins=[infeasible]", "--set", "problem.use=infeasible:Infeasible")
    out = capsys.readouterr().out
    assert code == 0
    assert "4 of 4" in out
    run = folder / "01" / "seed-0"
    best = json.loads((run / "result.json").read_text())["best"]
    (run / "result.json").unlink()
    assert so_far(run)[0].result.best.model_dump() == best
