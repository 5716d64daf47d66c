"""Whole ablations of a test function, in seconds."""

import json

from evoprune.ablation.campaign import Campaign
from evoprune.ablation.grid import Variant
from evoprune.ablation.outcome import Curve, Finished, curve
from evoprune.ablation.results import compared
from evoprune.records import recorded
from evoprune.records.run_folder import locked


def works(folder):
    """The work of each run."""
    return [
        sum(line["work"] for line in recorded.lines(path) if "candidate" in line and not line["memo"])
        for path in sorted(folder.glob("*/*/history.jsonl"))
    ]


def test_every_variant_and_seed_is_run_to_the_budget_and_compared(ablate, capsys):
    code, folder = ablate("--vary", "operators.mate=blend,uniform", "--vary", "operators.algorithm=generational,cma")
    assert code == 0
    spent = works(folder)
    assert len(spent) == 8
    assert all(60 <= work < 60 + 10 for work in spent)
    (rows,) = json.loads((folder / "ablation.json").read_text()).values()
    assert [row["variant"] for row in rows][:2] == [
        "mate=blend, algorithm=generational", "mate=blend, algorithm=cma",
    ]  # fmt: skip
    assert "| mate=uniform, algorithm=cma | 2 |" in capsys.readouterr().out
    assert (folder / "curves.png").stat().st_size > 5000


def test_going_on_runs_only_what_is_missing(ablate):
    vary = ("--vary", "operators.mate=blend,uniform")
    _, folder = ablate(*vary)
    histories = {path: path.read_bytes() for path in folder.glob("*/*/history.jsonl")}
    missing = sorted(histories)[1]
    for path in missing.parent.iterdir():
        path.unlink()
    missing.parent.rmdir()
    assert ablate(*vary)[0] == 0
    for path, content in histories.items():
        if path == missing:
            strip = [
                {k: v for k, v in json.loads(x).items() if k not in {"seconds", "idle"}} for x in content.splitlines()
            ]
            again = [{k: v for k, v in line.items() if k not in {"seconds", "idle"}} for line in recorded.lines(path)]
            assert again == strip
        else:
            assert path.read_bytes() == content


def test_what_is_no_run_of_its_own_is_not_deleted(ablate, capsys, tmp_path):
    _, folder = ablate("--vary", "operators.mate=blend,uniform")
    capsys.readouterr()
    place = sorted(folder.glob("*/*/history.jsonl"))[1].parent
    kept = place.rename(tmp_path / "kept")
    for name in ("environment.json", "config.yaml", "result.json"):
        (kept / name).unlink()
    place.symlink_to(kept)
    before = sorted(kept.iterdir())
    assert ablate("--vary", "operators.mate=blend,uniform")[0] == 2
    assert "is a link" in capsys.readouterr().err
    place.unlink()
    kept.rename(place)
    assert ablate("--vary", "operators.mate=blend,uniform")[0] == 2
    assert "but no run that can be continued; move it away" in capsys.readouterr().err
    assert len(list(place.iterdir())) == len(before)


def titles(unseen, label="fitness"):
    """Of the tables on two variants whose results on unseen data are ``unseen``."""
    variants = [Variant(name=name, settings=[]) for name in unseen]
    asked = Campaign(file="", settings=[], variants=variants, seeds=2, budget=1, unit="evaluations", label=label)
    runs = [Finished(name, seed, Curve([1.0], [2.0]), 1.0, unseen[name][seed]) for name in unseen for seed in (0, 1)]
    return [title.split(",")[0] for title in compared(runs, asked)]


def test_a_result_that_is_not_known_of_every_run_is_not_compared():
    both = ["fitness", "the result on data the search never saw"]
    assert titles({"a": [3.0, 4.0], "b": [1.0, 2.0]}) == both
    assert titles({"a": [3.0, 4.0], "b": [1.0, None]}) == both[:1]


def test_fitness_is_not_compared_where_variants_minimise_different_things():
    assert titles({"a": [3.0, 4.0], "b": [1.0, 2.0]}, label=None) == ["the result on data the search never saw"]


OTHER = """
from evoprune import Settings
from problems.benchmark.problem import Benchmark, BenchmarkSettings

class Named(BenchmarkSettings):
    label: str = "a"

class Labelled(Benchmark):
    Settings = Named

    @classmethod
    def labels_of(cls, settings): return (settings.label,)
"""


def test_what_a_campaign_of_different_objectives_leaves_says_so(ablate, plugin, capsys):
    plugin("labelled", OTHER)
    settings = ["--set", "plugins=[labelled]", "--set", "problem.use=labelled:Labelled"]
    code, folder = ablate("--vary", "problem.label=a,b", *settings)
    assert code == 0
    assert "it differs between the variants" in capsys.readouterr().out
    assert not list(folder.glob("curves.*"))
    for page in ("report.html", "report.md"):
        text = (folder / page).read_text()
        assert "it differs between the variants" in text
        assert "best so far" not in text.lower()


def test_another_ablation_of_the_same_name_is_refused(ablate, capsys):
    ablate("--vary", "operators.mate=blend,uniform")
    assert ablate("--vary", "operators.mate=blend,uniform", "--set", "problem.dimensions=4")[0] == 2
    assert "another experiment" in capsys.readouterr().err


