import json
import math
import random
from itertools import product
from types import SimpleNamespace

import numpy
import pytest
import torch

from evoprune import Additive, Evaluate, Gene, Genes, Individual
from evoprune.operators.knapsack import Choices
from evoprune.problems.language_model.models.sublayers import find_sublayers
from evoprune.problems.language_model.problem import LanguageModel
from tests.benchmarks import gguf_types, search, structure
from tests.benchmarks.compare import Report, main, ways_of
from tests.benchmarks.front import covered
from tests.benchmarks.rivals import dynamic, lagrangian, mip, swapped
from tests.benchmarks.search import Search
from tests.problems.language_model.small import plain_perplexity, problem_in


@pytest.mark.parametrize("seed", range(5))
def test_solvers_against_all_genomes(seed):
    draws = numpy.random.default_rng(seed)
    sizes = draws.integers(1, 9, 5).tolist()
    genes = Genes([Gene.of_levels(str(place), "abc") for place in range(5)])
    budget = Additive(genes, [[2.0 * size, 1.0 * size, 0.0] for size in sizes], 25.0)
    search = SimpleNamespace(budget=budget, choices=Choices(budget))
    search.prices = Search.prices.func(search)
    costs = numpy.sort(draws.random((5, 3)), axis=1).ravel()

    def total(genome):
        return sum(costs[3 * place + int(level)] for place, level in enumerate(genome))

    within = [each for each in product((0.0, 1.0, 2.0), repeat=5) if budget.within(each)]
    least = min(map(total, within))
    assert total(mip(search, costs)) == pytest.approx(least)
    assert total(dynamic(search, costs)) == pytest.approx(least)
    assert tuple(lagrangian(search, costs)) in within
    assert total(lagrangian(search, costs)) <= 1.3 * least


@pytest.fixture
def searched(tmp_path):
    """Makes a search on a small random model whose attentions and MLPs are dropped."""

    def make(architecture="gpt2", tokens=10**6, **more):
        given = problem_in(tmp_path, architecture) | {"transforms": {"use": "sublayers"}}
        given |= {"budget": {"use": "parameters", "removed": 0.4}, "kl_top": 128} | more
        return Search(LanguageModel(LanguageModel.Settings.model_validate(given)), tokens)

    return make


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_taylor_is_the_change_of_the_mean_loss_with_each_weight(searched, architecture):
    search = searched(architecture)
    found = structure.taylor(search)[1::2]
    model, tokens = search.session.resident.model, search.session.texts.calibration.tokens
    assert search.spent == 3 * tokens.numel()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    parts = [[layer.weight.requires_grad_() for layer in sublayer.layers] for sublayer in find_sublayers(model)]
    with torch.enable_grad():
        torch.stack([model(window[None], labels=window[None]).loss for window in tokens]).mean().backward()
    assert found == pytest.approx(
        [sum(float((w.detach() * w.grad).abs().sum()) for w in part) for part in parts], rel=1e-4
    )


def test_alone_is_the_rise_of_the_loss(searched):
    search = searched()
    found = structure.alone(search)[1::2]
    tokens, transform = search.session.texts.search.tokens, search.session.transform
    assert search.spent == 7 * tokens.numel()
    model, values = search.session.resident.model, []
    for genome in ([0.0] * 6, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]):
        transform.apply(genome)
        values.append(plain_perplexity(model, tokens))
    assert found[3] == pytest.approx(math.log(values[1] / values[0]), rel=1e-4)


