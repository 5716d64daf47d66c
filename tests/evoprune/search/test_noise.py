"""A search with noise: each score on a sample, a result that was not chosen by its luck, the same lines anywhere."""

import json
import random
import shutil
from statistics import fmean, stdev

import numpy
import pytest

from evoprune import Evaluation, Gene, Genes, InputError, Permutation, Problem, Search, minimize
from evoprune.api import Run
from evoprune.operators.regression import Regression
from evoprune.search.noise import Means
from tests.runs import lines as all_lines

GENES = [Gene("x", -5.0, 5.0), Gene("y", -5.0, 5.0)]
HOW = {"noisy": True, "evaluations": 200, "seed": 1}


def true(genome):
    return (genome[0] - 1) ** 2 + (genome[1] + 2) ** 2


def noisy(genome):
    return true(genome) + random.gauss(0.0, 1.0)


def own_noise(genome):
    """Noise that depends on the genome, so that candidates of a generation do not share it."""
    return true(genome) + random.Random(f"{genome} {random.random()}").gauss(0.0, 1.0)


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def scores(folder):
    return [line for line in history(folder) if "sample" in line and not line.get("memo")]


@pytest.mark.parametrize("algorithm", ["auto", "cma", "generational"])
def test_the_value_is_a_mean_of_samples_that_no_choice_has_read(algorithm, tmp_path):
    found = minimize(own_noise, GENES, **HOW, algorithm=algorithm, folder=tmp_path / "run")
    lines = scores(tmp_path / "run")
    last = max(line["sample"] for line in lines if "candidate" in line)
    finals = [line for line in lines if "finalist" in line]
    assert min(line["sample"] for line in finals) > last
    own = [line["fitness"][0] for line in finals if line["genome"] == list(found.genome)]
    others = {line["sample"] for line in finals if line["genome"] != list(found.genome)}
    unread = [line["fitness"][0] for line in finals if line["sample"] > max(others, default=last)]
    assert found.values[0] == pytest.approx(fmean(unread))
    assert found.standard_error == pytest.approx(stdev(unread) / len(unread) ** 0.5)
    assert len(own) >= len(unread) >= 10
    assert found.evaluations == len(lines) == 200


def test_finalists_show_their_scores_in_the_search_beside_those_of_the_race(tmp_path):
    minimize(own_noise, GENES, **HOW, algorithm="random_search", folder=tmp_path / "run")
    before = {tuple(line["genome"]): line["fitness"][0] for line in scores(tmp_path / "run") if "candidate" in line}
    rows = json.loads((tmp_path / "run" / "result.json").read_text())["finalists"].values()
    assert len(rows) > 1
    assert {row["fitness"] for row in rows} <= {*before.values()}


def test_reported_values_are_right_about_as_often_as_their_errors_say():
    found = [minimize(own_noise, GENES, noisy=True, evaluations=200, seed=seed) for seed in range(20)]
    right = sum(abs(each.values[0] - true(each.genome)) <= 2 * each.standard_error for each in found)
    assert right >= 16  # a chance of 0.3% below it at 95%
    assert fmean(true(each.genome) for each in found) < 0.1


def test_candidates_of_a_generation_share_their_random_numbers(tmp_path):
    minimize(noisy, GENES, **HOW, algorithm="generational", folder=tmp_path / "run")
    away: dict[int, set[float]] = {}
    for line in scores(tmp_path / "run"):
        away.setdefault(line["sample"], set()).add(round(line["fitness"][0] - true(line["genome"]), 9))
    assert all(len(each) == 1 for each in away.values())
    assert len({min(each) for each in away.values()}) == len(away) > 2


def test_survivors_are_scored_again_on_each_sample(tmp_path):
    minimize(own_noise, GENES, **HOW, algorithm="generational", folder=tmp_path / "run")
    samples: dict[tuple[float, ...], set[int]] = {}
    for line in scores(tmp_path / "run"):
        assert line["sample"] not in samples.setdefault(tuple(line["genome"]), set())
        samples[tuple(line["genome"])].add(line["sample"])
    assert max(map(len, samples.values())) > 2


