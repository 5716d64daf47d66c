import pytest

from evoprune.experiment import parameters, registry
from tests.runs import without_times

SWAPS = [
    (slot, name)
    for slot in parameters.DATA_ARGUMENTS
    for name in sorted(registry.operators(slot))
    if "genes" in (registry.breeds(slot, name) or ["genes"])
]
NEEDED = {
    "double_tournament": "fitness_size: 3, parsimony_size: 1.4, fitness_first: true",
    "simulated_binary": "eta: 15",
    "flip_bit": "indpb: 0.1",
}
SMALL = ("population=8", "generations=3", "problem.dimensions=4")


def test_a_seed_repeats_a_run_and_another_does_not(run, sphere):
    first, again, other = (
        without_times(run(sphere, f"seed={seed}", name=name).history) for seed, name in [(1, "a"), (1, "b"), (2, "c")]
    )
    assert first == again
    assert [line.get("genome") for line in first] != [line.get("genome") for line in other]


def test_the_stored_experiment_repeats_the_run(run, sphere):
    first = run(sphere, "operators.repair=shift", "operators.mate.use=uniform", name="a")
    again = run(first.folder / "config.yaml", name="b")
    assert without_times(first.history) == without_times(again.history)
    assert (first.folder / "config.yaml").read_text() == (again.folder / "config.yaml").read_text()


@pytest.mark.parametrize(("slot", "name"), SWAPS, ids=[".".join(swap) for swap in SWAPS])
def test_every_registered_operator_can_be_swapped_in(run, slot, name):
    answer = run("problems/rastrigin.yaml", *SMALL, f"operators.{slot}={{use: {name}, {NEEDED.get(name, '')}}}")
    assert answer.code == 0
    assert f"use: {name}" in (answer.folder / "config.yaml").read_text()
    if slot == "repair":
        assert all(sum(line["genome"]) == pytest.approx(0, abs=1e-8) for line in answer.candidates)


def test_operators_of_deap_drop_in_and_keep_the_bounds(run):
    answer = run(
        "problems/rastrigin.yaml",
        *SMALL,
        "operators.select={use: 'deap.tools:selTournament', tournsize: 2}",
        "operators.mate={use: 'deap.tools:cxBlend', alpha: 9}",
        "operators.mutate={use: 'deap.tools:mutGaussian', mu: 0, sigma: 9, indpb: 0.5}",
    )
    genes = [abs(gene) for line in answer.candidates for gene in line["genome"]]
    assert max(genes) == 5.12


COUNTED = """
from evoprune.problems.benchmark import Benchmark

calls = []

class Counted(Benchmark):
    def evaluate(self, genome):
        calls.append(tuple(genome))
        return super().evaluate(genome)
"""


def test_every_genome_is_scored_once(run, write, plugin):
    plugin("counted_problem", COUNTED)
    file = write(
        "{plugins: [counted_problem], problem: {use: 'counted_problem:Counted'}, population: 10, generations: 5}"
    )
    # Children that are mostly copies of a parent: the memo has work to do.
    answer = run(file, "mate_probability=0", "mutate_probability=0.3")
    import counted_problem

    optimum, *calls = counted_problem.calls
    scored = [tuple(line["genome"]) for line in answer.candidates if not line["memo"]]
    assert scored == calls
    assert len(set(calls)) == len(calls) == answer.json("result.json")["evaluations"]
    assert optimum == (0.0,) * 10
    values = {}
    for line in answer.candidates:
        assert line["memo"] == (tuple(line["genome"]) in values)
        assert values.setdefault(tuple(line["genome"]), line["fitness"]) == line["fitness"]
    assert len(values) < len(answer.candidates)


def test_the_elite_is_not_scored_again_and_children_name_their_parents(run, sphere):
    answer = run(
        sphere, "population=10", "generations=4", "operators.survive.use=elitist", "operators.survive.fraction=0.3"
    )
    candidates = answer.candidates
    assert [line["candidate"] for line in candidates] == list(range(10 + 4 * 7))
    for line in candidates:
        if line["generation"] == 0:
            assert line["parents"] == []
        else:
            assert 1 <= len(line["parents"]) <= 2
            assert all(candidates[parent]["generation"] < line["generation"] for parent in line["parents"])
