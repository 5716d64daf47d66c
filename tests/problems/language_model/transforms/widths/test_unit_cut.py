"""Narrower sublayers equal dense ones with zeros, their costs are exact, and they lose the worst units."""

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from evoprune import InputError
from evoprune.problems.language_model.calibration.statistics import DAMPING
from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.testing import check_transform
from tests.problems.language_model.small import inputs_of, problem_in
from tests.problems.language_model.transforms.widths.slow import ALL, CUTS, budget_of, cut_of, masked, middle


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_a_narrow_model_gives_what_the_dense_one_gives_with_zeros(architecture, cut, tokens):
    transform = cut_of(architecture, cut, drop=cut == "heads")
    model = transform.resident.model
    genome = middle(transform)
    left = [int(gene.levels[int(level)]) for gene, level in zip(transform.genes, genome, strict=True)]
    group = transform.unit_size(transform._units[0])
    kept = [transform.order.remaining(block, count // group).tolist() for block, count in enumerate(left)]
    expected = masked(model, architecture, cut, kept)(tokens).logits
    dense = model(tokens).logits
    transform.apply(genome)
    narrow = model(tokens).logits
    assert (narrow - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (narrow - dense).abs().max() > 1e-3 * dense.abs().max()


@pytest.mark.parametrize(
    ("architecture", "given"),
    [
        ("llama", {"use": "heads"}),
        ("gpt_neox", {"use": "heads"}),
        ("opt", {"use": "channels"}),
        *(
            ("gpt2", {"use": cut, "keep": [0], "drop": False, "genes": genes})
            for cut, genes in (("heads", "block"), ("channels", "model"))
        ),
    ],
)
def test_the_contract_is_kept(language_model, given, architecture, tmp_path):
    check_transform(language_model(**problem_in(tmp_path, architecture), transforms=given).session, pairs=2)


def test_a_candidate_that_fails_leaves_the_model_as_it_was(language_model, monkeypatch, tokens):
    transform = language_model(transforms="channels").session.transform
    model, dropped = transform.resident.model, [transform.genes[0].up, 0.0, 0.0]
    transform.apply(dropped)
    expected = model(tokens).logits

    def fails(*_):
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("evoprune.problems.language_model.transforms.widths.unit_order.refit", fails)
        transform.apply([1.0, 1.0, 0.0])
    transform.apply(dropped)
    assert torch.equal(model(tokens).logits, expected)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_costs_are_the_parameters_that_the_model_has_and_the_weights_that_it_multiplies(architecture, cut, tokens):
    transform, products = cut_of(architecture, cut), []
    for layer in find_blocks(transform.resident.model)[1].modules():
        if isinstance(layer, (torch.nn.Linear, Conv1D)):
            layer.register_forward_hook(
                lambda layer, given, output: products.append(given[0][..., 0].numel() * layer.weight.numel())
            )
    lasts = [gene.up for gene in transform.genes]
    for genome in (transform.dense, middle(transform), [lasts[0], 1.0, 0.0], lasts):
        products.clear()
        transform.apply(genome)
        transform.resident.model(tokens)
        assert sum(products) == tokens.numel() * budget_of(transform, "weights").spent(genome)
        left = sum(parameter.numel() for parameter in transform.resident.model.parameters())
        assert budget_of(transform, "parameters").spent(genome) == left


@pytest.mark.parametrize("cut", CUTS)
def test_blocks_may_be_protected_and_sublayers_never_dropped(cut):
    transform = cut_of("gpt2", cut, keep=(0, -1), drop=False)
    assert transform.genes.free == [1]
    assert transform.genes[1].levels[-1] == {"channels": 32, "heads": 1}[cut]
    for keep in ((0, 1, 2), (7,)):
        with pytest.raises(InputError, match=r"transforms\.keep"):
            cut_of("gpt2", cut, keep=keep)


@pytest.mark.parametrize("cut", CUTS)
def test_one_gene_for_all_blocks_gives_what_equal_genes_give(cut):
    one, each = (cut_of("llama", cut, genes=genes, keep=[0]) for genes in ("model", "block"))
    (gene,) = one.genes
    assert (gene.name, gene.levels) == (cut, each.genes[1].levels)
    for level in range(len(gene.levels)):
        same = [0.0, float(level), float(level)]
        one.apply([float(level)])
        each.apply(same)
        narrow, expected = (transform.resident.model.state_dict() for transform in (one, each))
        assert narrow.keys() == expected.keys()
        assert all(torch.equal(narrow[name], expected[name]) for name in narrow)
        assert one.block_fingerprints() == each.block_fingerprints()
        assert one.remaining_inputs([float(level)]).keys() == each.remaining_inputs(same).keys()
        for unit in ("weights", "parameters"):
            assert budget_of(one, unit).spent([float(level)]) == budget_of(each, unit).spent(same)


@pytest.mark.parametrize("cut", CUTS)
def test_level_losses_are_the_errors_of_a_refit(language_model, cut):
    (transform,) = language_model(transforms=cut).session.transform.transforms
    inputs = inputs_of(transform.resident.model, transform.texts.calibration.tokens)
    for gene, units in zip(transform.genes, transform._units, strict=True):
        output, places = units.output.matrix, units.output.indices
        known = torch.from_numpy(inputs[output.name]).double()
        root = (DAMPING * known.square().mean() * len(known)).sqrt()
        damped = torch.cat([known, root * torch.eye(known.shape[1], dtype=torch.float64)])
        wanted = damped @ output.rows(output.weight).T.double()
        assert gene.level_losses[-1] is None
        for level, count in enumerate(gene.levels[:-1]):
            left = damped[
                :,
                places[transform.order.remaining(units.sublayer.block, count // transform.unit_size(units))].flatten(),
            ]
            error = (wanted - left @ torch.linalg.lstsq(left, wanted).solution).square().sum() / len(known)
            assert gene.level_losses[level] == pytest.approx(float(error), rel=1e-3, abs=1e-3 * gene.level_losses[-2])