@pytest.mark.parametrize("space", [GENES, Permutation(range(6))])
def test_workers_and_interruptions_change_nothing(space, tmp_path):
    f = own_noise if space is GENES else noisy
    runs = [tmp_path / "one", tmp_path / "two", tmp_path / "cut"]
    one = minimize(f, space, **HOW, folder=runs[0])
    two = minimize(f, space, **HOW, folder=runs[1], workers=2)
    shutil.copytree(runs[0], runs[2])
    (runs[2] / "result.json").unlink()
    content = (runs[0] / "history.jsonl").read_bytes()
    for part in (0.3, 0.97):  # in the search, and in the race
        (runs[2] / "history.jsonl").write_bytes(content[: int(part * len(content))])
        assert minimize(f, space, **HOW, folder=runs[2]) == one.__class__(**{**vars(one), "folder": runs[2]})
        (runs[2] / "result.json").unlink()
    first, *others = [all_lines(folder) for folder in runs]
    assert all(other == first for other in others)
    assert (one.genome, one.values) == (two.genome, two.values)


def test_a_longer_search_goes_on_where_the_shorter_one_raced(tmp_path):
    minimize(own_noise, GENES, **HOW, folder=tmp_path / "run")
    minimize(own_noise, GENES, **HOW | {"evaluations": 300}, folder=tmp_path / "run")
    minimize(own_noise, GENES, **HOW | {"evaluations": 300}, folder=tmp_path / "whole")
    assert all_lines(tmp_path / "run") == all_lines(tmp_path / "whole")


def test_several_objectives_and_told_scores_are_refused():
    with pytest.raises(InputError, match="one objective"):
        minimize(lambda x: (x[0], -x[0]), GENES, noisy=True, objectives=2)

    class Noisy(Problem):
        genes = Genes(GENES)
        noisy = True

        def evaluate(self, genome, fidelity=1.0):
            return Evaluation((noisy(genome),))

    globals()["Noisy"] = Noisy
    Noisy.__qualname__ = "Noisy"
    with pytest.raises(InputError, match="noise"):
        Search(Noisy(Noisy.Settings()))


def test_a_score_is_the_sum_of_genome_sample_and_noise():
    """With as many scores of each genome on each sample, estimates are those of a two-way analysis of variance."""
    draws = numpy.random.RandomState(0)
    genomes = [(float(place),) for place in range(200)]
    effects, noise = numpy.array([0.0, 30.0, -50.0, 10.0]), draws.randn(200, 4)
    table = numpy.arange(200)[:, None] + effects + noise
    means = Means(-1.0)
    for sample, column in enumerate(table.T):
        for genome, value in zip(genomes, column, strict=True):
            means.add(genome, 1.0, Evaluation((value,)))
        means.close(sample, 1.0)
    expected = table.mean(1) - (table.mean(0) - table[:, 0].mean()).mean()
    assert [means.of(genome).values[0] for genome in genomes] == pytest.approx(expected.tolist(), abs=0.05)
    assert means.standard_error(genomes[0]) == pytest.approx(0.5, rel=0.1)


def test_without_difficulties_of_samples_means_are_those_of_scores():
    """Of one genome in common, the difficulty of a sample cannot be told from noise."""
    means, values = Means(-1.0), [1.0, 3.0, 2.5]
    for sample, value in enumerate(values):
        means.add((0.0,), 1.0, Evaluation((value,)))
        means.add((sample + 1.0,), 1.0, Evaluation((value + 7,)))
        means.close(sample, 1.0)
    assert means.of((0.0,)).values[0] == pytest.approx(fmean(values))
    assert means.standard_error((0.0,)) == pytest.approx(stdev(values) / 3**0.5)
    assert means.best(1) == [(0.0,)]


