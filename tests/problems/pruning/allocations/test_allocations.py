"""Every registered allocation: within bounds and on budget; and what each is known for."""

import random
from itertools import product

import pytest
import torch

from evoprune.experiment.registry import find_plugin, names
from problems.pruning.allocations.alpha import tail_exponent
from problems.pruning.allocations.budget import shift
from problems.pruning.allocations.layer_errors import cheapest
from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.masking.masks import BASE, Masks
from problems.pruning.settings import ALLOCATIONS, PruningSettings

TEXT = {"source": "bundled:python-docs", "window": 32, "windows": 2}


@pytest.fixture(scope="module", params=["block", "matrix"])
def evaluator(request):
    """The bundled model with genes of either kind, within bounds that bind."""
    return Evaluator(
        PruningSettings(
            genes=request.param,
            dtype="float32",
            sparsity=0.5,
            min_sparsity=0.35,
            max_sparsity=0.6,
            search_text=TEXT | {"split": "validation"},
            report_text=TEXT | {"split": "test"},
            calibration_text=TEXT | {"split": "validation", "windows": 8},
        )
    )


@pytest.mark.parametrize("name", sorted(names(ALLOCATIONS)))
def test_an_allocation_is_within_bounds_and_on_budget(name, evaluator):
    genome = find_plugin(ALLOCATIONS, name)(evaluator)
    assert len(genome) == len(evaluator.groups)
    assert all(0.35 <= gene <= 0.6 for gene in genome)
    sizes = [group.size for group in evaluator.groups]
    assert sum(g * s for g, s in zip(genome, sizes, strict=True)) / sum(sizes) == pytest.approx(0.5, abs=1e-9)
    assert evaluator.evaluate(genome).measures["sparsity"] == pytest.approx(0.5, abs=1e-4)


def test_a_global_ranking_removes_the_lowest_scores_of_the_whole_model(evaluator):
    loose = Evaluator(evaluator.settings.model_copy(update={"min_sparsity": 0.0, "max_sparsity": 1.0}))
    genome = find_plugin(ALLOCATIONS, "global")(loose)
    scores = {matrix.name: matrix.weight.abs().flatten() for matrix, _ in loose.scored()}
    threshold = torch.cat(list(scores.values())).sort().values[sum(map(len, scores.values())) // 2]
    for group, gene in zip(loose.groups, genome, strict=True):
        below = sum(int((scores[matrix.name] < threshold).sum()) for matrix in group.matrices) / group.size
        assert gene == pytest.approx(below, abs=2e-3)


def test_a_matrix_of_zeros_does_not_flatten_a_global_ranking(evaluator):
    whole = find_plugin(ALLOCATIONS, "global_normalised")(evaluator)
    first = evaluator.matrices[0]

    class Zeroed:
        """The same evaluator, but all scores of its first matrix are 0."""

        def __getattr__(self, name):
            return getattr(evaluator, name)

        def scored(self):
            return ((m, score * 0 if m is first else score) for m, score in evaluator.scored())

    genome = find_plugin(ALLOCATIONS, "global_normalised")(Zeroed())
    assert max(genome) - min(genome) > 0.5 * (max(whole) - min(whole))


def test_blocks_alike_get_the_same_and_smaller_matrices_lose_less(evaluator):
    genome = find_plugin(ALLOCATIONS, "erdos_renyi")(evaluator)
    by_size = dict(zip((group.size for group in evaluator.groups), genome, strict=True))
    assert genome == [by_size[group.size] for group in evaluator.groups]
    assert list(dict(sorted(by_size.items())).values()) == sorted(by_size.values())


def replace_weights(evaluator, changed):
    """Let ``evaluator`` mask the weights ``changed``, by matrix, in place of its model's."""
    evaluator.masks = Masks(
        evaluator.groups, evaluator.masks._stored | {BASE + matrix.name: new for matrix, new in changed.items()}
    )


def test_owl_spares_the_group_with_outliers(evaluator):
    spared = Evaluator(evaluator.settings.model_copy(update={"min_sparsity": 0.0, "max_sparsity": 1.0}))
    before = find_plugin(ALLOCATIONS, "owl")(spared)
    changed = {matrix: spared.masks.base(matrix).clone() for matrix in spared.groups[2].matrices}
    for weights in changed.values():
        weights.view(-1)[::50] *= 20
    replace_weights(spared, changed)
    genome = find_plugin(ALLOCATIONS, "owl")(spared)
    assert genome[2] < before[2]
    assert max(genome) - min(genome) == pytest.approx(0.16, abs=1e-6)


@pytest.mark.parametrize("exponent", [2.0, 3.5])
def test_hills_estimate_finds_the_exponent_of_a_power_law(exponent):
    """Eigenvalues at the quantiles of a Pareto law with density x^-exponent."""
    places = torch.arange(1, 2001, dtype=torch.float64) / 2001
    values = (1 - places) ** (-1 / (exponent - 1))
    assert tail_exponent(torch.diag(values.sqrt())) == pytest.approx(exponent, rel=0.02)


def test_an_exponent_is_the_same_on_any_number_of_threads():
    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(tail_exponent(weight))
    torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_a_shift_moves_all_genes_alike_until_a_bound_holds_them(evaluator):
    count = len(evaluator.groups)
    genome = shift(evaluator, [0.1] + [0.5] * (count - 1))
    assert genome[0] == 0.35
    assert len(set(genome[1:])) == 1


def test_the_cheapest_levels_are_those_that_trying_all_finds():
    rng = random.Random(0)
    for _ in range(100):
        groups, levels = rng.randint(1, 5), rng.randint(2, 4)
        errors = [[rng.random() for _ in range(levels)] for _ in range(groups)]
        sizes = [rng.randint(1, 6) for _ in range(groups)]
        need = rng.randint(0, (levels - 1) * sum(sizes))

        def total(table, chosen):
            return sum(row[level] for row, level in zip(table, chosen, strict=True))

        counted = [[size * level for level in range(levels)] for size in sizes]
        enough = [c for c in product(range(levels), repeat=groups) if total(counted, c) >= need]
        found = cheapest(errors, sizes, need)
        assert tuple(found) in enough
        assert total(errors, found) == pytest.approx(min(total(errors, chosen) for chosen in enough))


def test_layer_errors_spare_the_group_that_costs_most_alone(evaluator):
    """In a model all of whose blocks but one are cut to nothing, only that one costs anything."""
    loose = Evaluator(evaluator.settings.model_copy(update={"min_sparsity": 0.0, "max_sparsity": 1.0}))
    others = [matrix for group in loose.groups[1:] for matrix in group.matrices]
    replace_weights(loose, {matrix: torch.zeros_like(loose.masks.base(matrix)) for matrix in others})
    genome = find_plugin(ALLOCATIONS, "layer_errors")(loose)
    assert genome[0] < 0.1
    assert min(genome[1:]) >= genome[0]
