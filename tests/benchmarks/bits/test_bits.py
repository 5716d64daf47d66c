import json
import random
from itertools import product
from types import SimpleNamespace

import numpy
import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune import Additive, Gene, Genes
from operators.knapsack import Choices
from problems.gguf import ggml
from problems.language_model.problem import LanguageModel, LanguageModelSettings
from tests.benchmarks.bits.compare import main, preset_lines
from tests.benchmarks.bits.costs import first_order, fisher, imatrix
from tests.benchmarks.bits.evopress import evopress
from tests.benchmarks.bits.kinds import Kinds
from tests.benchmarks.bits.solvers import dynamic, lagrangian, mip
from tests.benchmarks.bits.task import Task, remembering

TEXTS = [
    *("--search-text", "bundled:python-docs:validation", "--search-windows", "2", "32"),
    *("--report-text", "bundled:python-docs:test", "--report-windows", "2", "32"),
    *("--calibration-windows", "2", "32", "--types", "Q8_0", "Q5_0", "Q4_0"),
]


@pytest.fixture
def problem():
    def text(split, windows):
        return {"source": "bundled:python-docs", "split": split, "window": 32, "windows": windows}

    settings = LanguageModelSettings(
        model="bundled:gpt2-mini",
        device="cpu",
        dtype="float32",
        objective="kl",
        transforms={"use": "types", "types": ["Q8_0", "Q5_0", "Q4_0"]},
        search_text=text("validation", 2),
        report_text=text("test", 2),
        calibration_text=text("validation", 2),
        held_out_windows=0,
    )
    return remembering(LanguageModel(settings))


def small_task(sizes, limit):
    genes = Genes([Gene.of_levels(str(place), "abc") for place in range(len(sizes))])
    prices = [[2.0 * size, 1.0 * size, 0.0] for size in sizes]
    budget = Additive(genes, prices, limit)
    resident = SimpleNamespace(parameters=8)
    transform = SimpleNamespace(resident=resident)
    problem = SimpleNamespace(genes=genes)
    return SimpleNamespace(
        budget=budget, choices=Choices(budget), problem=problem, transform=transform, prices=lambda: numpy.ravel(prices)
    )


@pytest.mark.parametrize("seed", range(5))
def test_solvers_against_all_genomes(seed):
    draws = numpy.random.default_rng(seed)
    task = small_task(draws.integers(1, 9, 5).tolist(), 25.0)
    costs = numpy.sort(draws.random((5, 3)), axis=1).ravel()

    def total(genome):
        return sum(costs[3 * place + int(level)] for place, level in enumerate(genome))

    within = [each for each in product((0.0, 1.0, 2.0), repeat=5) if task.budget.within(each)]
    least = min(map(total, within))
    assert total(mip(task, costs)) == pytest.approx(least)
    assert total(dynamic(task, costs)) == pytest.approx(least)
    assert tuple(lagrangian(task, costs)) in within
    assert total(lagrangian(task, costs)) <= 1.3 * least


def test_costs_are_those_of_a_loop_over_the_levels(problem):
    kinds = Kinds(problem.session)
    task = Task(problem, lambda tokens: None)
    found = {cost.__name__: cost(task, kinds) for cost in (imatrix, first_order, fisher)}
    number = 0
    for matrix, gene in zip(kinds.transform.matrices, problem.genes, strict=True):
        problem.session.transform.apply(problem.session.transform.dense)
        dense = matrix.rows(matrix.weight).clone().numpy()
        importance = kinds.importance.get(matrix.name)
        for kind in gene.levels:
            change = numpy.zeros_like(dense)
            if kind != "16 bits":
                data = ggml.quantize(dense, kind, importance)
                change = ggml.dequantize(data, kind, dense.shape[1]) - dense
            weights = numpy.ones(dense.shape[1]) if importance is None else importance
            assert found["imatrix"][number] == pytest.approx((change.astype(float) ** 2 @ weights).sum(), rel=1e-4)
            number += 1
    assert all(len(each) == number and (each >= 0).all() and each.max() > 0 for each in found.values())


def test_presets_are_those_of_llama_cpp_and_weigh_what_is_written(problem):
    kinds = Kinds(problem.session)
    lines = {line["way"]: line for line in preset_lines(problem, kinds, 100.0, SimpleNamespace(lacks=lambda **_: True))}
    assert set(lines["preset Q8_0"]["kinds"]) == {"Q8_0"}
    four = lines["preset Q4_0"]
    assert {"Q4_0", "Q8_0"} <= set(four["kinds"])
    assert four["size"] < lines["preset Q8_0"]["size"]
    written = kinds.in_llama(four["kinds"])
    assert written["bytes"] == kinds.bytes(four["kinds"])
    assert written["perplexity"] == pytest.approx(four["report_ppl"], rel=0.02)


def test_children_keep_the_limit_and_the_numbers_of_equal_shapes(problem):
    random.seed(0)
    task = Task.of(problem, 9.0, lambda tokens: None)
    search = evopress(task, children=8, survivors=(4, 2))
    for _ in range(6):
        step = next(search)
        for individual in getattr(step, "individuals", []):
            assert task.budget.within(individual)
            individual.fitness.values = (random.random(),)


def test_the_command_completes_what_is_there_and_tells_of_real_files(tmp_path, capsys):
    ways = ["uniform", "imatrix error, Lagrangian", "additive", "EvoPress, 16 children"]
    command = [str(tmp_path / "out.jsonl"), *TEXTS, "--tokens", "2500", "--bits", "5.7", "--seeds", "0", "1", "--files"]
    main([*command, "--ways", *ways[:2]])
    before = (tmp_path / "out.jsonl").read_text()
    main([*command, "--ways", *ways])
    after = (tmp_path / "out.jsonl").read_text()
    assert after.startswith(before)
    lines = [json.loads(line) for line in after.splitlines()]
    assert [(line["way"], line["seed"]) for line in lines if "seed" in line] == [
        ("uniform", 0), ("imatrix error, Lagrangian", 0), ("additive", 0), ("EvoPress, 16 children", 0),
        ("additive", 1), ("EvoPress, 16 children", 1),
    ]  # fmt: skip
    assert all(line["tokens"] <= 2500 and line["size"] <= 5.7 for line in lines if "seed" in line)
    files = [line["file"] for line in lines if "file" in line]
    assert "additive" in files and any(name.startswith("preset ") for name in files)
    assert "| additive |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--tokens", "10"])