def test_the_regression_is_that_of_a_gaussian_process_with_its_kernel():
    """In the space of functions, where each sample has an offset of its own, with the ridge that the model chose."""
    genes, draws = Genes(GENES), numpy.random.RandomState(0)
    points, samples = draws.uniform(-5, 5, (40, 2)), numpy.arange(40) % 3
    values = numpy.array([true(point) for point in points]) + 0.5 * draws.randn(40) + 50 * samples
    model = Regression(genes, points, values, samples, [0.0, 0.0], numpy.array([5.0, 5.0]))
    contrasts = numpy.linalg.svd(numpy.eye(3)[samples].T)[2][3:]  # orthonormal, without the offsets

    def terms(at):
        x, y = numpy.asarray(at).T / 5
        return numpy.array([x, y, x**2 - 1 / 3, y**2 - 1 / 3, 0.2**0.5 * x * y]).T

    x, z = contrasts @ terms(points), contrasts @ values / values.std()
    kernel, best = x @ x.T, (-numpy.inf, 0.0, 0.0)
    for ridge in 10.0 ** numpy.arange(-10, 4.1, 0.5):
        covariance = kernel + ridge * numpy.eye(37)
        scale = z @ numpy.linalg.solve(covariance, z) / 37
        evidence = numpy.log(ridge) - 37 * numpy.log(scale) - numpy.linalg.slogdet(covariance)[1]
        best = max(best, (evidence, ridge, scale))
    _, ridge, scale = best
    (change,) = terms([[1.0, -2.0]]) - terms([[0.0, 0.0]])
    weights = numpy.linalg.solve(kernel + ridge * numpy.eye(37), x @ change)
    variance = scale * (change @ change - change @ x.T @ weights) * values.var()
    gain, deviation = model.gain([0.0, 0.0], [1.0, -2.0])
    assert gain == pytest.approx(-weights @ z * values.std(), rel=1e-6)
    assert deviation == pytest.approx(variance**0.5, rel=1e-4)
    assert model.variance == pytest.approx(ridge * scale * values.var(), rel=1e-6)
    assert model.minimise([0.0, 0.0], numpy.array([5.0, 5.0])) == pytest.approx([1.0, -2.0], abs=0.3)


@pytest.mark.parametrize("most", [7, 50, 101])
@pytest.mark.parametrize("algorithm", ["auto", "generational", "nsga2"])
def test_budgets_of_evaluations_are_kept_exactly(most, algorithm):
    objectives = 2 if algorithm == "nsga2" else 1
    f = (lambda x: (x[0] ** 2, (x[1] - 1) ** 2)) if objectives == 2 else true
    assert minimize(f, GENES, evaluations=most, algorithm=algorithm, objectives=objectives).evaluations == most


def test_a_batch_function_with_noise_gets_rows():
    found = minimize(lambda rows: numpy.array([noisy(row) for row in rows]), GENES, **HOW, batch=True)
    assert found == minimize(noisy, GENES, **HOW)


SCREENED = """
import random
from evoprune import Evaluate, Evaluation, Generation, Genes, Problem

class Screened(Problem):
    genes, noisy, has_fidelities, work_unit = Genes.real(["x"], 0.0, 1.0), True, True, "tokens"

    def references(self):
        return {"half": [0.5]}

    def evaluate(self, genome, fidelity=1.0):
        return Evaluation((genome[0] + random.gauss(0.0, 0.1),), work=1000 * fidelity)

def screen(toolbox, *, population):
    while True:
        people = [toolbox.individual() for _ in range(population)]
        yield Evaluate(people, 0.01)
        yield Evaluate(people[:2])
        yield Generation(people[:2])
"""


def test_known_solutions_are_scored_on_a_sample_and_the_race_is_charged_for_whole_evaluations(plugin, write, run):
    plugin("screened", SCREENED)
    file = write("""\
        problem: {use: "screened:Screened"}
        operators: {algorithm: "screened:screen"}
        population: 50
        budget: 200000
        plugins: [screened]
        """)
    answer = run(file, name="run")
    (known,) = [line for line in answer.history if "reference" in line]
    assert known["fitness"][0] == pytest.approx(0.5, abs=0.5)
    assert "failure" not in known
    assert Run.open(answer.folder).result.work == pytest.approx(200_000, rel=0.05)


@pytest.mark.parametrize("algorithm", ["auto", "generational"])
def test_samples_of_different_difficulty_do_not_change_a_search(algorithm):
    def found(difference):
        def score(x):
            return true(x) + difference * random.random()

        return minimize(score, GENES, noisy=True, evaluations=300, algorithm=algorithm).genome

    assert found(1000.0) == pytest.approx(found(0.0), abs=1e-6)


def test_local_search_scores_its_current_genome_again(tmp_path):
    """Else it keeps a lucky one."""
    minimize(lambda tour: random.random(), Permutation(9), folder=tmp_path / "run", population=20, **HOW)
    generations = [line["generation"] for line in history(tmp_path / "run") if "candidate" in line]
    assert generations.count(0) == 1
    assert generations.count(5) > 20
