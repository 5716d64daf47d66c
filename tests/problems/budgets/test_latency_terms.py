"""The latency of a cut and quantised model, against a sum over the parameters that the model has then."""

from __future__ import annotations

import random

import pytest

from evoprune import Coupled
from evoprune.testing import check_budget
from problems.budgets.latency_terms import time_terms

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
BLOCKS = {"use": "sublayers", "genes": "block"}
WIDTH = {"use": "channels", "genes": "model", "step": 64, "drop": False}

SAVED = {"16 bits": 0.0, "Q8_0": 0.4, "Q4_0": 0.7}
"""The share of a matrix's time that a type saves."""

EMBEDDING = "transformer.wte"
"""What no cut makes smaller; its types save milliseconds."""


@pytest.fixture
def stacked(language_model):
    return lambda *cuts: language_model(transforms=[*cuts, TYPES]).session.transform


def one_for_all(_):
    """A parameter takes as long as it is large."""
    return 1e-3


def slower_attention(name):
    """Half of that for MLPs."""
    return 1e-3 if "mlp" in name or "ln_2" in name else 2e-3


def faster_width(name):
    """Half of that for what a narrower MLP has less of."""
    return 1e-3 if "c_fc" in name or name.endswith("mlp.c_proj.weight") else 2e-3


def passed(transform, genome, rate, saved):
    """The milliseconds of the model of ``genome``, parameter by parameter."""
    transform.apply(genome)
    kinds = {gene.name: gene.levels[int(value)] for gene, value in zip(transform.genes, genome, strict=True)}
    total = -saved[kinds[EMBEDDING]]
    for name, parameter in transform.resident.model.named_parameters():
        share = saved[kinds[name[: -len(".weight")]]] if name[: -len(".weight")] in kinds else 0.0
        if not name.startswith(EMBEDDING):
            total += parameter.numel() * rate(name) * max(0.0, 1 - share)
    return total


def measured(transform, rate, saved):
    """What each level of each gene alone changes."""
    dense, tables = passed(transform, transform.dense, rate, saved), []
    for place, gene in enumerate(transform.genes):
        alone = [
            [*transform.dense[:place], float(level), *transform.dense[place + 1 :]] for level in range(len(gene.levels))
        ]
        tables.append([passed(transform, genome, rate, saved) - dense for genome in alone])
    return dense, tables


@pytest.mark.parametrize(
    ("cuts", "rate"),
    [
        ([BLOCKS, WIDTH], faster_width),
        ([BLOCKS | {"keep": [0]}, WIDTH], one_for_all),  # more unknowns than kinds of genes
        (["heads", {"use": "channels", "step": 64}], slower_attention),
        (["sublayers"], slower_attention),
    ],
    ids=["blocks and width", "one block kept", "heads and channels", "sublayers"],
)
def test_a_parameter_takes_as_long_as_its_size_and_type_say(stacked, cuts, rate):
    transform, rng = stacked(*cuts), random.Random(0)
    dense, tables = measured(transform, rate, SAVED)
    budget = Coupled(transform.genes, time_terms(transform, tables), None, "milliseconds", lambda _: dense)
    check_budget(budget)
    for _ in range(20):
        genome = [float(rng.randint(0, int(gene.up))) for gene in transform.genes]
        assert budget.spent(genome) == pytest.approx(passed(transform, genome, rate, SAVED), rel=1e-6)
