"""The budget in operations, against those that PyTorch counts while the model runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from evoprune.testing import check_budget
from problems.budgets.amounts import of_model, operations
from problems.language_model.problem import LanguageModel, LanguageModelSettings
from tests.problems.small import ARCHITECTURES, problem_in

LENGTH = 48
WIDTHS = (["heads", "channels"], [1.0, 0.0, 2.0, 0.0, 2.0, 3.0])
DEPTH = ("sublayers", [1.0, 0.0, 0.0, 1.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    homes = {}

    def make(architecture, transforms):
        if architecture not in homes:
            homes[architecture] = problem_in(tmp_path_factory.mktemp(architecture), architecture)
        budget = {"use": "operations", "removed": 0.25, "length": LENGTH}
        return LanguageModel(LanguageModelSettings(**homes[architecture], transforms=transforms, budget=budget))

    return make


def counted(model):
    """By PyTorch, a token of ``LENGTH``; half of what attention takes, as nothing after a token is seen."""
    model.set_attn_implementation("eager")  # whose products are all counted
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, LENGTH, dtype=torch.int64), use_cache=False)
    counts = {str(operation): count for operation, count in counter.get_flop_counts()["Global"].items()}
    attention = sum(count for name, count in counts.items() if "bmm" in name and "baddbmm" not in name)
    return (sum(counts.values()) - attention / 2) / LENGTH


@pytest.mark.parametrize("transforms", [WIDTHS, DEPTH], ids=["widths", "depth"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_spent_is_what_the_smaller_model_computes(problems, architecture, transforms):
    problem = problems(architecture, transforms[0])
    transform, budget = problem.session.transform, problem.budget
    genome = transform.genes.nearest(transforms[1])
    for each in (transform.dense, genome):
        transform.apply(each)
        found = counted(transform.resident.model)
        assert budget.spent(each) == of_model(transform.resident, LENGTH)
        # projections of embeddings outside the blocks, which OPT has, are not counted
        outside = 2 * 2 * 64 * 32 if architecture == "opt" else 0
        assert budget.spent(each) + outside == found
    check_budget(budget)


def test_the_share_is_one_of_the_blocks(problems):
    problem = problems("gpt2", "sublayers")
    transform = problem.session.transform
    all_blocks = operations(transform, removed=1.0, length=LENGTH)
    assert all_blocks.spent([1.0] * 6) == all_blocks.limit
    assert problem.budget.limit - all_blocks.limit == pytest.approx(
        0.75 * (problem.budget.spent(transform.dense) - all_blocks.limit)
    )
