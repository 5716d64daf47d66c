"""The search for a formula that scores weights, on small random models."""

import json
import math

import pytest

from evoprune.problems.language_model.score_search.problem import KNOWN, ScoreSearch, ScoreSearchSettings
from evoprune.problems.language_model.scores.formula import parsed
from evoprune.testing import check_problem
from tests.problems.language_model.small import random_model, run_in, save


@pytest.fixture(scope="module")
def search(small):
    """Makes the problem on a random GPT-2."""
    return lambda **settings: ScoreSearch(ScoreSearchSettings(**small | settings))


def value(problem, text):
    return problem.evaluate(parsed(text).genome).values[0]


def test_the_problem_keeps_the_laws_of_problems(search):
    check_problem(search())


@pytest.mark.parametrize("within", ["row", "matrix"])
@pytest.mark.parametrize("objective", ["perplexity", "kl"])
def test_fitness_is_that_of_the_model_pruned_by_the_formula(within, objective, search, pruning):
    problem = search(within=within, objective=objective, sparsity=0.4)
    value(problem, "w")  # a mask before, of which nothing may stay
    for text in ("w * x", "(w / r + w / c) * sqrt(x)", "x", "w - g"):
        score = {"formula": text, "within": within}
        other = pruning(score=score, genes="matrix", objective=objective)
        assert value(problem, text) == pytest.approx(other.evaluate(other.session.transform.uniform(0.4)).values[0])


def test_known_scores_are_bred_and_judged(search):
    problem = search()
    assert {str(problem.space.chosen(genome)) for genome in problem.initial_genomes()} == {*KNOWN.values()}
    assert problem.contenders == problem.references()
    assert search(held_out_windows=0).contenders == {}
    assert problem.judge(parsed("w").genome) != value(problem, "w")


def test_fitness_on_several_models_is_their_geometric_mean(search, small, tmp_path):
    other = save(random_model("llama"), tmp_path / "other")
    both, alone, second = search(also=[other]), search(), search(model=other)
    expected = math.sqrt(value(alone, "w * x") * value(second, "w * x"))
    assert value(both, "w * x") == pytest.approx(expected)
    assert both.evaluate(parsed("w").genome).work == 2 * alone.evaluate(parsed("w").genome).work
    assert both.fingerprint().items() >= alone.fingerprint().items()


def test_a_result_names_its_formula_and_the_loss_of_known_scores(small, tmp_path, pruning, capsys):
    run = run_in(tmp_path, small | {"use": "score_search"}, operators={}, population=6)
    result = json.loads((run / "result.json").read_text())
    assert {*result["losses"][small["model"]]} == {"dense", "evolved", *KNOWN}
    formula = result["formula"]
    assert parsed(formula).genome == tuple(result["best"]["genome"])
    assert formula in capsys.readouterr().out
    again = pruning(score={"formula": formula}, genes="matrix").session
    genome = again.transform.uniform(0.5)
    again.transform.apply(genome)
    perplexity = again.fitness.score_model(again.texts.report).perplexity
    assert perplexity == pytest.approx(result["losses"][small["model"]]["evolved"])
    assert result["protocol"]["models"][0]["score"] == f"{formula} by row"


@pytest.mark.parametrize(
    ("given", "told"), [({"also": ["./missing"]}, "problem.also: "), ({"model": "./none"}, "problem.model: ")]
)
def test_a_missing_model_is_told_by_its_key(given, told, small):
    (line,) = ScoreSearch.missing(ScoreSearchSettings(**small | given))
    assert line.startswith(told)
