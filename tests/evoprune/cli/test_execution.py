"""What a run says as it begins and as it ends."""

import shlex

TOLD = """
from evoprune import Exporting, Reporting
from problems.benchmark import Benchmark

class Told(Benchmark, Reporting, Exporting):
    def report(self, outcome, folder): return {}
    @classmethod
    def summary(cls, result): return [f"found by seed {result.seed}"]

    def export(self, genome, result, folder, options): ...
"""


def test_it_begins_with_where_it_writes_and_on_what(run, sphere, no_figures):
    answer = run(sphere)
    first, second, *_ = answer.err.splitlines()
    assert first.startswith(f"{answer.folder}: 1 worker with ")
    assert all(option in first for option in ("-n", "--threads", "--devices"))
    assert second == f"{answer.folder}: 3 genes"


def test_it_ends_with_what_was_found_and_what_to_do_with_it(run, sphere, evoprune, no_figures):
    answer = run(sphere)
    first, *_, page = answer.out.splitlines()
    best = answer.json("result.json")["best"]["fitness"][0]
    assert first.startswith(f"best fitness {best:.6g} after ")
    assert evoprune(*shlex.split(page.removeprefix("a page: python -m evoprune "))).code == 0
    assert "to export it: " not in answer.out


def test_a_problem_adds_what_it_has_to_tell_and_to_export(run, plugin, write, no_figures):
    plugin("told_problem", TOLD)
    file = write("{plugins: [told_problem], problem: 'told_problem:Told', population: 4, generations: 1, seed: 5}")
    answer = run(file)
    assert "found by seed 5" in answer.out.splitlines()
    assert answer.out.splitlines()[-1] == f"to export it: python -m evoprune export {answer.folder} OUT"
