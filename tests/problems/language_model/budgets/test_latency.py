"""The latency of cut and quantised models, with counted weights in place of milliseconds."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from evoprune import Coupled
from evoprune.problems.language_model.budgets.latency import TIMED, latency_terms, measure_savings, timed_levels
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms import latency
from evoprune.testing import check_budget
from tests.problems.language_model.small import drawn

WIDTHS = ["heads", {"use": "channels", "step": 32}]
DECODE = Load("decode", length=16)
REST = 100_000


@pytest.fixture
def transform(language_model):
    return lambda transforms: language_model(transforms=transforms).session.transform


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        (WIDTHS, [[0, 1, 2], [3, 4, 5]]),
        ("sublayers", [[0, 2, 4], [1, 3, 5]]),
        ({"use": "heads", "keep": [0]}, [[1, 2]]),
    ],
)
def test_genes_of_equal_shapes_are_alike(transform, transforms, expected):
    assert transform(transforms).costs.timer(DECODE).gene_classes() == expected


@pytest.mark.parametrize("count", [2, 3, 4, 9, 10, 11, 49, 1000])
def test_of_many_levels_a_few_are_timed_the_last_two_among_them(count):
    levels = timed_levels(count)
    assert levels == sorted(set(levels))
    assert {count - 1, max(1, count - 2)} <= set(levels)
    assert 0 not in levels
    assert len(levels) == min(count - 1, TIMED + 1)


def test_tables_fall_however_noisy_times_are(transform, monkeypatch):
    rng = random.Random(0)
    monkeypatch.setattr(latency, "timer", lambda *_: lambda: rng.uniform(1.0, 2.0))
    dense, tables = measure_savings(transform({"use": "channels", "step": 32}), DECODE, 0.0)
    for table in tables:
        assert table[0] == 0
        assert table == sorted(table, reverse=True)
    assert -sum(table[-1] for table in tables) <= dense


def test_all_together_save_no_more_than_a_model_that_lost_all_of_it(transform, monkeypatch):
    def run():  # no sublayer but the first saves time
        return 10.0 if any(map(any, made.block_fingerprints())) else 20.0

    monkeypatch.setattr(latency, "timer", lambda *_: run)
    made = transform("sublayers")
    dense, tables = measure_savings(made, DECODE, 0.0)
    assert dense == 20
    assert sum(table[1] for table in tables) == pytest.approx(-10)


@pytest.mark.parametrize("cuts", [WIDTHS, ["sublayers", {"use": "channels", "step": 32, "drop": False}]])
def test_where_a_weight_takes_a_millisecond_the_terms_sum_to_the_weights(transform, monkeypatch, cuts):
    made = transform(cuts)
    weights = lambda: made.resident.prunable_weights - made.resident.removed_weights + REST  # noqa: E731
    monkeypatch.setattr(latency, "timer", lambda *_: weights)
    dense, tables = measure_savings(made, DECODE, 0.0)
    budget, rng = Coupled(made.genes, latency_terms(made, tables), None), random.Random(0)
    assert dense == made.resident.prunable_weights + REST
    for _ in range(5):
        genome = drawn(made.genes, rng)
        made.apply(genome)
        assert budget.spent(genome) == pytest.approx(-made.resident.removed_weights, rel=0.01)


def test_nothing_is_refitted_to_be_timed(transform):
    made = transform(["heads", "channels"])
    bare = made.bare()
    assert list(bare.genes) == [replace(gene, level_losses=()) for gene in made.genes]


TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
BLOCKS = {"use": "sublayers", "genes": "block"}
WIDTH = {"use": "channels", "genes": "model", "step": 64, "drop": False}

SAVED = {"16 bits": 0.0, "Q8_0": 0.4, "Q4_0": 0.7}  # shares of a matrix's time
EMBEDDING = "transformer.wte"  # no cut makes it smaller; its types save milliseconds

# milliseconds for each of a parameter's numbers, by its name
RATES = {
    "uniform": lambda _: 1e-3,
    "slower attention": lambda name: 1e-3 if "mlp" in name or "ln_2" in name else 2e-3,
    "faster width": lambda name: 1e-3 if "c_fc" in name or name.endswith("mlp.c_proj.weight") else 2e-3,
}


def passed(transform, genome, rate):
    """The milliseconds of the model of ``genome``, parameter by parameter."""
    transform.apply(genome)
    kinds = {gene.name: gene.levels[int(value)] for gene, value in zip(transform.genes, genome, strict=True)}
    total = -SAVED[kinds[EMBEDDING]]
    for name, parameter in transform.resident.model.named_parameters():
        share = SAVED.get(kinds.get(name.removesuffix(".weight")), 0.0)
        if not name.startswith(EMBEDDING):
            total += parameter.numel() * rate(name) * max(0.0, 1 - share)
    return total


@pytest.mark.parametrize(
    ("cuts", "rate"),
    [
        ([BLOCKS, WIDTH], "faster width"),
        ([BLOCKS | {"keep": [0]}, WIDTH], "uniform"),  # more unknowns than kinds of genes
        (["heads", {"use": "channels", "step": 64}], "slower attention"),
    ],
)
def test_a_parameter_takes_as_long_as_its_size_and_type_say(transform, cuts, rate):
    pytest.importorskip("llama_cpp_py_sync")
    made, rng = transform([*cuts, TYPES]), random.Random(0)
    dense = passed(made, made.dense, RATES[rate])
    tables = []
    for place, gene in enumerate(made.genes):  # each level of each gene alone
        alone = [[*made.dense[:place], float(level), *made.dense[place + 1 :]] for level in range(len(gene.levels))]
        tables.append([passed(made, genome, RATES[rate]) - dense for genome in alone])
    budget = Coupled(made.genes, latency_terms(made, tables), None, "milliseconds", lambda _: dense)
    check_budget(budget)
    for _ in range(20):
        genome = drawn(made.genes, rng)
        assert budget.spent(genome) == pytest.approx(passed(made, genome, RATES[rate]), rel=1e-6)
