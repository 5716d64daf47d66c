"""Allocations: within bounds, on the budget, and what each spares."""

import pytest
import torch

from evoprune import Additive, Genes
from evoprune.experiment.registry import find_plugin, names
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.transforms.weights.allocations import fit, shift, tail_exponent
from evoprune.problems.language_model.transforms.weights.genes import group
from evoprune.problems.language_model.transforms.weights.settings import ALLOCATIONS
from tests.problems.language_model.small import random_model, save

BOUNDS = {"sparsity": 0.5, "min_sparsity": 0.35, "max_sparsity": 0.6}
LOOSE = {"sparsity": 0.5, "min_sparsity": 0.0, "max_sparsity": 1.0}


@pytest.fixture(params=["block", "matrix"])
def bound(request, pruning):
    """With genes of either kind, within bounds that bind."""
    return pruning(genes=request.param, **BOUNDS)


@pytest.fixture(params=["block", "matrix"])
def loose(request, pruning):
    """Makes problems with genes of either kind, whose bounds bind nowhere."""
    return lambda **settings: pruning(**{"genes": request.param} | LOOSE | settings)


@pytest.fixture
def find():
    """The allocation of a name for a problem."""
    return lambda name, problem: find_plugin(ALLOCATIONS, name)(
        problem.session.transform.transforms[0], problem.budget, problem.session.fitness.loss
    )


@pytest.mark.parametrize("name", sorted(names(ALLOCATIONS)))
def test_an_allocation_is_within_bounds_and_on_budget(name, bound, find):
    genome = find(name, bound)
    assert len(genome) == len(bound.session.transform.transforms[0].groups)
    assert bound.genes.allow(genome)
    sizes = [group.size for group in bound.session.transform.transforms[0].groups]
    assert sum(g * s for g, s in zip(genome, sizes, strict=True)) / sum(sizes) == pytest.approx(0.5, abs=1e-9)
    assert bound.evaluate(genome).measures["sparsity"] == pytest.approx(0.5, abs=1e-4)


SIZES = [1.0, 2.0, 3.0]


@pytest.fixture
def budget():
    """Genes between 0.2 and 0.8 whose mean, counted by ``SIZES``, must be a half."""
    genes = Genes.real(["a", "b", "c"], 0.2, 0.8)
    return Additive.at_share(genes, [-size for size in SIZES], -0.5, fixed=sum(SIZES))


def mean(genome):
    return sum(gene * size for gene, size in zip(genome, SIZES, strict=True)) / sum(SIZES)


def test_the_scale_that_is_on_the_budget_is_found(budget):
    genome = fit(budget, lambda scale: [0.5 * scale, scale, scale], 0.0, 2.0)
    assert mean(genome) == pytest.approx(0.5, abs=1e-12)
    assert genome[1] == genome[2] == pytest.approx(2 * genome[0])
    genome = fit(budget, lambda scale: [scale, 0.0, 2 * scale], 0.0, 2.0)
    assert genome[1] == 0.2
    assert mean(genome) == pytest.approx(0.5, abs=1e-12)


def test_where_no_scale_is_on_the_budget_the_nearest_end_is_taken(budget):
    assert fit(budget, lambda scale: [scale] * 3, 0.2, 0.3) == pytest.approx([0.3] * 3)
    assert fit(budget, lambda scale: [scale] * 3, 0.6, 0.7) == pytest.approx([0.6] * 3)


def test_a_shift_moves_all_genes_alike_until_a_bound_holds_them(budget):
    genome = shift(budget, [-3.0, 0.1, 0.3])
    assert genome[0] == 0.2
    assert genome[2] - genome[1] == pytest.approx(0.2)
    assert mean(genome) == pytest.approx(0.5, abs=1e-12)


def test_groups_of_a_size_get_the_same_and_smaller_matrices_lose_less(loose, find):
    problem = loose()
    genome = find("erdos_renyi", problem)
    by_size = dict(zip((group.size for group in problem.session.transform.transforms[0].groups), genome, strict=True))
    assert genome == [by_size[group.size] for group in problem.session.transform.transforms[0].groups]
    assert list(dict(sorted(by_size.items())).values()) == sorted(by_size.values())


