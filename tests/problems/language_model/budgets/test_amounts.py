"""Budgets that count, against models and files that are written."""

import pytest
import torch
from safetensors.torch import save_model
from torch.utils.flop_counter import FlopCounterMode

from evoprune import InputError
from evoprune.experiment.registry import plugin
from evoprune.problems.language_model.budgets.amounts import file_bytes, of_model, operations, parameters, weights
from evoprune.problems.language_model.models.blocks import count_zeros
from evoprune.problems.language_model.parts import Machine, Report
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.testing import check_budget
from tests.problems.language_model.small import ARCHITECTURES, outcome_of, problem_in


@pytest.mark.parametrize("genes", ["block", "matrix", "block_and_kind"])
def test_the_spent_weights_are_those_that_are_left(pruning, genes):
    transform = pruning(genes=genes).session.transform
    budget = weights(transform, removed=0.4)
    matrices = transform.resident.matrices
    genome = transform.transforms[0].sparsities.uniform(0.4)
    transform.apply(genome)
    total = sum(matrix.size for matrix in matrices)
    assert budget.spent(genome) == pytest.approx(total - count_zeros(matrices), abs=1e-4 * total)
    assert budget.spent(transform.dense) == total
    assert budget.limit == pytest.approx(0.6 * total)
    assert budget.kept(genome)
    assert weights(transform).limit is None


def test_the_excess_is_the_mean_of_the_genes_less_the_share_that_goes(session):
    """Exactly, and not but for rounding."""
    genome, sizes = [0.1, 0.35, 0.8], [group.size for group in session.transform.transforms[0].groups]
    mean = sum(gene * size for gene, size in zip(genome, sizes, strict=True)) / sum(sizes)
    assert weights(session.transform, removed=0.45).excess(genome) == pytest.approx(0.45 - mean, abs=1e-15)


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
    assert file_bytes(transform, removed=0.25).spent(GENOME) == size
    assert problem.budget.spent(GENOME) == pytest.approx(8 * size / transform.resident.parameters)
    check_budget(problem.budget)
    assert file_bytes(transform, removed=0.25).limit == 0.75 * file_bytes(transform, removed=0.25).spent(
        transform.dense
    )
    assert file_bytes(transform, at_most=10**6).limit == 10**6


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"transforms": WIDTHS, "budget": {"use": "bytes"}}, "problem.budget: names no limit"),
        ({"transforms": WIDTHS, "budget": {"use": "bytes", "removed": 0.25, "at_most": 10**6}}, "at_most and removed"),
        ({"budget": {"use": "bytes", "removed": 0.25}}, "Weights counts in weights"),
        ({"budget": {"use": "operations", "removed": 0.25}}, "Weights counts in weights"),
    ],
)
def test_what_has_no_limit_or_leaves_zeros_is_refused(language_model, settings, fragment):
    with pytest.raises(InputError, match=fragment):
        _ = language_model(**settings).budget


LENGTH = 48
CUTS = {"widths": (WIDTHS, [1.0, 0.0, 2.0, 0.0, 2.0, 3.0]), "depth": ("sublayers", [1.0, 0.0, 0.0, 1.0, 0.0, 0.0])}


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


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_spent_is_what_the_smaller_model_computes(problems, architecture, cut):
    transforms, genome = CUTS[cut]
    problem = problems(architecture, transforms)
    transform, budget = problem.session.transform, problem.budget
    genome = transform.genes.nearest(genome)
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


BUDGET = """
from evoprune import Additive
from evoprune.problems.language_model.budgets import MeasuredBudget
from evoprune.problems.language_model.budgets import ReportedBudget
from evoprune.problems.language_model.parts import Machine, Report


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
    sublayers = {"use": "sublayers", "genes": "block"}
    problem = language_model(transforms=sublayers, budget=budget)
    facts = Machine(problem).take_measurements()
    assert facts == {"most": 3}
    problem.settle(facts)
    assert problem.budget.limit == 0.7 * 3
    found = Report(problem).report(outcome_of(problem, [0.0, 1.0, 0.0]), None)
    assert found["cost"]["blocks"] == {"dense": 3, "evolved": 2}
    assert found["protocol"]["blocks"] == "blocks with both parts"
    problem = language_model(transforms=sublayers, trade_offs=[budget])
    problem.settle(facts)
    assert problem.labels_of(problem.settings)[1] == "Few"
    assert problem.evaluate([0.0, 1.0, 0.0]).values[1] == 2
    assert problem.limits.choose([(1.0, 3.0), (3.0, 2.1), (2.0, 2.1)]) == 2