def test_equal_numbers_keep_the_budget_and_swaps_keep_them(searched):
    search = searched()
    assert structure.number(search) == 2
    costs = numpy.array([0.1, 0.6, 0.3, 0.4, 0.2, 0.5])
    genome = structure.equal_numbers(search, numpy.stack([0 * costs, costs], 1).ravel())
    assert genome == [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert structure.windows(search) == [[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]
    child = swapped(search, Individual(genome), lambda: random.choice(structure.kinds(search)))
    assert [sum(child[0::2]), sum(child[1::2])] == [2, 2]
    assert search.budget.within(child)


def test_a_genome_is_paid_once_at_a_fidelity_and_nothing_is_scored_beyond_the_tokens(searched):
    on, off = Individual([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]), Individual([0.0] * 6)
    search = searched(tokens=3 * 32)
    search.run(iter([Evaluate([on, off], 0.5), Evaluate([on, on], 0.5)]))
    assert search.spent == 2 * 32
    assert search.best is None
    search.run(iter([Evaluate([on])]))  # two windows are more than is left
    assert search.spent == search.session.fitness.tokens_scored == 2 * 32
    search = Search(search.problem, 6 * 32)
    search.run(iter([Evaluate([off]), Evaluate([on], probe=True)]))
    assert search.best is None
    search.run(iter([Evaluate([on])]))
    assert search.best == on


def test_the_report_is_perplexity_and_divergence_from_dense(searched):
    problem = searched().problem
    perplexity, divergence = Report(problem)([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    model, tokens = problem.session.resident.model, problem.session.texts.report.tokens
    assert perplexity == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)
    log_q = model(tokens).logits[:, :-1].log_softmax(-1)
    problem.session.transform.apply(problem.session.transform.dense)
    log_p = model(tokens).logits[:, :-1].log_softmax(-1)
    assert divergence == pytest.approx(float((log_p.exp() * (log_p - log_q)).sum(-1).mean()), rel=1e-4)


@pytest.mark.slow
def test_every_way_runs_and_a_file_is_completed(searched, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_IDLE", 20)
    once, seeded = ways_of(searched().problem, [])
    problem = {"use": "language_model", **problem_in(tmp_path), "transforms": "sublayers"}
    problem["budget"] = {"use": "parameters", "removed": 0.4}
    (tmp_path / "problem.yaml").write_text(json.dumps({"problem": problem, "operators": {"repair": "shift"}}))
    out = tmp_path / "out.jsonl"
    command = [str(out), str(tmp_path / "problem.yaml"), "--limits", "problem.budget.removed=0.4", "--tokens", "3000"]
    main([*command, "--seeds", "0", "--ways", "alone, MIP", "random"])
    first, names = out.read_text(), [*once, "EvoPress", "random"]
    main([*command, "--seeds", "0", "1", "--ways", *names])
    assert out.read_text().startswith(first)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    runs = sorted((line["way"], line["seed"]) for line in lines)
    assert runs == sorted([(name, 0) for name in names] + [(name, 1) for name in names if name in seeded])
    assert all(line["tokens"] <= 3000 and "kl" in line for line in lines)
    with pytest.raises(SystemExit):
        main([*command, "--screening", "0.5"])


def test_costs_of_types_are_those_of_a_loop_over_the_levels():
    ggml = pytest.importorskip("evoprune.problems.language_model.gguf.ggml")
    pytest.importorskip("llama_cpp_py_sync")
    text = {"source": "bundled:python-docs", "split": "validation", "window": 32, "windows": 2}
    given = {"model": "bundled:gpt2-mini", "device": "cpu", "dtype": "float32", "objective": "kl"}
    given |= {"transforms": {"use": "types", "types": ["Q8_0", "Q4_0"]}, "held_out_windows": 0}
    given |= {"search_text": text, "report_text": text | {"split": "test"}, "calibration_text": text}
    given |= {"budget": {"use": "bits_per_weight", "at_most": 9}}
    search = Search(LanguageModel(LanguageModel.Settings.model_validate(given)), 10**6)
    found, transform = gguf_types.imatrix(search), search.session.transform
    transform.apply(transform.dense)
    importance = gguf_types.importance_of(search.session.resident, search.session.texts.calibration.tokens)
    expected = []
    for matrix, gene in zip(transform.matrices, search.problem.genes, strict=True):
        dense = matrix.rows(matrix.weight).clone().numpy()
        weights = importance[matrix.name].numpy() if matrix.name in importance else None
        for kind in gene.levels:
            data = (
                dense
                if kind == "16 bits"
                else ggml.dequantize(ggml.quantize(dense, kind, weights), kind, dense.shape[1])
            )
            ones = numpy.ones(dense.shape[1]) if weights is None else weights
            expected.append(((data - dense).astype(float) ** 2 @ ones).sum())
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("places", [[], [(1.2, 20.0)], [(1.5, 1.0), (2.0, 0.1), (2.5, 0.5), (0.5, 5.0), (4.0, 0.01)]])
def test_the_area_of_a_front_is_the_sum_of_narrow_strips(places):
    width, total = 0.001, 0.0
    for at in numpy.arange(1.0 + width / 2, 3.0, width):
        best = min([10.0, *(divergence for size, divergence in places if size <= at)])
        total += width * math.log10(10.0 / best)
    assert covered(places, 1.0, 3.0, 10.0) == pytest.approx(total, abs=1e-2)
