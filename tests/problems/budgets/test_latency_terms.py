"""The latency of a cut and quantised model, against a sum over the parameters that the model has then."""

from __future__ import annotations

import random

import pytest

from evoprune import Coupled
from evoprune.testing import check_budget
from problems.budgets.latency import time_terms

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

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
        (["sublayers"], "slower attention"),
    ],
)
def test_a_parameter_takes_as_long_as_its_size_and_type_say(language_model, cuts, rate):
    transform, rng = language_model(transforms=[*cuts, TYPES]).session.transform, random.Random(0)
    dense = passed(transform, transform.dense, RATES[rate])
    tables = []
    for place, gene in enumerate(transform.genes):  # each level of each gene alone
        levels = [float(level) for level in range(len(gene.levels))]
        alone = [[*transform.dense[:place], level, *transform.dense[place + 1 :]] for level in levels]
        tables.append([passed(transform, genome, RATES[rate]) - dense for genome in alone])
    budget = Coupled(transform.genes, time_terms(transform, tables), None, "milliseconds", lambda _: dense)
    check_budget(budget)
    for _ in range(20):
        genome = [float(rng.randint(0, int(gene.up))) for gene in transform.genes]
        assert budget.spent(genome) == pytest.approx(passed(transform, genome, RATES[rate]), rel=1e-6)