def test_what_is_kept_of_a_matrix_is_in_proportion_to_the_sum_of_its_sides(pruning, find):
    problem = pruning(genes="matrix", min_sparsity=0.0, max_sparsity=1.0, sparsity=0.5)
    kept = [
        (1 - gene) * group.size / sum(group.matrices[0].weight.shape)
        for gene, group in zip(
            find("erdos_renyi", problem), problem.session.transform.transforms[0].groups, strict=True
        )
    ]
    assert kept == pytest.approx([kept[0]] * len(kept))


@pytest.mark.parametrize("exponent", [2.0, 3.5])
def test_hills_estimate_finds_the_exponent_of_a_power_law(exponent):
    """Eigenvalues at the quantiles of a Pareto law with density x^-exponent."""
    places = torch.arange(1, 1001, dtype=torch.float64) / 1001
    values = (1 - places) ** (-1 / (exponent - 1))
    assert tail_exponent(torch.diag(values.sqrt())) == pytest.approx(exponent, rel=0.03)


def test_an_exponent_is_the_same_on_any_number_of_threads():
    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(tail_exponent(weight))
    torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_groups_with_heavier_tails_lose_less(loose, find):
    problem = loose()
    genome = find("alpha", problem)
    exponents = [
        sum(tail_exponent(m.weight) for m in group.matrices) / len(group.matrices)
        for group in problem.session.transform.transforms[0].groups
    ]
    by_exponent = sorted(range(len(genome)), key=lambda place: exponents[place])
    assert by_exponent == sorted(range(len(genome)), key=lambda place: genome[place])


def test_owl_spares_the_group_with_outliers(loose, find, tmp_path):
    problem = loose()
    before = find("owl", problem)
    model = random_model("gpt2")
    for matrix in group(find_matrices(model), problem.settings.genes)[2].matrices:
        matrix.weight.view(-1)[::50] *= 20
    genome = find("owl", loose(model=save(model, tmp_path)))
    assert genome[2] < before[2]
    assert max(genome) - min(genome) == pytest.approx(0.16, abs=1e-6)


def test_a_global_ranking_removes_the_lowest_scores_of_the_whole_model(loose, find):
    problem = loose()
    genome = find("global", problem)
    scores = {
        matrix.name: matrix.weight.abs().flatten() for matrix, _ in problem.session.transform.transforms[0].scored()
    }
    threshold = torch.cat(list(scores.values())).sort().values[sum(map(len, scores.values())) // 2]
    for own, gene in zip(problem.session.transform.transforms[0].groups, genome, strict=True):
        below = sum(int((scores[matrix.name] < threshold).sum()) for matrix in own.matrices) / own.size
        assert gene == pytest.approx(below, abs=2e-3)


def test_a_normalised_ranking_does_not_see_how_large_a_layers_weights_are(loose, find, tmp_path):
    model = random_model("gpt2")
    model.transformer.h[1].mlp.c_fc.weight.mul_(10)
    before, scaled = loose(), loose(model=save(model, tmp_path))
    assert find("global_normalised", scaled) == pytest.approx(find("global_normalised", before), abs=1e-3)
    assert find("global", scaled) != pytest.approx(find("global", before), abs=0.01)


def test_a_matrix_of_zeros_does_not_flatten_a_ranking(loose, find, tmp_path):
    model = random_model("gpt2")
    for block, share in zip(model.transformer.h, (0.1, 0.3, 0.6), strict=True):
        for layer in (block.attn.c_proj, block.mlp.c_proj):
            layer.weight.view(-1)[: int(share * layer.weight.numel())] *= 0.01
    whole = find("global_normalised", loose(model=save(model, tmp_path / "whole")))
    model.transformer.h[0].attn.c_attn.weight.zero_()
    genome = find("global_normalised", loose(model=save(model, tmp_path / "zeroed")))
    assert max(genome) - min(genome) > 0.5 * (max(whole) - min(whole))


def test_layer_errors_spare_the_group_that_costs_most_alone(pruning, find, tmp_path):
    """In a model all of whose blocks but one are cut to nothing, only that one costs anything."""
    model = random_model("gpt2")
    for block in model.transformer.h[1:]:
        for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
            layer.weight.zero_()
    problem = pruning(model=save(model, tmp_path), objective="kl", sparsity=0.5, max_sparsity=1.0)
    genome = find("layer_errors", problem)
    assert genome[0] < 0.1
    assert min(genome[1:]) >= genome[0]