def test_an_unfinished_run_of_another_ablation_is_not_taken_for_one_of_this(ablate, capsys):
    _, folder = ablate("--vary", "operators.mate=blend,uniform")
    for path in folder.glob("*/*/result.json"):
        path.unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert ablate("--vary", "operators.mate=simulated_binary,uniform")[0] == 2
    assert "another experiment" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_bad_variant_is_found_before_anything_runs(ablate, capsys):
    code, folder = ablate("--vary", "operators.mate=blend,blandly")
    assert code == 2
    assert "did you mean 'blend'" in capsys.readouterr().err
    assert not folder.exists()


def test_a_curve_gives_the_best_that_a_budget_bought():
    curve = Curve([10.0, 20.0, 40.0], [5.0, 4.0, 1.0])
    assert [curve.at(budget) for budget in (10, 39, 40, 1000)] == [5, 4, 1, 1]


def test_a_budget_that_buys_no_score_is_refused_after_the_first_run(ablate, capsys):
    code, folder = ablate("--vary", "operators.mate=blend,uniform", "--budget", "0.5")
    assert code == 2
    assert "give a larger --budget" in capsys.readouterr().err
    assert len(list(folder.glob("*/*/history.jsonl"))) == 1


def test_problems_that_differ_in_their_class_alone_share_no_score(ablate, plugin):
    plugin(
        "shifted",
        """
        from dataclasses import replace
        from problems.benchmark.problem import Benchmark

        class Shifted(Benchmark):
            def evaluate(self, genome):
                found = super().evaluate(genome)
                return replace(found, values=(found.values[0] + 1000.0,))
        """,
    )
    code, folder = ablate("--vary", "problem.use=benchmark,shifted:Shifted", "--set", "plugins=[shifted]")
    assert code == 0
    (rows,) = json.loads((folder / "ablation.json").read_text()).values()
    assert rows[1]["median"] >= 1000 > rows[0]["median"]


def test_curves_are_of_what_all_variants_call_their_fitness(ablate, plugin):
    plugin(
        "named",
        """
        from problems.benchmark.problem import Benchmark

        class Cost(Benchmark):
            @classmethod
            def labels_of(cls, settings): return ("cost",)

        class Price(Cost):
            pass
        """,
    )
    code, folder = ablate("--vary", "problem.use=named:Price,named:Cost", "--set", "plugins=[named]")
    assert code == 0
    assert ">cost</text>" in (folder / "curves.svg").read_text()


def test_a_run_that_ended_before_it_scored_anything_begins_again(ablate):
    vary = ("--vary", "operators.mate=blend,uniform")
    _, folder = ablate(*vary)
    (rows,) = json.loads((folder / "ablation.json").read_text()).values()
    run = folder / "01" / "seed-1"
    for path in run.iterdir():
        if path.name not in {"lock", "status.json"}:
            path.unlink()
    assert ablate(*vary)[0] == 0
    assert list(json.loads((folder / "ablation.json").read_text()).values()) == [rows]


def test_a_run_that_is_still_loading_is_left_alone(ablate, capsys):
    vary = ("--vary", "operators.mate=blend,uniform")
    _, folder = ablate(*vary)
    run = folder / "01" / "seed-1"
    for path in run.iterdir():
        if path.name not in {"lock", "status.json"}:
            path.unlink()
    with locked(run):
        assert ablate(*vary)[0] == 2
    assert f"{run}: another process is still running it" in capsys.readouterr().err
    assert {path.name for path in run.iterdir()} == {"lock", "status.json"}


def test_a_probe_that_becomes_a_candidate_is_counted_by_what_it_found():
    probe = {"candidate": 0, "memo": False, "work": 2.0, "fitness": [1.0], "probe": True}
    other = {"candidate": 1, "memo": False, "work": 2.0, "fitness": [3.0]}
    again = {"candidate": 2, "memo": True, "work": 0.0, "fitness": [1.0]}
    assert curve([probe, other, again], -1.0) == Curve([4.0, 4.0], [3.0, 1.0])


def test_what_failed_in_one_run_is_tried_in_the_next(ablate, plugin):
    plugin("forgetful", FORGETFUL)
    code, folder = ablate(
        "--vary", "operators.mate=blend,uniform", "--set", "plugins=[forgetful]", "--set", "max_failures=1",
        "--set", "problem.use=forgetful:Forgetful",
        "--set", "problem.function=rastrigin", "--seeds", "1",
    )  # fmt: skip
    assert code == 0
    failed = [
        [line["genome"] for line in recorded.lines(path) if "candidate" in line and "failure" in line]
        for path in sorted(folder.glob("*/*/history.jsonl"))
    ]
    assert len(failed[0]) == 1
    assert failed[1] == []


FORGETFUL = """
import itertools
from problems.benchmark.problem import Benchmark

CALLS, FAILED = itertools.count(), []

class Forgetful(Benchmark):
    def evaluate(self, genome):
        if next(CALLS) == 5 or (genome in FAILED and len(FAILED) < 2):  # a second worker tries it too
            FAILED.append(genome)
            raise MemoryError("for a moment")
        return super().evaluate(genome)
"""


def test_a_folder_of_something_else_is_refused(ablate, run, sphere, capsys):
    folder = run(sphere).folder
    before = sorted(folder.iterdir())
    assert ablate("--vary", "population=8,9", "--runs-dir", str(folder.parent), name=folder.name)[0] == 2
    assert "no ablation's" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before
