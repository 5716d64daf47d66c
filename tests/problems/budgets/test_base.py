"""A budget of someone else: it measures before the search, and states its cost in the result."""

from evoprune.experiment.registry import plugin
from tests.problems.small import outcome_of

BUDGET = """
from evoprune import Additive
from problems.budgets import MeasuredBudget
from problems.budgets import ReportedBudget


class Blocks(Additive, ReportedBudget):
    of = "blocks with both parts"

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


def test_it_needs_no_change_here(language_model, tmp_path, monkeypatch):
    (tmp_path / "few_blocks.py").write_text(BUDGET)
    monkeypatch.syspath_prepend(tmp_path)
    plugin("few_blocks")
    budget = {"use": "few_blocks:Few", "share": 0.7}
    problem = language_model(transforms={"use": "sublayers", "genes": "block"}, budget=budget)
    facts = problem.take_measurements()
    assert facts == {"most": 3}
    problem.use_measurements(facts)
    assert problem.budget.limit == 0.7 * 3
    found = problem.report(outcome_of(problem, [0.0, 1.0, 0.0]), None)
    assert found["cost"]["blocks"] == {"dense": 3, "evolved": 2}
    assert found["protocol"]["blocks"] == "blocks with both parts"
