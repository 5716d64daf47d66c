"""Budgets that count, against models and files that are written."""

import pytest
from safetensors.torch import save_model

from evoprune import InputError
from evoprune.experiment.registry import plugin
from evoprune.problems.language_model.budgets.amounts import file_bytes, parameters, weights
from evoprune.problems.language_model.parts import Machine, Report
from evoprune.testing import check_budget
from tests.problems.language_model.small import outcome_of


@pytest.mark.parametrize("genes", ["block", "matrix", "block_and_kind"])
def test_the_spent_weights_are_those_that_are_left(pruning, genes):
    transform = pruning(genes=genes).session.transform
    budget, genome = weights(transform, removed=0.4), transform.uniform(0.4)
    matrices = transform.resident.matrices
    transform.apply(genome)
    total = sum(matrix.size for matrix in matrices)
    assert budget.spent(genome) == pytest.approx(total - sum(matrix.zeros for matrix in matrices), abs=1e-4 * total)
    assert budget.excess(genome) == pytest.approx(0.0, abs=1e-15)  # exactly, and not but for rounding
    assert budget.spent(transform.dense) == total
    assert budget.limit == pytest.approx(0.6 * total)
    assert weights(transform).limit is None


def test_parameters_are_limited_to_a_share_of_the_blocks_whatever_was_applied_before(language_model):
    transform = language_model(transforms={"use": "sublayers", "genes": "block"}).session.transform
    budget = parameters(transform, removed=0.5)
    assert budget.excess([1.0, 1.0, 0.0]) < 0 < budget.excess([1.0, 0.0, 0.0])
    transform.apply([1.0, 0.0, 1.0])
    assert parameters(transform, removed=0.5).limit == budget.limit
    left = sum(parameter.numel() for parameter in transform.resident.model.parameters())
    assert budget.spent([1.0, 0.0, 1.0]) == left


WIDTHS = ["heads", "channels"]
GENOME = [1.0, 0.0, 4.0, 0.0, 2.0, 4.0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_bytes_are_those_of_a_file_beside_its_header(language_model, tmp_path, dtype):
    problem = language_model(transforms=WIDTHS, dtype=dtype, budget={"use": "bits_per_weight", "at_most": 24})
    transform = problem.session.transform
    transform.apply(GENOME)
    save_model(transform.resident.model, str(tmp_path / "weights"))
    written = (tmp_path / "weights").read_bytes()
    size = len(written) - 8 - int.from_bytes(written[:8], "little")
    budget = file_bytes(transform, removed=0.25)
    assert budget.spent(GENOME) == size
    assert budget.limit == 0.75 * budget.spent(transform.dense)
    assert file_bytes(transform, at_most=10**6).limit == 10**6
    assert problem.budget.spent(GENOME) == pytest.approx(8 * size / transform.resident.parameters)
    check_budget(problem.budget)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"transforms": WIDTHS, "budget": {"use": "bytes"}}, "problem.budget: "),
        ({"transforms": WIDTHS, "budget": {"use": "bytes", "removed": 0.25, "at_most": 10**6}}, "at_most and removed"),
        ({"budget": {"use": "bytes", "removed": 0.25}}, "Weights .*weights.*'parameters'"),
        ({"transforms": WIDTHS, "budget": {"use": "tokens", "at_most": 9}}, "transform vocabulary"),
    ],
)
def test_no_limit_two_limits_and_units_that_zeros_do_not_save_are_refused(language_model, settings, fragment):
    with pytest.raises(InputError, match=fragment):
        _ = language_model(**settings).budget


BUDGET = """
from evoprune import Additive
from evoprune.problems.language_model.budgets import MeasuredBudget, ReportedBudget


class Blocks(Additive, ReportedBudget):
    description = "blocks with both parts"

    def cost(self, transform, best):
        return {"dense": self.spent(transform.dense), "evolved": self.spent(best)}


class Few(MeasuredBudget):
    share: float = 0.5

    def measure(self, transform):
        return {"most": len(transform.genes)}

    def budget(self, transform, facts):
        prices = [[1.0, 0.0] for _ in transform.genes]
        return Blocks(transform.genes, prices, self.share * facts["most"], "blocks")
"""


def test_a_measured_budget_of_a_plugin_limits_and_is_reported(language_model, tmp_path, monkeypatch):
    (tmp_path / "few_blocks.py").write_text(BUDGET)
    monkeypatch.syspath_prepend(tmp_path)
    plugin("few_blocks")
    budget = {"use": "few_blocks:Few", "share": 0.7}
    sublayers = {"use": "sublayers", "genes": "block"}
    problem = language_model(transforms=sublayers, budget=budget)
    facts = Machine(problem).take_measurements()
    problem.use_measurements(facts)
    assert problem.budget.limit == 0.7 * 3
    found = Report(problem).report(outcome_of(problem, [0.0, 1.0, 0.0]), None)
    assert found["cost"]["blocks"] == {"dense": 3, "evolved": 2}
    assert found["protocol"]["blocks"] == "blocks with both parts"
